"""Write folders that are complete or absent, and files that are old or new, but never half-written.

A folder is written beside its place. Every file is fsynced, ``MANIFEST.json`` (sha256 and size of each file) is written
last, and then the folder is renamed. ``verify`` finds what was altered later.
"""

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from etabli.core import folders, parsing
from etabli.core.contracts import MANIFEST
from etabli.core.errors import BadInput, Damaged, NoSpace, OutsideFolder
from etabli.core.locks import append_lock
from etabli.core.os_errors import permission_errors
from etabli.core.secrets import cover_known_values, cover_secrets_in

if TYPE_CHECKING:
    pass

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk and missing permissions into errors that say where, and what to do."""
    try:
        with permission_errors(path):
            yield
    except Exception as error:
        if not _is_full(error):
            raise
        free = shutil.disk_usage(_existing(path)).free
        raise NoSpace(
            f"The disk is full: writing {path} failed with {free / 1e6:.0f} MB free. Nothing half-written was kept. "
            "Free some space or choose another folder, then run the same again."
        ) from error


def _is_full(error: Exception) -> bool:
    """Return whether the disk is full. Safetensors' error (from Rust) is no OSError; its text holds the number."""
    number = getattr(error, "errno", None)
    return number in DISK_FULL or any(f"(os error {code})" in str(error) for code in DISK_FULL)


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())


def write_text(path: str | Path, text: str) -> None:
    """Write a file in one step: after a crash it is either the old one or the new one.

    Secret values of this machine are covered in it. Shapes of secrets are not: scripts and styles may look like them.

    Raises:
        NoSpace: the disk is full; NotWritable: this place can't be written.
    """
    _write(Path(path), cover_known_values(text))


def _write(path: Path, text: str) -> None:
    with _temporary_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        fsync(temporary)


def write_json(path: str | Path, value: object) -> None:
    """Write JSON as ``write_text`` does. Numbers that are not finite become null; all kinds of secrets are covered."""
    _write(Path(path), to_json(cover_secrets_in(value), indent=1) + "\n")


def to_json(value: object, indent: int | None = None) -> str:
    """Return JSON in which every number is finite: NaN and infinities become null."""
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, indent=indent)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


