"""How far a run is: measured from its events, and shown in one line.

The line is rewritten in place on a terminal and in a notebook; elsewhere a new line is printed now and then.
"""

import shutil
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from etabli.core.contracts import RunProgress, StepProgress
from etabli.core.terminal import in_notebook, say, to_printable
from etabli.runs import events
from etabli.runs.events import Event

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

EVERY_SECONDS = 15.0  # where the line can't be rewritten
SPEED_STEPS, PACE_STEPS = 10, 30  # the newest steps, of which speed and time left are told


def measure_progress(current: Sequence[Event]) -> StepProgress:
    """Return step, steps, loss, tokens_per_s, seconds_left and memory_bytes from a run's events."""
    steps = events.of_kind(current, "step")
    newest = steps[-1] if steps else {}
    total = events.last_of_kind(current, "start").get("steps")
    speeds = [step["tokens_per_s"] for step in steps[-SPEED_STEPS:] if step.get("tokens_per_s")]
    return {
        "step": newest.get("step", 0),
        "steps": total,
        "loss": newest.get("loss"),
        "tokens_per_s": len(speeds) / sum(1 / speed for speed in speeds) if speeds else None,
        "seconds_left": _seconds_left(steps[-PACE_STEPS:], total),
        "memory_bytes": newest.get("memory_bytes"),
    }


def _seconds_left(steps: Sequence[Event], total: int | None) -> float | None:
    """Estimate from the time between steps, which includes evaluation and sampling."""
    if not total or len(steps) < 2 or steps[-1]["step"] == steps[0]["step"]:
        return None
    first, last = steps[0], steps[-1]
    seconds_per_step: float = (last["t"] - first["t"]) / (last["step"] - first["step"])
    steps_left: int = total - last["step"]
    return max(0.0, seconds_per_step * steps_left)


class ProgressLine:
    """One line of progress, shown at most twice a second.

    A notebook's output is updated in place: with carriage returns the saved notebook would hold every line there ever
    was. Elsewhere the line goes to stderr, so that stdout holds only what ``--json`` prints.
    """

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self._notebook = in_notebook()
        self._terminal = not self._notebook and sys.stderr.isatty()
        self._output: DisplayHandle | None = None
        self._last_time = 0.0
        self._last_text = ""
        self._shown_warnings: set[str] = set()

    def add_warnings(self, warnings: Sequence[str]) -> None:
        """Print each warning that was not printed yet, on a line of its own."""
        new = [text for text in warnings if text not in self._shown_warnings and not self.quiet]
        self._shown_warnings.update(new)
        if new:
            self.close()
            self._last_text = ""  # the line is shown again, below the warnings
            say(*(f"Warning: {text}" for text in new))

    def show(self, text: str, urgent: bool = False) -> None:
        """Show a text if it is new, and if enough time has passed or it is urgent."""
        text = to_printable(text)
        interval = 0.5 if self._notebook or self._terminal else EVERY_SECONDS
        too_soon = not urgent and time.monotonic() - self._last_time <= interval
        if self.quiet or text == self._last_text or too_soon:
            return
        self._last_time, self._last_text = time.monotonic(), text
        if self._notebook:
            self._update_output(text)
        elif self._terminal:
            width = shutil.get_terminal_size().columns - 1  # a longer line would stay when the next one is written
            print(f"\r{text[:width]:<{width}}", end="", file=sys.stderr, flush=True)
        else:
            say(text)

    def _update_output(self, text: str) -> None:
        from IPython.display import display

        if self._output is None:
            self._output = display({"text/plain": text}, raw=True, display_id=True)
        else:
            self._output.update({"text/plain": text}, raw=True)

    def close(self) -> None:
        """End the line."""
        if self._terminal and self._last_text and not self.quiet:
            print(file=sys.stderr, flush=True)


def describe_progress(progress: RunProgress) -> str:
    """Return one line of text from ``Run.progress``: state, step, loss, speed, memory, time left."""
    parts = [f"{progress['state']}: step {progress['step']}/{progress['steps'] or '?'}"]
    if progress["loss"] is not None:
        parts.append(f"loss {progress['loss']:.3f}")
    if progress["tokens_per_s"]:
        parts.append(f"{progress['tokens_per_s']:.0f} tokens/s")
    if progress["memory_bytes"]:
        parts.append(f"{progress['memory_bytes'] / 1e9:.2f} GB")
    if progress["seconds_left"]:
        parts.append(f"{format_duration(progress['seconds_left'])} left")
    return " · ".join(parts)


def format_duration(seconds: float) -> str:
    """Return ``4:05``, or ``1:04:05`` from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
