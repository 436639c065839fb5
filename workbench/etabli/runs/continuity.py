"""Is a resumed run the same run? Steps that were done before the process died and done again tell.

A run goes on from its newest checkpoint; what it had done after that is done once more. On the same threads, processor
and versions the loss and the gradient norm of those steps come out the same to the last bit, and so does all that
follows.
"""

from collections.abc import Sequence
from typing import Any

from etabli.core.contracts import Continuity

COMPARED = ("loss", "grad_norm", "lr", "trained_tokens")


def proofs(written: Sequence[dict[str, Any]]) -> list[Continuity]:
    """One for each time the run went on, oldest first.

    Args:
        written: every event of the file, those that were superseded since too.
    """
    made: list[Continuity] = []
    known: dict[int, dict[str, Any]] = {}  # what each step said last
    for event in written:
        step = event.get("step", 0)
        if not isinstance(step, int):  # a damaged line
            continue
        if event.get("kind") == "resume":
            due = [at for at in known if at > step]
            made.append({"step": step, "due": len(due), "again": 0, "first_difference": None, "largest": 0.0})
        elif event.get("kind") == "step":
            if made and step in known and step > made[-1]["step"]:
                _compare(made[-1], step, known[step], event)
            known[step] = event
    return made


def _compare(proof: Continuity, step: int, before: dict[str, Any], after: dict[str, Any]) -> None:
    proof["again"] += 1
    if any(before.get(name) != after.get(name) for name in COMPARED) and proof["first_difference"] is None:
        proof["first_difference"] = step
    losses = (before.get("loss"), after.get("loss"))
    if all(isinstance(loss, int | float) for loss in losses):
        proof["largest"] = max(proof["largest"], abs(losses[1] - losses[0]))


def said(proof: Continuity) -> str:
    """A proof in a sentence."""
    head, again = f"Went on from step {proof['step']}.", _steps(proof["again"])
    if not proof["due"]:
        return f"{head} No step after it had been done before: there is nothing to compare."
    if not proof["again"]:
        return f"{head} {_steps(proof['due'])} after it had been done before; none was done again."
    if proof["first_difference"] is None:
        done = f"{again} of {proof['due']}" if proof["again"] < proof["due"] else again
        return f"{head} {done} after it done again: loss and gradient norm are the same to the last bit."
    return (
        f"{head} NOT the same run: step {proof['first_difference']} came out differently when it was done again (loss, "
        f"gradient norm, rate or tokens; losses differ by at most {proof['largest']:.2g} over {again})."
    )


def _steps(count: int) -> str:
    return f"{count} step{'s' * (count != 1)}"
