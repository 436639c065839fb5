"""The event log of a run: append-only, one JSON object a line, written by one process and read by any."""

import threading
import time
from pathlib import Path
from typing import Any

from etabli.core import secrets, storage
from etabli.core.contracts import EVENT_FIELDS, EVENTS, STATES


class EventLog:
    """Appends events. Lines are written whole; the heartbeat comes from a thread of its own."""

    def __init__(self, folder: Path):
        self.path = folder / EVENTS
        self._lock = threading.Lock()
        self._end_torn_line()
        self._file = self.path.open("a", encoding="utf-8")

    def _end_torn_line(self) -> None:
        """A crash may have left half a line: what follows must not be glued to it."""
        if self.path.exists() and not storage.ends_line(self.path):
            with self.path.open("ab") as file:
                file.write(b"\n")

    def write(self, kind: str, **fields: Any) -> None:
        """Append one event of a kind that ``contracts.EVENT_FIELDS`` names."""
        if kind not in EVENT_FIELDS:
            raise ValueError(f"unknown event kind {kind!r}")
        line = storage.to_json({"kind": kind, "t": round(time.time(), 3), **secrets.deep(fields)}) + "\n"
        with self._lock, storage.disk_errors(self.path):
            self._file.write(line)
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Silence:
    """Where the other processes of a run on several devices write."""

    def write(self, kind: str, **fields: Any) -> None:
        """Write nothing."""


def current(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What still counts: after a resume, records of later steps written before it are superseded."""
    kept: list[dict[str, Any]] = []
    for event in events:
        if event.get("kind") == "resume":
            kept = [old for old in kept if _step(old) <= _step(event) and old.get("kind") != "end"]
        kept.append(event)
    return kept


def read(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Return the events from a byte offset on, and the offset after the last whole line.

    Lines that are no event are passed over, here and so for everybody: who counts events counts the same ones.
    """
    lines, end = storage.read_lines(path, offset)
    return [line for line in lines if is_event(line)], end


def count(folder: Path) -> int:
    """Return how many events a run folder holds: ``events_before`` of a process that begins now."""
    return len(read(folder / EVENTS)[0])


def is_event(line: dict[str, Any]) -> bool:
    """Is a line of the file whole? One that was damaged has no place in a log."""
    known = isinstance(line.get("kind"), str) and isinstance(line.get("t"), int | float)
    ended = line.get("kind") != "end" or line.get("state") in STATES
    return known and ended and isinstance(line.get("step", 0), int)


def _step(event: dict[str, Any]) -> int:
    step = event.get("step", 0)
    return step if isinstance(step, int) else 0  # of a damaged line


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Events of one kind."""
    return [event for event in events if event.get("kind") == kind]


def last(events: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The newest event of a kind, or an empty one."""
    return next((event for event in reversed(events) if event.get("kind") == kind), {})
