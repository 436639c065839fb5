"""Every score of every answer. What raises is an error of that row, and the rest go on."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from etabli.core.contracts import Answered, Metric, Row
from etabli.core.secrets import hidden
from etabli.evaluation.scores import Score
from etabli.evaluation.scores.answers import normalised
from etabli.evaluation.scores.score import LOSS, CUSTOM, unit_of
from etabli.evaluation.scores.registry import CHOICES
from etabli.evaluation.systems import System
from etabli.evaluation.test_set import TestSet, asked, truth


def score_rows(asked_set: TestSet, arms: list[System], scores: list[Score]) -> list[Answered]:
    """What every arm answered, and every score of it; one entry a test row."""
    return [_row(at, asked_set, arms, scores) for at in range(len(asked_set.tests))]


def _row(at: int, asked_set: TestSet, arms: list[System], scores: list[Score]) -> Answered:
    row = asked_set.tests[at]
    made: Answered = {
        "id": row["id"],
        "lang": str(row.get("lang") or ""),
        "template": row.get("template") or row["id"],
        "cluster": asked_set.clusters[at],
        "slices": asked_set.slices[at],
        "row": _storable(row),
        "overlap": asked_set.overlaps[at],
        "prompt": asked(row),
        "truth": truth(row),
        "rendered": {arm.name: arm.rendered[at] for arm in arms},
        "answers": {arm.name: arm.answers[at] for arm in arms},
        "raw": {arm.name: arm.raws[at] for arm in arms},
        "correct": {},
        "values": {},
        "weights": {},
        "errors": {},
    }
    for score in scores:
        add_score(made, score, {arm.name: _value(score, arm, at, row, made) for arm in arms})
        if score.unit == LOSS:
            tokens = max((arm.losses[at].tokens for arm in arms if arm.losses), default=1)
            made["weights"][score.name] = float(tokens or 1)
    return made


def _storable(row: Row) -> Row:
    """A copy that JSON and UTF-8 can hold: a column may have a date in it, or half a character."""
    return json.loads(json.dumps(row, default=str, ensure_ascii=False).encode("utf-8", "replace"))


def _value(score: Score, arm: System, at: int, row: Row, made: Answered) -> Callable[[], Any]:
    """How an arm's value is had: read from the model, or made from the answer's text."""
    if not score.from_model or arm.talks is None:
        return of_text(score, arm.name, row, made)
    return partial(_loss, arm, at) if score.unit == LOSS else partial(_chosen, score, arm, at, row)


def of_text(score: Score, arm: str, row: Row, made: Answered) -> Callable[[], Any]:
    """How a value is made from an answer's text."""
    return partial(score.of, made["answers"][arm], made["truth"], row)


def add_score(made: Answered, score: Score, values: dict[str, Callable[[], Any]]) -> None:
    """Put a score of every arm's answer into a row; what raises is an error of the row."""
    found: dict[str, Any] = {}
    for arm, value in values.items():
        try:
            found[arm] = _number(value())
        except (Exception, SystemExit) as error:
            found[arm] = None
            said = hidden(f"{type(error).__name__}: {error}")[:300]
            made["errors"].setdefault(score.name, {})[arm] = said
    made["values"][score.name] = found


def _number(said: Any) -> bool | float | None:
    if said is None or isinstance(said, bool):
        return said
    if type(said).__name__ in ("bool", "bool_"):  # numpy's
        return bool(said)
    number = float(said)
    if number - number != 0:
        raise ValueError(f"the score is {number}, which is no number to count with")
    return number


def _loss(arm: System, at: int) -> float:
    held = arm.losses[at]
    if not held.tokens:
        raise ValueError("the answer has no tokens")
    if held.nats - held.nats != 0:
        raise ValueError(f"the model gives the answer a likelihood of {held.nats}")
    return held.nats / held.tokens


def _chosen(score: Score, arm: System, at: int, row: Row) -> bool:
    """Is the likeliest choice the true one? ``choice_norm`` divides by characters. The end of the turn counts, too."""
    offered = row_choices(row)
    right = [at for at, choice in enumerate(offered) if choice.strip() == truth(row).strip()]
    right = right or [at for at, choice in enumerate(offered) if normalised(choice, truth(row))]
    if len(right) != 1:
        raise ValueError(f"{len(right)} of the row's {len(offered)} choices are its answer")
    lengths = [max(1, len(choice)) if score.name == "choice_norm" else 1 for choice in offered]
    costs = [held.nats / length for held, length in zip(arm.choices[at], lengths)]
    return costs.index(min(costs)) == right[0]


def row_choices(row: Row) -> list[str]:
    """What a row offers: a list of texts, or lm-eval's ``{"text": [...]}``; nothing if it offers none."""
    held = (row.get("columns") or {}).get(CHOICES) or []
    return [str(choice) for choice in (held.get("text", []) if isinstance(held, dict) else held)]


def describe_metrics(scores: list[Score], made: list[Answered]) -> list[Metric]:
    """What each score was made with. The unit of one's own is told by what it gave."""
    return [{**score.metric, "unit": _unit(score, made)} for score in scores]


def _unit(score: Score, made: list[Answered]) -> str:
    if score.unit != CUSTOM:
        return score.unit
    return unit_of(value for row in made for value in row["values"][score.name].values())
