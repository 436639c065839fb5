"""Every score of every answer. What raises is an error of that row, and the rest go on."""

from collections.abc import Callable
from typing import Any

from etabli.contracts import Answered, Metric, Row
from etabli.evaluation.arms import Arm
from etabli.evaluation.scores import Score
from etabli.evaluation.scores.answers import normalised
from etabli.evaluation.scores.score import LOSS, MEAN, NUMBER, OWN, SHARE
from etabli.evaluation.scores.wanted import CHOICES
from etabli.evaluation.sets import TestSet, asked, truth


def rows(asked_set: TestSet, arms: list[Arm], scores: list[Score]) -> list[Answered]:
    """What every arm answered, and every score of it; one entry a test row."""
    return [_row(at, asked_set, arms, scores) for at in range(len(asked_set.tests))]


def _row(at: int, asked_set: TestSet, arms: list[Arm], scores: list[Score]) -> Answered:
    row = asked_set.tests[at]
    spoke = [arm for arm in arms if arm.talks is not None]
    made: Answered = {
        "id": row["id"],
        "lang": str(row.get("lang") or ""),
        "template": row.get("template") or row["id"],
        "cluster": asked_set.clusters[at],
        "slices": asked_set.slices[at],
        "overlap": asked_set.overlaps[at],
        "prompt": asked(row),
        "truth": truth(row),
        "rendered": {arm.name: arm.rendered[at] for arm in spoke},
        "answers": {arm.name: arm.answers[at] for arm in arms},
        "raw": {arm.name: arm.raws[at] for arm in spoke},
        "correct": {},
        "values": {},
        "weights": {},
        "errors": {},
        "columns": row.get("columns") or {},
    }
    by_name = {arm.name: arm for arm in arms}
    for score in scores:
        read = (lambda name, score=score: _read(score, by_name[name], at, row)) if score.from_model else None
        mark(made, row, score, list(by_name), read)
        if score.unit == LOSS:
            tokens = max((arm.losses[at].tokens for arm in arms if arm.losses), default=1)
            made["weights"][score.name] = float(tokens or 1)
    return made


def mark(
    made: Answered, row: Row, score: Score, arms: list[str], read: Callable[[str], bool | float | None] | None = None
) -> None:
    """Put a score of every arm's answer into a row. ``read`` gives what is read from a model, ``None`` for others."""
    values: dict[str, Any] = {}
    for arm in arms:
        try:
            of_model = read is not None and arm in made["rendered"]
            values[arm] = read(arm) if of_model else _number(score.of(made["answers"][arm], made["truth"], row))
        except (Exception, SystemExit) as error:
            values[arm] = None
            said = f"{type(error).__name__}: {error}"[:300]
            made["errors"].setdefault(score.name, {})[arm] = said
    made["values"][score.name] = values


def _number(said: Any) -> bool | float | None:
    if said is None or isinstance(said, bool):
        return said
    number = float(said)
    if number - number != 0:
        raise ValueError(f"the score is {number}, which is no number to count with")
    return number


def _read(score: Score, arm: Arm, at: int, row: Row) -> bool | float:
    return _loss(arm, at) if score.unit == LOSS else _chosen(score, arm, at, row)


def _loss(arm: Arm, at: int) -> float:
    held = arm.losses[at]
    if not held.tokens:
        raise ValueError("the answer has no tokens")
    if held.nats - held.nats != 0:
        raise ValueError(f"the model gives the answer a likelihood of {held.nats}")
    return held.nats / held.tokens


def _chosen(score: Score, arm: Arm, at: int, row: Row) -> bool:
    """Is the likeliest choice the true one? ``choice_norm`` divides by characters, as lm-eval's acc_norm does."""
    offered = choices_of(row)
    right = [at for at, choice in enumerate(offered) if normalised(choice, truth(row))]
    if len(right) != 1:
        raise ValueError(f"{len(right)} of the row's {len(offered)} choices are its answer")
    lengths = [max(1, len(choice)) if score.name == "choice_norm" else 1 for choice in offered]
    costs = [held.nats / length for held, length in zip(arm.choices[at], lengths)]
    return costs.index(min(costs)) == right[0]


def choices_of(row: Row) -> list[str]:
    """What a row offers: a list of texts, or lm-eval's ``{"text": [...]}``; nothing if it offers none."""
    held = (row.get("columns") or {}).get(CHOICES) or []
    return [str(choice) for choice in (held.get("text", []) if isinstance(held, dict) else held)]


def metrics(scores: list[Score], made: list[Answered]) -> list[Metric]:
    """What each score was made with. The unit of one's own is told by what it gave."""
    return [{**score.metric, "unit": _unit(score, made)} for score in scores]


def _unit(score: Score, made: list[Answered]) -> str:
    if score.unit != OWN:
        return score.unit
    given = [value for row in made for value in row["values"][score.name].values() if value is not None]
    if all(isinstance(value, bool) for value in given):
        return SHARE
    return MEAN if all(0 <= value <= 1 for value in given) else NUMBER
