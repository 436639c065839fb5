"""Check that a resumed run is the same run, by the steps that were done before the process died and done again.

A run resumes from its newest checkpoint; the steps after that checkpoint are repeated. On the same threads, processor
and versions their loss and gradient norm are the same to the last bit, and so is all that follows.
"""

from collections.abc import Sequence

from etabli.core.contracts import Continuity
from etabli.core.wording import count_of
from etabli.runs.events import Event

FIELDS = ("loss", "grad_norm", "lr", "trained_tokens")


def compare_repeated_steps(events: Sequence[Event]) -> list[Continuity]:
    """Return one comparison for each resume, oldest first.

    Args:
        events: all events of the file, superseded ones too.
    """
    comparisons: list[Continuity] = []
    newest: dict[int, Event] = {}  # the last event of each step so far
    for event in events:
        step = event.get("step", 0)
        if not isinstance(step, int):  # a damaged line
            continue
        if event.get("kind") == "resume":
            due = sum(number > step for number in newest)
            comparisons.append({"step": step, "due": due, "again": 0, "first_difference": None, "largest": 0.0})
        elif event.get("kind") == "step":
            if comparisons and step in newest and step > comparisons[-1]["step"]:
                _compare(comparisons[-1], step, newest[step], event)
            newest[step] = event
    return comparisons


def _compare(comparison: Continuity, step: int, old_event: Event, new_event: Event) -> None:
    comparison["again"] += 1
    if any(old_event.get(name) != new_event.get(name) for name in FIELDS) and comparison["first_difference"] is None:
        comparison["first_difference"] = step
    old, new = old_event.get("loss"), new_event.get("loss")
    if isinstance(old, int | float) and isinstance(new, int | float):
        comparison["largest"] = max(comparison["largest"], abs(new - old))


def describe(comparison: Continuity) -> str:
    """Return a comparison as a sentence."""
    start, again = f"Went on from step {comparison['step']}.", count_of(comparison["again"], "step")
    if not comparison["due"]:
        return f"{start} No step after it had been done before: there is nothing to compare."
    if not comparison["again"]:
        return f"{start} {count_of(comparison['due'], 'step')} after it had been done before; none was done again."
    if comparison["first_difference"] is None:
        steps = f"{again} of {comparison['due']}" if comparison["again"] < comparison["due"] else again
        return f"{start} {steps} after it done again: loss and gradient norm are the same to the last bit."
    return (
        f"{start} NOT the same run: step {comparison['first_difference']} came out differently when it was done again "
        f"(loss, gradient norm, rate or tokens; losses differ by at most {comparison['largest']:.2g} over {again})."
    )
