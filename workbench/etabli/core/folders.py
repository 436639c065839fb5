"""Read, copy and write files so that no name and no link leads out of their folder.

A run, an adapter, a data set or a mapping file may come from a stranger. The folder that the person names may itself be
a link, or lie behind links. Nothing within it may lead outside: no ``..``, no absolute name, no link, no hard link to
somebody else's file, and never a pipe or a device, which would block for ever.

There is one exception: the Hub's cache keeps each file of ``REPOSITORY/snapshots/REVISION`` as a link into
``REPOSITORY/blobs``.
"""

import contextlib
import functools
import inspect
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO, TypeVar

from etabli.core.errors import OutsideFolder

Result = TypeVar("Result")
NAME_SHOWN = 200  # characters of a name that an error repeats
_outside_allowed: ContextVar[bool] = ContextVar("allow_outside", default=False)


def resolve_inside(folder: str | Path, name: str | Path) -> Path:
    """Return the absolute, resolved path of ``name`` within ``folder``. The file need not exist.

    Raises:
        OutsideFolder: the name, or a link on the way, leads outside; or the file is a pipe, a device, or a hard link to
        another person's file.
    """
    root = Path(folder).resolve()
    _require_relative(str(name), root)
    target = _resolve(root / name, root)
    if not _belongs(target, root):
        raise OutsideFolder(
            f"{_shorten(root / name)} leads out of {root}, to {_shorten(target)}. Nothing of it was read or written. "
            "Put the file itself there, or remove the link."
        )
    _require_ordinary(target, root / name)
    return target


def list_files(folder: str | Path, link_suffixes: tuple[str, ...] = ()) -> list[Path]:
    """Return every file in a folder and below, sorted. Links count as files; links to folders are not followed.

    Args:
        link_suffixes: endings of files that may be links to anywhere, such as ``.safetensors``: large files often are.

    Raises:
        OutsideFolder: as ``resolve_inside``, for each file.
    """
    root = Path(folder)
    files = []
    for place, folders, names in os.walk(root):
        for name in [*folders, *names]:
            path = Path(place, name)
            if name.endswith(link_suffixes) and link_suffixes:
                _require_ordinary(path, path)
            elif not path.is_dir() or path.is_symlink():
                resolve_inside(root, path.relative_to(root))
        files += [path for path in (Path(place, name) for name in names) if path.is_file()]
    return sorted(files)


def is_within(path: str | Path, folder: str | Path) -> bool:
    """Return whether a path lies in a folder, after links are resolved. The Hub cache's own links count as files."""
    return _belongs(_resolve(Path(path), Path(path)), Path(folder).resolve())


def open_file(path: str | Path, follow: bool = True) -> BinaryIO:
    """Open an ordinary file for reading. ``follow=False`` refuses a link, even one that was made a moment ago.

    Raises:
        OutsideFolder: a pipe, a device or a folder; OSError: it is not there, or can't be read.
    """
    _require_ordinary(Path(path), Path(path))
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags | (0 if follow else getattr(os, "O_NOFOLLOW", 0)))
    if not stat.S_ISREG(os.fstat(handle).st_mode):  # changed since it was looked at
        os.close(handle)
        raise _not_ordinary(Path(path), "no ordinary file")
    return os.fdopen(handle, "rb")


def copy_file(folder: str | Path, name: str | Path, place: str | Path) -> None:
    """Copy one file of a folder to a place that no file has yet, its modification time too; links become files.

    Raises:
        OutsideFolder: as ``resolve_inside``; OSError: the disk is full, and others.
    """
    source = resolve_inside(folder, name)
    with open_file(source, follow=False) as file, Path(place).open("xb") as copy:
        shutil.copyfileobj(file, copy, 2**20)
    shutil.copystat(source, place, follow_symlinks=False)


def copy_files(folder: str | Path, place: str | Path) -> None:
    """Copy all files of a folder, and of those below it, into a new one.

    Raises:
        OutsideFolder: as ``resolve_inside``, before anything is copied.
    """
    names = [path.relative_to(folder) for path in list_files(folder)]
    for name in names:
        (Path(place) / name).parent.mkdir(parents=True, exist_ok=True)
        copy_file(folder, name, Path(place) / name)


