"""Files that grow line by line, each line a JSON object: read what is complete, append whole lines."""

import contextlib
import os
from pathlib import Path

from etabli.core import folders, parsing
from etabli.core.errors import Damaged
from etabli.core.locks import append_lock
from etabli.core.storage import disk_errors, fsync

# Limits: bytes of a line, lines, bytes. A run of a million steps writes a quarter.
LONGEST_LINE, MOST_LINES, LARGEST_JOURNAL = 64 * 2**20, 4_000_000, 2**30


def read_lines(path: str | Path, offset: int = 0) -> tuple[list[dict[str, object]], int]:
    """Read the complete JSON lines of a growing file from a byte offset.

    Returns:
        The objects, and the offset after the last complete line. An incomplete last line is left for the next call. A
        line that is not JSON (left by a crash, then appended to) is skipped.

    Raises:
        Damaged: the file has more than ``LARGEST_JOURNAL`` bytes; OutsideFolder: it is a pipe or a device.
    """
    items: list[dict[str, object]] = []
    try:
        with folders.open_file(path) as file:
            if (size := os.fstat(file.fileno()).st_size) > LARGEST_JOURNAL:
                raise Damaged(f"{path} has {size:,} bytes, more than établi ever writes: look at it.")
            file.seek(offset)
            for line in iter(lambda: file.readline(LONGEST_LINE), b""):
                if not line.endswith(b"\n") and len(line) < LONGEST_LINE:
                    break  # incomplete, or still being written
                offset += len(line)
                items += _parse_line(line)
                if len(items) > MOST_LINES:
                    raise Damaged(f"{path} has more than {MOST_LINES:,} lines, more than établi ever writes.")
    except FileNotFoundError:
        return [], offset
    return items, offset


def _parse_line(line: bytes) -> list[dict[str, object]]:
    """Return a list with the object of a line; an empty list if the line is incomplete, too deep or too long."""
    try:
        item = parsing.parse_json(line, limit=LONGEST_LINE - 1)
    except parsing.ParseError:
        return []
    return [item] if isinstance(item, dict) else []


def append(path: str | Path, line: bytes) -> None:
    """Append a complete line to a file and fsync it, or leave the file as it was.

    An incomplete line that a crash left is ended first. Other processes that append, or that replace the folder, wait.
    After an error no new file stays, neither this one nor its lock.

    Raises:
        NoSpace: the disk is full; OutsideFolder: a link to another folder's file; OSError: any other reason.
    """
    path = folders.resolve_inside(Path(path).parent, Path(path).name)
    lock = append_lock(path)
    new = [file for file in (path, Path(lock.lock_file)) if not file.exists()]
    with disk_errors(path), lock:
        try:
            _append(path, line)
        except OSError:
            for file in new:  # a process that waits for the removed lock makes a new one
                with contextlib.suppress(OSError):
                    file.unlink()
            raise
        if path in new:
            fsync(path.parent)


def _append(path: Path, line: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        remaining = line if ends_line(path) else b"\n" + line
        try:
            while remaining:  # a write to a nearly full disk may be short
                remaining = remaining[file.write(remaining) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def ends_line(path: Path) -> bool:
    """Return whether a file is empty or ends with a complete line. A crash may leave an incomplete one."""
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
