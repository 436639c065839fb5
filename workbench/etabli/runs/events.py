"""The event log of a run: append-only, one JSON object a line, written by one process and read by any."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from etabli.core import contract_check, json_lines, secrets, storage
from etabli.core.contracts import EVENT_FIELDS, EVENTS, STATES, CheckedEvent
from etabli.core.terminal import say

Event: TypeAlias = dict[str, Any]  # kind, t, and the fields of that kind (contracts.EVENT_FIELDS)


class EventLog:
    """Appends events. A lock keeps lines whole: the heartbeat is written by a thread of its own."""

    def __init__(self, folder: Path):
        self.path = folder / EVENTS
        self._lock = threading.Lock()
        # A crash may have left half a line: end it, or the next event would be glued to it.
        if self.path.exists() and not json_lines.ends_line(self.path):
            with self.path.open("ab") as file:
                file.write(b"\n")
        self._file = self.path.open("a", encoding="utf-8")

    def write(self, kind: str, **fields: object) -> None:
        """Append one event of a kind that ``contracts.EVENT_FIELDS`` names; a warning goes to the log too (stderr)."""
        if kind not in EVENT_FIELDS:
            raise ValueError(f"unknown event kind {kind!r}")
        line = storage.to_json({"kind": kind, "t": round(time.time(), 3), **secrets.cover_secrets_in(fields)}) + "\n"
        with self._lock, storage.disk_errors(self.path):
            self._file.write(line)
            self._file.flush()
        if kind == "warning":
            say(f"Warning: {fields['what']}")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class SilentLog:
    """The log of the processes that don't write, when a run has several."""

    def write(self, kind: str, **fields: object) -> None:
        """Write nothing."""


def drop_superseded(events: Sequence[Event]) -> list[Event]:
    """Return the events that still count: a resume supersedes what was written before it about later steps."""
    current: list[Event] = []
    for event in events:
        if event.get("kind") == "resume":
            current = [old for old in current if _step(old) <= _step(event) and old.get("kind") != "end"]
        current.append(event)
    return current


def read_events(path: Path, offset: int = 0) -> tuple[list[Event], int]:
    """Return the events from a byte offset on, and the offset after the last whole line.

    Lines that are no event are left out, so that all who count events get the same number.
    """
    lines, end = json_lines.read_lines(path, offset)
    return [line for line in lines if is_event(line)], end


def count_events(folder: Path) -> int:
    """Return how many events a run folder holds: ``events_before`` of a process that begins now."""
    return len(read_events(folder / EVENTS)[0])


def is_event(line: Event) -> bool:
    """Return whether a line of the file has what every event has; a damaged line has not."""
    has_state = line.get("kind") != "end" or line.get("state") in STATES
    needs_step = "step" in EVENT_FIELDS.get(str(line.get("kind")), ())
    has_step = isinstance(line.get("step", None if needs_step else 0), int)
    return has_state and has_step and contract_check.find_problem(line, CheckedEvent) == ""


def _step(event: Event) -> int:
    step = event.get("step", 0)
    return step if isinstance(step, int) else 0  # a damaged line


def of_kind(events: Sequence[Event], kind: str) -> list[Event]:
    """Return the events of one kind."""
    return [event for event in events if event.get("kind") == kind]


def last_of_kind(events: Sequence[Event], kind: str) -> Event:
    """Return the newest event of a kind, or an empty one."""
    return next((event for event in reversed(events) if event.get("kind") == kind), {})
