"""A line of progress: rewritten in place on a terminal and in a notebook, one line every so often elsewhere."""

import sys
import time
from typing import Any

EVERY_SECONDS = 15.0  # where the line can't be rewritten


class Line:
    """One line that says how far something is, at most twice a second.

    On stderr, so that ``--json`` has stdout to itself; but in a notebook on stdout, where stderr is an alarming red.
    """

    def __init__(self, quiet: bool = False):
        in_notebook = "ipykernel" in sys.modules
        self.quiet = quiet
        self._stream = sys.stdout if in_notebook else sys.stderr
        self._rewrites = in_notebook or sys.stderr.isatty()
        self._shown = 0.0
        self._last = ""

    def show(self, text: str, urgent: bool = False) -> None:
        """Show a text if it is new and it is time to, or urgent."""
        due = urgent or time.monotonic() - self._shown > (0.5 if self._rewrites else EVERY_SECONDS)
        if self.quiet or text == self._last or not due:
            return
        self._shown, self._last = time.monotonic(), text
        start, end = ("\r", "") if self._rewrites else ("", "\n")
        print(f"{start}{text:<90}" if start else text, end=end, file=self._stream, flush=True)

    def close(self) -> None:
        """End the line."""
        if self._rewrites and self._last and not self.quiet:
            print(file=self._stream, flush=True)


def describe(now: dict[str, Any]) -> str:
    """One line: state, step, loss, speed, memory, time left."""
    parts = [f"{now['state']}: step {now['step']}/{now['steps'] or '?'}"]
    if now["loss"] is not None:
        parts.append(f"loss {now['loss']:.3f}")
    if now["tokens_per_s"]:
        parts.append(f"{now['tokens_per_s']:.0f} tokens/s")
    if now["memory_bytes"]:
        parts.append(f"{now['memory_bytes'] / 1e9:.2f} GB")
    if now["seconds_left"]:
        parts.append(f"{clock(now['seconds_left'])} left")
    return " · ".join(parts)


def clock(seconds: float) -> str:
    """4:05, or 1:04:05 from an hour."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
