"""Locks of the operating system: of a run, and of files that several processes append to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core.contracts import DATASET, MANIFEST
from etabli.core.errors import RunLocked
from etabli.core.os_errors import permission_errors

if TYPE_CHECKING:
    from filelock import BaseFileLock


def append_lock(path: Path) -> "BaseFileLock":
    """Return the lock of an append-only file. Nobody holds it for more than some milliseconds."""
    from filelock import FileLock

    place = path.resolve()
    folder = place.parent
    is_replaced_whole = any((folder / name).is_file() for name in (MANIFEST, DATASET))  # then the lock lies beside it
    name = f".{folder.name}.{place.name}.lock" if is_replaced_whole else f".{place.name}.lock"
    return FileLock((folder.parent if is_replaced_whole else folder) / name, timeout=30)


@contextmanager
def lock_file(path: str | Path, owner: str, patience: float = 0) -> Iterator[None]:
    """Hold an OS lock on a file. The system releases it when the process dies. ``patience``: seconds to wait for it.

    Raises:
        RunLocked: another process holds it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=patience)
    try:
        with permission_errors(Path(path)):
            lock.acquire()
    except Timeout as error:
        raise RunLocked(
            f"{owner} is already being written by another process. Wait for it, or stop it first."
        ) from error
    try:
        yield
    finally:
        lock.release()
