"""Folders that are whole or absent, files that are old or new, never half.

A folder is written beside its place, every file fsynced, ``MANIFEST.json`` (sha256 and size of each file) last, and
renamed. ``verify`` tells a folder that was altered since.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etabli.core import folders, parsing
from etabli.core.contracts import DATASET, MANIFEST
from etabli.core.errors import BadInput, Damaged, NoSpace, OutsideFolder, RunLocked
from etabli.core.secrets import cover_known_values, cover_secrets_in

# Of files that grow a line at a time; a run of a million steps writes a quarter of it.
LONGEST_LINE, MOST_LINES, LARGEST_JOURNAL = 64 * 2**20, 4_000_000, 2**30
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn "no space left" into a message that says where, how much is free, and what to do."""
    try:
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
    """safetensors writes in Rust: its error is no OSError, and names the number in words."""
    number = getattr(error, "errno", None)
    return number in DISK_FULL or any(f"(os error {one})" in str(error) for one in DISK_FULL)


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())


def write_text(path: str | Path, text: str) -> None:
    """Write a file that is either the old one or the new one, whatever happens in between.

    Secret values of this machine are covered in it. Shapes of secrets are not: scripts and styles may look like them.
    """
    _write(Path(path), cover_known_values(text))


def _write(path: Path, text: str) -> None:
    with _staged(path) as beside:
        beside.write_text(text, encoding="utf-8")
        _fsync(beside)


def write_json(path: str | Path, value: Any) -> None:
    """``write_text`` for JSON; numbers that are not finite become null, and secrets of any kind are covered."""
    _write(Path(path), to_json(cover_secrets_in(value), indent=1) + "\n")


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON with every number finite: NaN and infinities become null."""
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, indent=indent)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


@contextmanager
def write_folder(
    folder: str | Path, extra: dict[str, Any] | None = None, manifest: str = MANIFEST, living: tuple[str, ...] = ()
) -> Iterator[Path]:
    """Yield a folder to fill; on leaving it becomes ``folder``, complete with a manifest, or nothing at all.

    Args:
        folder: the place it takes; what stood there before is replaced only once the new one is complete.
        extra: written into the manifest beside ``files``.
        manifest: the manifest's file name.
        living: files that go on being written: those of the old folder come along, and the manifest is silent on them.

    Raises:
        NoSpace: the disk is full; BadInput: the place holds something that was not written this way.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / manifest).is_file() and (folder.is_file() or any(folder.iterdir())):
        raise BadInput(f"{folder} is not empty and was not made by établi: choose another place. Nothing was changed.")
    with _staged(folder) as beside:
        beside.mkdir()
        yield beside
        _seal(beside, extra or {}, manifest)
        with contextlib.ExitStack() as held:  # until the folder has taken its place nobody adds to what comes along
            for name in living:
                if folders.resolve_inside(folder, name).is_file():
                    held.enter_context(_exclusively(folder / name))
                    folders.copy_file(folder, name, beside / name)
                    _fsync(beside / name)
            _replace(beside, folder)


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Make a folder if there is none; if writing there fails it is taken away again, if it is empty and made here."""
    made = [place for place in (folder, *folder.absolute().parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except Exception as error:
        if not isinstance(error, OSError | NoSpace) and not _is_full(error):
            raise
        with contextlib.suppress(OSError):  # somebody put something there meanwhile
            for place in made:
                place.rmdir()
        raise


@contextmanager
def _staged(place: Path) -> Iterator[Path]:
    """A name beside a place; what is made there takes the place on leaving, or is gone."""
    beside = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}")
    with disk_errors(place), new_folder(place.parent):
        try:
            yield beside
            if beside.exists():
                _replace(beside, place)
        finally:
            _remove(beside)


def _remove(path: Path) -> None:
    """Delete a file or a folder, whatever of it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def copy_folder(source: str | Path, place: str | Path, manifest: str = MANIFEST) -> None:
    """Copy a folder that has a manifest; the copy is whole and verified, or not there. One that is there stays.

    Raises:
        Damaged: the copy is not what the manifest says; NoSpace: the disk is full; OutsideFolder: what lies there
        leads out of it.
    """
    place = Path(place)
    if (place / manifest).is_file():
        return
    with _staged(place) as beside:
        folders.copy_files(source, beside)
        verify(beside, manifest)
        for path in [path for path in beside.rglob("*") if path.is_file()] + [beside]:
            _fsync(path)


def _seal(folder: Path, extra: dict[str, Any], manifest: str) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        _fsync(path)
    facts = {path.relative_to(folder).as_posix(): _fact(path) for path in files}
    _write(
        folder / manifest, to_json({**cover_secrets_in(extra), "files": facts}, indent=1) + "\n"
    )  # file names are looked up


def _fact(path: Path) -> dict[str, Any]:
    return {"sha256": sha256(path), "size": path.stat().st_size}


def _replace(new: Path, place: Path) -> None:
    if new.is_file() or not place.exists():  # a file takes the place of a file in one step, and never a folder's
        new.replace(place)
        _fsync(place.parent)
        return
    old = place.with_name(f".{place.name}.old-{uuid.uuid4().hex[:8]}")
    place.replace(old)
    new.replace(place)
    _fsync(place.parent)
    _remove(old)