@contextmanager
def write_folder(
    folder: str | Path,
    extra: Mapping[str, object] | None = None,
    manifest: str = MANIFEST,
    living: tuple[str, ...] = (),
    replaces: str = "",
) -> Iterator[Path]:
    """Yield an empty folder to fill. On success it becomes ``folder``, with a manifest; on an error nothing changes.

    Args:
        folder: the final place; an older folder there is replaced only when the new one is complete.
        extra: further keys of the manifest, beside ``files``.
        manifest: the manifest's file name.
        living: files that are still being written: they are copied from the older folder, and are not in the manifest.
        replaces: the key that an older folder's manifest must have; by default any folder of établi's is replaced.

    Raises:
        NoSpace: the disk is full; BadInput: the place holds files that établi did not write.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / manifest).is_file() and (folder.is_file() or any(folder.iterdir())):
        raise BadInput(f"{folder} is not empty and was not made by établi: choose another place. Nothing was changed.")
    if (
        replaces
        and (folder / manifest).is_file()
        and replaces not in parsing.read_json(folder / manifest, parsing.LARGEST_CONFIG)
    ):
        raise BadInput(f"{folder} holds something else of établi's: choose another place. Nothing was changed.")
    with _temporary_path(folder) as temporary:
        temporary.mkdir()
        yield temporary
        _seal(temporary, extra or {}, manifest)
        with contextlib.ExitStack() as locks:  # nobody may append to these files until the folder has its place
            for name in living:
                if folders.resolve_inside(folder, name).is_file():
                    locks.enter_context(append_lock(folder / name))
                    folders.copy_file(folder, name, temporary / name)
                    fsync(temporary / name)
            _replace(temporary, folder)


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Make a folder if there is none. If writing in it fails, it is removed again, if it is new and empty."""
    new_folders = [place for place in (folder, *folder.absolute().parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except Exception as error:
        if not isinstance(error, OSError | NoSpace) and not _is_full(error):
            raise
        with contextlib.suppress(OSError):  # another process has written there meanwhile
            for place in new_folders:
                place.rmdir()
        raise


@contextmanager
def _temporary_path(place: Path) -> Iterator[Path]:
    """Yield a temporary path. What is written there takes the place on success, and is removed on an error."""
    temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}")
    with disk_errors(place), new_folder(place.parent):
        try:
            yield temporary
            if temporary.exists():
                _replace(temporary, place)
        finally:
            _remove(temporary)


def _remove(path: Path) -> None:
    """Delete a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def copy_folder(source: str | Path, place: str | Path, manifest: str = MANIFEST) -> None:
    """Copy a folder that has a manifest, and verify the copy. A complete copy that exists already stays.

    Raises:
        Damaged: the copy does not match the manifest; NoSpace: the disk is full; OutsideFolder: a file leads out of the
        folder.
    """
    place = Path(place)
    if (place / manifest).is_file():
        return
    with _temporary_path(place) as temporary:
        folders.copy_files(source, temporary)
        verify(temporary, manifest)
        for path in [path for path in temporary.rglob("*") if path.is_file()] + [temporary]:
            fsync(path)


def _seal(folder: Path, extra: Mapping[str, object], manifest: str) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        fsync(path)
    facts = {path.relative_to(folder).as_posix(): _fact(path) for path in files}
    _write(
        folder / manifest, to_json({**cover_secrets_in(extra), "files": facts}, indent=1) + "\n"
    )  # file names are looked up


def _fact(path: Path) -> dict[str, str | int]:
    return {"sha256": sha256(path), "size": path.stat().st_size}


def _replace(new: Path, place: Path) -> None:
    if new.is_file() or not place.exists():  # a file replaces a file in one step, and never replaces a folder
        new.replace(place)
        fsync(place.parent)
        return
    old = place.with_name(f".{place.name}.old-{uuid.uuid4().hex[:8]}")
    place.replace(old)
    new.replace(place)
    fsync(place.parent)
    _remove(old)


def verify(folder: str | Path, manifest: str = MANIFEST) -> dict[str, Any]:
    """Check a folder against its manifest, and return the manifest.

    Raises:
        Damaged: names every file that is missing or altered, or a name or link that leads out of the folder.
    """
    folder = Path(folder)
    try:
        content: dict[str, Any] = parsing.read_json(folders.resolve_inside(folder, manifest), parsing.LARGEST_CONFIG)
        files = {name: (fact["size"], fact["sha256"]) for name, fact in content["files"].items()}
    except (OSError, OutsideFolder, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{folder} has no readable {manifest}: it is incomplete. Delete it and make it again.") from error
    try:
        bad = [name for name, fact in files.items() if not _intact(folders.resolve_inside(folder, name), fact)]
    except OutsideFolder as error:
        raise Damaged(f"{folder}: its {manifest} names a file outside of it. {error}") from error
    except OSError as error:
        raise Damaged(f"{folder} can't be read completely: {error}.") from error
    if bad:
        raise Damaged(f"{folder}: {len(bad)} of {len(files)} files missing or altered: {', '.join(bad)}.")
    return content


def _intact(path: Path, fact: tuple[int, str]) -> bool:
    return path.is_file() and path.stat().st_size == fact[0] and sha256(path) == fact[1]


def sha256(path: str | Path) -> str:
    """Return the hex sha256 of a file."""
    with folders.open_file(path) as file:
        return hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest()


def copy_file(source: str | Path, place: str | Path) -> None:
    """Copy a file in one step: after a crash the target is either the old one or the new one."""
    with _temporary_path(Path(place)) as temporary:
        folders.copy_file(Path(source).resolve().parent, Path(source).resolve().name, temporary)
        fsync(temporary)


def fsync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of files, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
