"""How far a run is: measured from its events, and as one line of text."""

from collections.abc import Sequence

from etabli.core.contracts import END_STATES, RunProgress, StepProgress
from etabli.core.wording import format_gib
from etabli.runs import events
from etabli.runs.events import Event

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


def describe_progress(progress: RunProgress) -> str:
    """Return one line of text from ``Run.progress``: state, step, loss, speed, memory; time left if it goes on."""
    parts = [f"{progress['state']}: step {progress['step']}/{progress['steps'] or '?'}"]
    if progress["loss"] is not None:
        parts.append(f"loss {progress['loss']:.3f}")
    if progress["tokens_per_s"]:
        parts.append(f"{progress['tokens_per_s']:.0f} tokens/s")
    if progress["memory_bytes"]:
        parts.append(format_gib(progress["memory_bytes"], digits=2))
    if progress["seconds_left"] and progress["state"] not in END_STATES:
        parts.append(f"{format_duration(progress['seconds_left'])} left")
    return " · ".join(parts)


def format_duration(seconds: float) -> str:
    """Return ``4:05``, or ``1:04:05`` from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
