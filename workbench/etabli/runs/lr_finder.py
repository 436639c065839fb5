"""Find a learning rate: one short run in which it rises from almost zero until the loss breaks (arXiv 1506.01186)."""

import re
import time
from collections.abc import Sequence
from pathlib import Path

from etabli.core.contracts import END_STATES, VERSION, RateRange
from etabli.core.errors import BadInput
from etabli.core.progress import show_progress
from etabli.core.wording import count_of
from etabli.runs import events
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run

STEPS, TOP = 60, 0.1
SMOOTHING = 0.8  # weight of the running mean at each step: packs differ, and a single loss is noisy
ADVICE_DIVISOR = 10  # the advice is this many times below the rate with the lowest loss
MIN_LOSSES = 10  # a curve needs as many


def lr_range(
    recipe: Recipe, folder: str | Path, steps: int = STEPS, top: float = TOP, trust_code: bool = False
) -> RateRange:
    """Train for a few steps with a rate that rises evenly on a logarithmic scale, and find where the loss turns.

    Args:
        recipe: what is to be trained; its rate, scheduler, epochs, evaluations and samples are not used.
        folder: of the new run; if it holds a run of the same recipe already, that run is read.
        steps: how many. top: the last rate; the first is 10,000 times smaller. trust_code: as for ``Run.start``.

    Returns:
        ``contracts.RateRange``. The advice is a tenth of the rate at which the smoothed loss is lowest: a rule of
        thumb, for one seed, on this data; ``overlay(run, over="lr")`` draws the curve.

    Raises:
        BadInput: too few steps, or a loss that never fell; UntrustedCode: as ``Run.start``.
    """
    if steps < MIN_LOSSES:
        raise BadInput(f"A range test of {count_of(steps, 'step')} says nothing: take at least {MIN_LOSSES}.")
    keys = recipe.keys() | {
        "lr_scheduler": "range",
        "learning_rate": top,
        "epochs": None,
        "max_steps": steps,
        "warmup_steps": 0,
        "eval_every": steps,
        "sample_prompts": (),
        "checkpoint_every": steps,
        "callbacks": None,
        "backup": None,
        "max_minutes": None,
    }
    run = Run.ensure(Recipe(**keys).read_from(recipe.file), folder, trust_code)
    _wait(run)
    step_events = events.of_kind(run.events(), "step")
    return _find_turn(
        str(run.folder), [event["lr"] for event in step_events], [event["loss"] for event in step_events], steps
    )


def _wait(run: Run) -> None:
    """Wait for the end; a loss that becomes infinite at a high rate is a result, not a failure."""
    with show_progress("testing learning rates", run.progress()["steps"]) as task:
        while run.state not in END_STATES:
            time.sleep(0.5)
            progress = run.progress()
            task.report(progress["step"], progress["steps"])
    if run.state != "completed" and not re.match(r"Step \d+: loss", run.why):
        raise BadInput(f"The range test ended too early ({run.state}): {run.why}")


def _find_turn(run: str, rates: list[float], losses: list[float], steps: int) -> RateRange:
    if len(losses) < MIN_LOSSES:
        raise BadInput(f"The loss broke after {count_of(len(losses), 'step')} in {run}: lower --top.")
    means = smooth(losses)
    lowest = min(range(len(means)), key=means.__getitem__)
    if means[lowest] >= means[0]:
        raise BadInput(f"The loss never fell in {run}: look at the data, or take more steps.")
    return {
        "version": VERSION,
        "run": run,
        "rates": rates,
        "losses": losses,
        "smoothed": means,
        "lowest_at": rates[lowest],
        "turned": lowest < len(losses) - 1 or len(losses) < steps,
        "advice": rates[lowest] / ADVICE_DIVISOR,
    }


def smooth(values: Sequence[float]) -> list[float]:
    """Return the running mean of values, corrected for its start at zero (arXiv 1412.6980, section 3)."""
    means, mean, weight = [], 0.0, 0.0
    for value in values:
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        means.append(mean / weight)
    return means
