"""Append-only files of what people did: decisions, votes, pins, prompts typed by hand.

A line is on the disk when ``add`` returns; a killed kernel loses no line. A line that a crash left half-written is
skipped, and the next entry begins on a new line.
"""

import getpass
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from etabli.core import folders, json_lines, storage
from etabli.core.contracts import VERSION
from etabli.core.errors import BadInput
from etabli.core.secrets import cover_secrets_in


class Journal:
    """The entries of a file, oldest first. ``is_entry`` returns whether a line of JSON is a valid entry."""

    def __init__(self, path: str | Path, is_entry: Callable[[Mapping[str, object]], bool]):
        self.path, self._is_entry = Path(path), is_entry
        self._lock = threading.Lock()
        self._offset = 0  # bytes that have been read
        self._entries: dict[str, dict[str, Any]] = {}
        self.skipped_lines = 0  # lines that are no entry

    def all(self) -> list[dict[str, Any]]:
        """Return every entry, oldest first, with those that others have added meanwhile. Each id counts once.

        Raises:
            BadInput: it can't be read; OutsideFolder: it is a link to another folder, or no ordinary file.
        """
        with self._lock:
            try:
                path = folders.resolve_inside(self.path.parent, self.path.name)
                lines, self._offset = json_lines.read_lines(path, self._offset)
            except OSError as error:
                raise BadInput(f"{self.path} can't be read: {(error.strerror or str(error)).lower()}.") from error
            for line in lines:
                if isinstance(line_id := line.get("id"), str) and self._is_entry(line):
                    self._entries.setdefault(line_id, line)
                else:
                    self.skipped_lines += 1
            return list(self._entries.values())

    def add(self, *entries: Mapping[str, object]) -> None:
        """Append entries at once, with secrets covered. ``messages``, a row's new text, is data and stays unchanged.

        Raises:
            NoSpace: the disk is full; BadInput: it can't be written for another reason. In both cases the file stays as
            it was.
        """
        covered_entries = (cover_secrets_in(entry, data=("messages",)) for entry in entries)
        lines = "".join(f"{storage.to_json(entry)}\n" for entry in covered_entries).encode("utf-8", "backslashreplace")
        try:
            with self._lock, storage.new_folder(self.path.parent):
                json_lines.append(self.path, lines)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise BadInput(f"{self.path} can't be written: {why}. Nothing of it was saved.") from error


def new_entry() -> dict[str, object]:
    """Return the first fields of every entry: version, a new id, and the time in seconds since epoch."""
    return {"version": VERSION, "id": uuid.uuid4().hex[:16], "t": round(time.time(), 3)}


def author_name(name: str | None = None) -> str:
    """Return the name of the person who acts: ``name``, ``ETABLI_AUTHOR``, or the user name."""
    return name or os.environ.get("ETABLI_AUTHOR") or _user()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without a name for its user
        return "somebody"
