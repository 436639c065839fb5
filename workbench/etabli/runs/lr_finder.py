"""Which learning rate? One short run in which it rises from almost nothing until the loss breaks (arXiv 1506.01186)."""

import re
import time
from pathlib import Path

from etabli.core.contracts import ENDED, VERSION, RateRange
from etabli.core.errors import BadInput
from etabli.runs import events
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run

STEPS, TOP = 60, 0.1
SMOOTH = 0.8  # of the running mean is kept at each step: packs differ, and one loss says little
BELOW = 10  # the advice is so many times below where the loss is lowest
FEWEST = 10  # losses that a curve has to have


def lr_range(
    recipe: Recipe, folder: str | Path, steps: int = STEPS, top: float = TOP, trust_code: bool = False
) -> RateRange:
    """Train for a few steps with a rate that rises evenly on a logarithmic scale, and read off where the loss turns.

    Args:
        recipe: what is to be trained; its rate, schedule, epochs, evaluations and samples are set aside.
        folder: of the run that is made; one that is there, of the same recipe, is read and not trained again.
        steps: how many. top: the last rate; the first is 10,000 times smaller. trust_code: as for ``Run.start``.

    Returns:
        ``contracts.RateRange``. The advice is a tenth of the rate at which the smoothed loss is lowest: a rule of
        thumb, for one seed, on this data; ``overlay(run, over="lr")`` draws the curve.

    Raises:
        BadInput: too few steps, or a loss that never fell; UntrustedCode: as ``Run.start``.
    """
    if steps < FEWEST:
        raise BadInput(f"A range test of {steps} steps says nothing: take at least {FEWEST}.")
    keys = recipe.keys() | {
        "schedule": "range", "learning_rate": top, "epochs": None, "max_steps": steps, "warmup_steps": 0,
        "eval_every": steps, "sample_every": steps, "checkpoint_every": steps, "callbacks": None, "mirror": None,
        "max_minutes": None,
    }  # fmt: skip
    run = Run.ensure(Recipe(**keys).read_from(recipe.file), folder, trust_code)
    _wait(run)
    seen = events.of(run.events(), "step")
    return _judged(str(run.folder), [event["lr"] for event in seen], [event["loss"] for event in seen], steps)


def _wait(run: Run) -> None:
    """To the end; that a loss becomes infinite at a high rate is an answer, not a failure."""
    while run.state not in ENDED:
        time.sleep(0.5)
    if run.state != "completed" and not re.match(r"Step \d+: loss", run.why):
        raise BadInput(f"The range test ended too early ({run.state}): {run.why}")


def _judged(run: str, rates: list[float], losses: list[float], steps: int) -> RateRange:
    if len(losses) < FEWEST:
        raise BadInput(f"The loss broke after {len(losses)} steps in {run}: lower --top.")
    smooth = smoothed(losses)
    lowest = min(range(len(smooth)), key=smooth.__getitem__)
    if smooth[lowest] >= smooth[0]:
        raise BadInput(f"The loss never fell in {run}: look at the data, or take more steps.")
    return {
        "version": VERSION, "run": run, "rates": rates, "losses": losses, "smoothed": smooth,
        "lowest_at": rates[lowest], "turned": lowest < len(losses) - 1 or len(losses) < steps,
        "advice": rates[lowest] / BELOW,
    }  # fmt: skip


def smoothed(values: list[float]) -> list[float]:
    """A running mean that starts without a bias (arXiv 1412.6980, section 3)."""
    made, held, weight = [], 0.0, 0.0
    for value in values:
        held = SMOOTH * held + (1 - SMOOTH) * value
        weight = SMOOTH * weight + (1 - SMOOTH)
        made.append(held / weight)
    return made
