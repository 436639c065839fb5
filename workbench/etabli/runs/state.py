"""Read the state of a run from its folder: the events, the process, and why it ended."""

import os
import socket
import subprocess
import time
from pathlib import Path

from etabli.core import contract_check, folders, parsing, processes
from etabli.core.contracts import EVENTS, HEARTBEAT_SECONDS, LOG, PROCESS, STOP
from etabli.core.errors import EtabliError
from etabli.runs import events
from etabli.runs.events import Event

LOG_TAIL = 64 * 2**10  # bytes of the log that are read for its last line


class StateReader:
    """Reads a run folder again and again; each time only the events that are new.

    ``child`` is the run's process, if this process started it.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.child: subprocess.Popen[bytes] | None = None
        self._events: list[Event] = []
        self._offset = 0

    def forget(self) -> None:
        """Start again from the first event: the folder holds another run now."""
        self._events, self._offset = [], 0

    def all_events(self) -> list[Event]:
        """Return every event in the file, superseded ones too."""
        new_events, self._offset = events.read_events(self.folder / EVENTS, self._offset)
        self._events += new_events
        return self._events

    def state(self) -> str:
        """Return one of ``contracts.STATES``."""
        event_list = self.all_events()
        process = self._read_process()
        first = _events_before(process)
        end = events.last_of_kind(event_list[first:], "end")
        if end:
            return str(end["state"])
        if not self._is_alive(process):
            return "lost"
        if (self.folder / STOP).exists():
            return "stopping"
        return "running" if events.of_kind(event_list[first:], "step") else "starting"

    def why(self) -> str:
        """Return why the run ended: the child's reason, or what it printed last."""
        first = _events_before(self._read_process())
        end = events.last_of_kind(self.all_events()[first:], "end")
        return end.get("why") or self._last_line() or "its process is gone without a word. .resume() goes on."

    def _read_process(self) -> Event:
        try:
            process = parsing.read_json(self.folder / PROCESS, parsing.LARGEST_CONFIG)
        except (OSError, ValueError):
            return {}
        return process if isinstance(process, dict) else {}

    def _is_alive(self, process: Event) -> bool:
        if self.child is not None:
            self.child.poll()  # a child that has ended is a zombie until its parent has asked
        if processes.is_alive(process):
            return True
        # Of a run on another machine only the heartbeat can be seen.
        elsewhere = process.get("host") not in (None, socket.gethostname())
        newest = self._events[-1]["t"] if self._events else 0
        return bool(elsewhere and time.time() - newest < 6 * HEARTBEAT_SECONDS)

    def _last_line(self) -> str:
        """Return what the child printed last, from the end of the log: it may be very long, or sparse."""
        try:
            with folders.open_file(self.folder / LOG) as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_TAIL))
                text = file.read(LOG_TAIL).decode("utf-8", "replace")
        except (OSError, EtabliError):
            return ""
        lines = text.replace("\0", "").strip().splitlines()
        lines = [line for line in lines if "Warning:" not in line and "warnings.warn" not in line]
        return f"killed or out of memory? The last it printed: {lines[-1]}" if lines else ""


def _events_before(process: Event) -> int:
    """How many events earlier processes wrote; 0 where ``process.json`` holds no such number."""
    count = process.get("events_before", 0)
    return count if contract_check.find_problem(count, int) == "" and count >= 0 else 0
