"""Every score of every answer. A score that raises is an error of its row, and the other rows are still scored."""

import json
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

from etabli.core import texts
from etabli.core.contracts import CLEANINGS, AnsweredRow, Metric, Row
from etabli.core.secrets import cover_secrets
from etabli.data.questions import last_user_text
from etabli.evaluation.clean_answer import judged_truth
from etabli.evaluation.scores import Score
from etabli.evaluation.scores.answers import normalised
from etabli.evaluation.scores.registry import CHOICES
from etabli.evaluation.scores.score import CUSTOM, LOSS, unit_of
from etabli.evaluation.systems import System
from etabli.evaluation.test_set import TestSet

LONGEST_ERROR = 300  # characters


def score_rows(test_set: TestSet, systems: list[System], scores: list[Score]) -> list[AnsweredRow]:
    """One record a test row: the answer of every system, and every score of it."""
    return [_score_row(index, test_set, systems, scores) for index in range(len(test_set.tests))]


def _score_row(index: int, test_set: TestSet, systems: list[System], scores: list[Score]) -> AnsweredRow:
    row = test_set.tests[index]
    # A column may hold a date or half a character, which JSON and UTF-8 cannot store.
    storable = json.dumps(row, default=str, ensure_ascii=False).encode("utf-8", "replace")
    stored_row = cast("Row", json.loads(storable))
    record: AnsweredRow = {
        "id": row["id"],
        "lang": str(row.get("lang") or ""),
        "template": row.get("template") or row["id"],
        "cluster": test_set.clusters[index],
        "slices": test_set.slices[index],
        "row": stored_row,
        "overlap": test_set.overlaps[index],
        "prompt": last_user_text(stored_row),
        "truth": judged_truth(stored_row).text,
        "rendered": {system.name: system.prompt_texts[index] for system in systems},
        "answers": {system.name: system.answers[index].text for system in systems},
        "thoughts": {system.name: thought for system in systems if (thought := system.answers[index].thought)},
        "calls": {system.name: calls for system in systems if (calls := system.answers[index].calls)},
        "unreadable_calls": {
            system.name: count for system in systems if (count := system.answers[index].unreadable_calls)
        },
        "raw": {system.name: system.raw_answers[index] for system in systems},
        "cut": [system.name for system in systems if system.cut and system.cut[index]],
        "correct": {},
        "values": {},
        "weights": {},
        "errors": {},
    }
    for score in scores:
        add_score(record, score, {system.name: _scorer(score, system, index, row, record) for system in systems})
        if score.unit == LOSS:
            lengths = (system.truth_likelihoods[index].tokens for system in systems if system.truth_likelihoods)
            record["weights"][score.name] = float(max(lengths, default=1) or 1)
    return record


def _scorer(score: Score, system: System, index: int, row: Row, record: AnsweredRow) -> Callable[[], object]:
    """The function that computes the score: from the model's likelihoods, or from the answer's text."""
    if not score.from_model or system.prompts is None:
        return partial(_score_answer, score, record, system.name, row)
    if score.unit == LOSS:
        return partial(_loss_per_token, system, index)
    return partial(_is_choice_right, score, system, index, row)


def _score_answer(score: Score, record: AnsweredRow, system: str, row: Row) -> object:
    """The score of a system's answer, by its text or by its tool calls."""
    if not score.from_calls:
        return score.compute(record["answers"][system], record["truth"], row)
    if "calls" not in record or "unreadable_calls" not in record:
        raise ValueError("these results are older than the reading of tool calls: evaluate again")
    unreadable = [None] * record["unreadable_calls"].get(system, 0)
    return score.compute([*record["calls"].get(system, []), *unreadable], record["truth"], row)


def score_texts(record: AnsweredRow, score: Score) -> None:
    """Add a score that is made from the answers' texts to a record; errors of an earlier scoring are removed."""
    record["errors"].pop(score.name, None)
    systems = record["answers"]
    add_score(
        record, score, {system: partial(_score_answer, score, record, system, record["row"]) for system in systems}
    )


def add_score(record: AnsweredRow, score: Score, scorers: Mapping[str, Callable[[], object]]) -> None:
    """Add a score of every system's answer to a record. An exception is recorded as an error, with value None."""
    values: dict[str, float | None] = {}
    for system, compute in scorers.items():
        try:
            values[system] = _to_number(compute())
        except (Exception, SystemExit) as error:
            values[system] = None
            message = cover_secrets(f"{type(error).__name__}: {error}")[:LONGEST_ERROR]
            record["errors"].setdefault(score.name, {})[system] = message
    record["values"][score.name] = values


def _to_number(value: Any) -> bool | float | None:
    """The value as bool, finite float or None; numpy's scalars are accepted."""
    if value is None or isinstance(value, bool):
        return value
    if type(value).__name__ in ("bool", "bool_"):  # of numpy
        return bool(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"the score is {number}, which is not a finite number")
    return number


def _loss_per_token(system: System, index: int) -> float:
    likelihood = system.truth_likelihoods[index]
    if not likelihood.tokens:
        raise ValueError("the answer has no tokens")
    if not math.isfinite(likelihood.nats):
        raise ValueError(f"the model gives the answer a likelihood of {likelihood.nats}")
    return likelihood.nats / likelihood.tokens


def _is_choice_right(score: Score, system: System, index: int, row: Row) -> bool:
    """Is the likeliest choice the true one? ``choice_norm`` divides by characters. The end-of-turn token counts too."""
    choices, answer = row_choices(row), judged_truth(row).text
    right = [number for number, choice in enumerate(choices) if texts.compose(choice.strip()) == answer.strip()]
    right = right or [number for number, choice in enumerate(choices) if normalised(choice, answer)]
    if len(right) != 1:
        raise ValueError(f"{len(right)} of the row's {len(choices)} choices are its answer")
    lengths = [max(1, len(choice)) if score.name == "choice_norm" else 1 for choice in choices]
    costs = [likelihood.nats / length for likelihood, length in zip(system.choice_likelihoods[index], lengths)]
    return costs.index(min(costs)) == right[0]


def row_choices(row: Row) -> list[str]:
    """The choices that a row offers: a list of texts, or lm-eval's ``{"text": [...]}``; empty if it offers none."""
    choices = (row.get("columns") or {}).get(CHOICES)
    choices = choices.get("text") if isinstance(choices, dict) else choices
    return [str(choice) for choice in choices] if isinstance(choices, list | tuple) else []


def count_changes(test_set: TestSet, systems: list[System]) -> dict[str, dict[str, int]]:
    """How many answers of each system, and how many truths, ``clean_answer`` changed, by kind of change."""
    answers = {system.name: system.answers for system in systems}
    answers["truth"] = [judged_truth(row) for row in test_set.tests]
    return {
        name: {kind: sum(kind in answer.changes for answer in of_system) for kind in CLEANINGS}
        for name, of_system in answers.items()
    }


def describe_metrics(scores: list[Score], records: list[AnsweredRow]) -> list[Metric]:
    """The metric of each score, for the results. The unit of a custom score follows from its values."""
    metrics = []
    for score in scores:
        metric = score.metric
        if score.unit == CUSTOM:
            metric["unit"] = unit_of(value for record in records for value in record["values"][score.name].values())
        metrics.append(metric)
    return metrics