# --- what a person allows -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def outside_allowed(allow: bool = True) -> Iterator[None]:
    """Let mapping files and runs' recipes name data files anywhere, within this context (``--allow-outside``)."""
    token = _outside_allowed.set(allow or _outside_allowed.get())
    try:
        yield
    finally:
        _outside_allowed.reset(token)


def is_outside_allowed() -> bool:
    """Return whether the person allowed data files outside of the folder of the file that names them."""
    return _outside_allowed.get()


def add_allow_outside(function: Callable[..., Result]) -> Callable[..., Result]:
    """Add the keyword ``allow_outside=False`` to a function; True is ``outside_allowed`` around the call."""
    signature = inspect.signature(function)
    extra = inspect.Parameter("allow_outside", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool)
    parameters = list(signature.parameters.values())
    last = len(parameters) - (parameters[-1].kind is inspect.Parameter.VAR_KEYWORD)

    @functools.wraps(function)
    def call(*values: object, allow_outside: bool = False, **keywords: object) -> Result:
        with outside_allowed(allow_outside):
            return function(*values, **keywords)

    call.__signature__ = signature.replace(parameters=[*parameters[:last], extra, *parameters[last:]])  # type: ignore[attr-defined]
    return call


# --- what is refused ------------------------------------------------------------------------------------------------


def require_plain_name(name: str) -> None:
    """Check a relative name.

    Raises:
        OutsideFolder: it is absolute, has ``..``, a drive, a backslash or NUL.
    """
    _require_relative(name, None)


def _require_relative(name: str, root: Path | None) -> None:
    parts = re.split(r"[/\\]", name)
    if name.startswith(("/", "\\")) or ".." in parts or "\0" in name or re.match(r"[A-Za-z]:", name) or "\\" in name:
        place = f" of {root}" if root else ""
        raise OutsideFolder(
            f"The name {_shorten(name)!r} leads out of its folder{place}: only names of files in the folder or below "
            "it are taken. Nothing of it was read or written."
        )


def _resolve(path: Path, name: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a name that is too long
        raise OutsideFolder(f"{_shorten(name)} leads nowhere: {error}.") from None


def _belongs(target: Path, root: Path) -> bool:
    return target.is_relative_to(root) or _is_hub_blob(target, root)


def _is_hub_blob(target: Path, root: Path) -> bool:
    """Return whether it is a file of the Hub's cache, and the folder a snapshot of the same repository."""
    if "snapshots" not in root.parts:
        return False
    repository = Path(*root.parts[: root.parts.index("snapshots")])
    return target.is_relative_to(repository / "blobs")  # a linked blobs folder does not count


def _require_ordinary(target: Path, name: Path) -> None:
    try:
        status = target.stat()
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise OutsideFolder(f"{_shorten(name)} can't be looked at: {error}.") from None
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise _not_ordinary(name, _kind(status.st_mode))
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and _is_anothers(status, target.parent):
        raise OutsideFolder(
            f"{_shorten(name)} has {status.st_nlink} names (hard links) and belongs to another user than its folder or "
            "you: it may be a file from elsewhere. Copy it in (cp), and remove this name."
        )


def _is_anothers(status: os.stat_result, folder: Path) -> bool:
    """Return whether the file belongs to neither you nor the folder's owner. Your own hard links look like files."""
    return hasattr(os, "geteuid") and {status.st_uid, folder.stat().st_uid} != {os.geteuid()}


def _not_ordinary(path: Path, kind: str) -> OutsideFolder:
    return OutsideFolder(f"{_shorten(path)} is {kind}, not an ordinary file: it was not opened. Remove it.")


def _kind(mode: int) -> str:
    tests = {stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device"}
    return next((kind for test, kind in tests.items() if test(mode)), "something else")


def _shorten(name: str | Path) -> str:
    text = str(name)
    return text if len(text) <= NAME_SHOWN else f"{text[:NAME_SHOWN]}…"
