"""A line of progress: rewritten in place on a terminal and in a notebook, one line every so often elsewhere."""

import sys
import time
from typing import Any

from etabli.core.terminal import plain, rewrite, say

EVERY_SECONDS = 15.0  # where the line can't be rewritten


class Line:
    """One line that says how far something is, at most twice a second.

    In a notebook an output that is updated in place: carriage returns would fill the saved notebook with every line
    there ever was. Elsewhere on stderr, so that ``--json`` has stdout to itself.
    """

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self._notebook = "ipykernel" in sys.modules
        self._terminal = not self._notebook and sys.stderr.isatty()
        self._output: Any = None
        self._shown = 0.0
        self._last = ""

    def show(self, text: str, urgent: bool = False) -> None:
        """Show a text if it is new and it is time to, or urgent."""
        text = plain(text)
        due = urgent or time.monotonic() - self._shown > (0.5 if self._notebook or self._terminal else EVERY_SECONDS)
        if self.quiet or text == self._last or not due:
            return
        self._shown, self._last = time.monotonic(), text
        if self._notebook:
            self._update(text)
        elif self._terminal:
            rewrite(text, 90)
        else:
            say(text)

    def _update(self, text: str) -> None:
        from IPython.display import display

        if self._output is None:
            self._output = display({"text/plain": text}, raw=True, display_id=True)
        else:
            self._output.update({"text/plain": text}, raw=True)

    def close(self) -> None:
        """End the line."""
        if self._terminal and self._last and not self.quiet:
            print(file=sys.stderr, flush=True)


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