def verify(folder: str | Path, manifest: str = MANIFEST) -> dict[str, Any]:
    """Check a folder against its manifest and return what the manifest says.

    Raises:
        Damaged: names every file that is missing or altered, or a name or link that leads out of the folder.
    """
    folder = Path(folder)
    try:
        said = parsing.read_json(folders.resolve_inside(folder, manifest), parsing.LARGEST_CONFIG)
        files = {name: (fact["size"], fact["sha256"]) for name, fact in said["files"].items()}
    except (OSError, OutsideFolder, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{folder} has no readable {manifest}: it is not whole. Delete it and make it again.") from error
    try:
        bad = [name for name, fact in files.items() if not _intact(folders.resolve_inside(folder, name), fact)]
    except OutsideFolder as error:
        raise Damaged(f"{folder}: its {manifest} names what is not its own. {error}") from error
    except OSError as error:
        raise Damaged(f"{folder} can't be read whole: {error}.") from error
    if bad:
        raise Damaged(f"{folder}: {len(bad)} of {len(files)} files missing or altered: {', '.join(bad)}.")
    return said


def _intact(path: Path, fact: tuple[int, str]) -> bool:
    return path.is_file() and path.stat().st_size == fact[0] and sha256(path) == fact[1]


def sha256(path: str | Path) -> str:
    """Hex sha256 of a file."""
    with folders.open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_file(source: str | Path, place: str | Path) -> None:
    """Copy a file, byte for byte; what stands in its place is the old one or the new one, whatever happens."""
    with _staged(Path(place)) as beside:
        folders.copy_file(Path(source).resolve().parent, Path(source).resolve().name, beside)
        _fsync(beside)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_lines(path: str | Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Read the whole JSON lines of a growing file from a byte offset.

    Returns:
        The objects and the offset after the last whole line. A torn last line is left for the next call; a line that
        is not JSON (a write torn by a crash, then appended to) is passed over.

    Raises:
        Damaged: more than ``LARGEST_JOURNAL`` bytes; OutsideFolder: a pipe or a device.
    """
    items: list[dict[str, Any]] = []
    try:
        with folders.open_file(path) as file:
            if (size := os.fstat(file.fileno()).st_size) > LARGEST_JOURNAL:
                raise Damaged(f"{path} has {size:,} bytes, more than any that établi writes: look at it.")
            file.seek(offset)
            for line in iter(lambda: file.readline(LONGEST_LINE), b""):
                if not line.endswith(b"\n") and len(line) < LONGEST_LINE:
                    break  # torn, or still being written
                offset += len(line)
                items += _parsed(line)
                if len(items) > MOST_LINES:
                    raise Damaged(f"{path} has more than {MOST_LINES:,} lines, more than any that établi writes.")
    except FileNotFoundError:
        return [], offset
    return items, offset


def _parsed(line: bytes) -> list[dict[str, Any]]:
    """The object of a line, or nothing: a line that was torn, too deep or too long is no entry."""
    try:
        item = parsing.parse_json(line, most=LONGEST_LINE - 1)
    except parsing.ParseError:
        return []
    return [item] if isinstance(item, dict) else []


def append(path: str | Path, line: bytes) -> None:
    """Add a whole line to a file and have it on the disk, or leave the file as it was.

    Half a line that a crash left is ended first. Who else appends waits, and so does who replaces the folder. On an
    error no new file stays behind, neither this one nor its lock.

    Raises:
        NoSpace: the disk is full; OutsideFolder: a link to another folder's file; OSError: any other reason.
    """
    path = folders.resolve_inside(Path(path).parent, Path(path).name)
    lock = _exclusively(path)
    new = [file for file in (path, Path(lock.lock_file)) if not file.exists()]
    with disk_errors(path), lock:
        try:
            _append(path, line)
        except OSError:
            for file in new:  # who waits for a lock that is removed takes a new one
                with contextlib.suppress(OSError):
                    file.unlink()
            raise
        if path in new:
            _fsync(path.parent)


def _append(path: Path, line: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        left = line if ends_line(path) else b"\n" + line
        try:
            while left:  # a write to a disk that is nearly full may be short
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def ends_line(path: Path) -> bool:
    """Does a file end with a whole line, or is it empty? A crash may leave half of one."""
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _exclusively(path: Path):
    """A lock beside a file that is only ever added to; waiting for it is a matter of milliseconds."""
    from filelock import FileLock

    place = path.resolve()
    folder = place.parent  # one that is replaced whole must not take the lock along: it lies beside it
    whole_folder = any((folder / name).is_file() for name in (MANIFEST, DATASET))
    beside = folder.with_name(f".{folder.name}.{place.name}.lock") if whole_folder else folder / f".{place.name}.lock"
    return FileLock(beside, timeout=30)


@contextmanager
def lock_file(path: str | Path, owner: str, patience: float = 0) -> Iterator[None]:
    """Hold an OS lock on a file; the system lets go of it when the process dies. ``patience``: seconds to wait for it.

    Raises:
        RunLocked: another process holds it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=patience)
    try:
        lock.acquire()
    except Timeout as error:
        raise RunLocked(
            f"{owner} is already being written by another process. Wait for it, or stop it first."
        ) from error
    try:
        yield
    finally:
        lock.release()
