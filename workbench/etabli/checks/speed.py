"""Find how fast this machine trained a model before, to estimate how long a training takes."""

import statistics
from pathlib import Path

from etabli.core import json_lines, parsing
from etabli.core.contracts import EVENTS, RECIPE
from etabli.core.wording import count_of
from etabli.models import embedded

_DEFAULT_NAMES = {None, "default", embedded.NAME, embedded.HUB_ID}


def find_measured_speed(model: str, runs: Path = Path("runs")) -> tuple[float, str] | None:
    """Return (tokens per second, where it was measured) from the newest run of a model; None without such a run."""
    event_files = sorted(runs.glob(f"*/{EVENTS}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in event_files:
        lines = json_lines.read_lines(path)[0]
        speeds = [speed for line in lines if isinstance(speed := line.get("tokens_per_s"), int | float) and speed > 0]
        names = {_read_model(path.with_name(RECIPE)), model}
        if speeds and (len(names) == 1 or names <= _DEFAULT_NAMES):
            return statistics.median(speeds), f"the median of {count_of(len(speeds), 'step')} of {path.parent}"
    return None


def _read_model(recipe: Path) -> str | None:
    try:
        model: str | None = (parsing.read_yaml(recipe) or {}).get("model", "default")
    except (OSError, ValueError, AttributeError):
        return None
    return model
