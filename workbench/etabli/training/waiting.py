"""A line of progress: rewritten in place on a terminal, one line every so often elsewhere."""

import sys
import time
from typing import Any

EVERY_SECONDS = 15.0  # where the line can't be rewritten


class Line:
    """Shows a run's progress on stderr, at most twice a second."""

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self.rewrites = sys.stderr.isatty() or "ipykernel" in sys.modules
        self._shown = 0.0
        self._last = ""

    def show(self, now: dict[str, Any]) -> None:
        """Show where the run is, if it is time to."""
        text = describe(now)
        due = time.monotonic() - self._shown > (0.5 if self.rewrites else EVERY_SECONDS)
        if self.quiet or text == self._last or not (due or now["state"] not in ("starting", "running")):
            return
        self._shown, self._last = time.monotonic(), text
        print(
            f"\r{text:<90}" if self.rewrites else text, end="" if self.rewrites else "\n", file=sys.stderr, flush=True
        )

    def close(self) -> None:
        """End the line."""
        if self.rewrites and self._last and not self.quiet:
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
    """Minutes and seconds: 4:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
