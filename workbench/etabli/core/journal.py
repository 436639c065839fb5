"""What people did, in files that are only ever added to: decisions, votes, pins, questions asked by hand.

A line is on the disk when ``add`` returns; a kernel that is killed loses none. A line that a crash tore in half is
passed over, and the next one begins on a line of its own.
"""

import getpass
import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etabli.core import folders, storage
from etabli.core.contracts import VERSION
from etabli.core.errors import BadInput
from etabli.core.secrets import cover_secrets_in


class Journal:
    """The entries of a file, oldest first. ``whole`` tells an entry from a line that is none."""

    def __init__(self, path: str | Path, whole: Callable[[dict], bool]):
        self.path, self._whole = Path(path), whole
        self._lock = threading.Lock()
        self._read, self._all = 0, {}
        self.passed_over = 0  # lines that are no entry

    def all(self) -> list[dict[str, Any]]:
        """Every entry, oldest first; what others added since is read too. One that stands twice counts once.

        Raises:
            BadInput: it can't be read; OutsideFolder: it is a link to another folder, or no ordinary file.
        """
        with self._lock:
            try:
                path = folders.resolve_inside(self.path.parent, self.path.name)
                lines, self._read = storage.read_lines(path, self._read)
            except OSError as error:
                raise BadInput(f"{self.path} can't be read: {(error.strerror or str(error)).lower()}.") from error
            for line in lines:
                if isinstance(line.get("id"), str) and self._whole(line):
                    self._all.setdefault(line["id"], line)
                else:
                    self.passed_over += 1
            return list(self._all.values())

    def add(self, entry: dict[str, Any]) -> None:
        """Write an entry down, without secrets; but ``messages``, the new text of a row, is data and stays as it is.

        Raises:
            NoSpace: the disk is full; BadInput: it can't be written for another reason. Then the file is as it was, and
            nothing new stays behind.
        """
        line = storage.to_json(cover_secrets_in(entry, data=("messages",))).encode("utf-8", "backslashreplace") + b"\n"
        try:
            with self._lock, storage.new_folder(self.path.parent):
                storage.append(self.path, line)
        except OSError as error:
            said = (error.strerror or str(error)).lower()
            raise BadInput(f"{self.path} can't be written: {said}. Nothing was kept of it.") from error


def new_entry() -> dict[str, Any]:
    """What every entry begins with: version, id, time."""
    return {"version": VERSION, "id": uuid.uuid4().hex[:16], "t": round(time.time(), 3)}


def author_name(given: str | None = None) -> str:
    """Who acts: the one named, ``ETABLI_AUTHOR``, or the user."""
    return given or os.environ.get("ETABLI_AUTHOR") or _user()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without a name for its user
        return "somebody"
