"""Scores, differences and the verdict from scored rows. No model is used: a saved log gives the same numbers."""

import math
from collections.abc import Sequence
from typing import TypeVar, cast

from etabli.core.contracts import ALL, UNSEEN, AnsweredRow, Difference, Estimate, Metric, Results, Score
from etabli.core.progress import show_progress
from etabli.evaluation import intervals
from etabli.evaluation.mcnemar import count_flips
from etabli.evaluation.scores.score import BOUNDED_UNITS, LOSS, MEAN, SHARE
from etabli.evaluation.verdict import judge_slices

DIGITS = 12  # further digits depend on the processor, not on the model

Value = TypeVar("Value")


@show_progress("computing intervals")
def summarise(results: Results) -> Results:
    """The results with ``scores``, ``verdict`` and each row's ``correct`` computed from rows, metrics and arms."""
    rows, metrics, subject = results["rows"], results["metrics"], results["subject"]
    parts = slice_names(rows)
    candidates = [
        _score_slice(metric, part, rows_in_slice(rows, part), results["arms"], subject)
        for metric in metrics
        for part in parts
    ]
    scores = _round([score for score in candidates if score is not None])
    verdict = _round(judge_slices(scores, metrics, subject, results["rivals"], parts))
    return {**results, "rows": _judge_rows(rows, metrics), "scores": scores, "verdict": verdict}


def _judge_rows(rows: list[AnsweredRow], metrics: list[Metric]) -> list[AnsweredRow]:
    """The rows with ``correct`` by the first score that says yes or no."""
    name = next((metric["name"] for metric in metrics if metric["unit"] == SHARE), "")
    records: list[AnsweredRow] = []
    for row in rows:
        values = row["values"].get(name, {})
        correct = {system: None if value is None else bool(value) for system, value in values.items()}
        records.append({**row, "correct": correct})
    return records


def slice_names(rows: Sequence[AnsweredRow]) -> list[str]:
    """The slices that have rows: the named ones, all rows unless one slice has them all, and the unseen rows."""
    names = sorted({name for row in rows for name in row["slices"]})
    whole = len(names) == 1 and all(names[0] in row["slices"] for row in rows)
    overlap_count = sum(row["overlap"] is not None for row in rows)
    return [*names, *([] if whole else [ALL]), *([UNSEEN] if 0 < overlap_count < len(rows) else [])]


def rows_in_slice(rows: Sequence[AnsweredRow], part: str) -> list[AnsweredRow]:
    """The rows of the slice ``part``."""
    if part == UNSEEN:
        return [row for row in rows if row["overlap"] is None]
    return [row for row in rows if part == ALL or part in row["slices"]]


def scored_rows(rows: Sequence[AnsweredRow], name: str, *systems: str) -> list[AnsweredRow]:
    """The rows for which all these systems have a value of the score ``name``."""
    return [row for row in rows if all(row["values"].get(name, {}).get(system) is not None for system in systems)]


def _score_slice(metric: Metric, part: str, rows: list[AnsweredRow], systems: list[str], subject: str) -> Score | None:
    """A score on one slice, with intervals and the subject's differences; None if no system has a value."""
    name = metric["name"]
    rows_by_system = {system: of_system for system in systems if (of_system := scored_rows(rows, name, system))}
    if not rows_by_system:
        return None
    any_scored = [row for row in rows if any(scored_rows([row], name, system) for system in rows_by_system)]
    errors = {system: sum(system in row["errors"].get(name, {}) for row in rows) for system in systems}
    other_systems = [system for system in rows_by_system if system != subject and subject in rows_by_system]
    differences = [paired_difference(metric, rows, subject, system) for system in other_systems]
    return {
        "name": name,
        "slice": part,
        "n": len(any_scored),
        "clusters": len({row["cluster"] for row in any_scored}),
        "unit": metric["unit"],
        "better": metric["better"],
        "errors": {system: count for system, count in errors.items() if count},
        "arms": {system: _estimate(metric, of_system, system) for system, of_system in rows_by_system.items()},
        "differences": [difference for difference in differences if difference is not None],
    }


def _values(name: str, rows: Sequence[AnsweredRow], system: str, missing: float = math.nan) -> list[float]:
    """A system's values of a score; ``missing`` where it has none."""
    values = [row["values"][name][system] for row in rows]
    return [missing if value is None else float(value) for value in values]


def _weights(metric: Metric, rows: Sequence[AnsweredRow]) -> list[float] | None:
    """Tokens of each row for a loss per token, None for other units."""
    return [row["weights"].get(metric["name"], 1.0) for row in rows] if metric["unit"] == LOSS else None


def _estimate(metric: Metric, rows: list[AnsweredRow], system: str) -> Estimate:
    values, clusters = _values(metric["name"], rows, system), [row["cluster"] for row in rows]
    if metric["unit"] == SHARE:
        return intervals.share_interval(values, clusters)
    return intervals.mean_interval(values, clusters, _weights(metric, rows), bounded=metric["unit"] == MEAN)


def paired_difference(metric: Metric, rows: list[AnsweredRow], subject: str, baseline: str) -> Difference | None:
    """Mean of ``subject`` minus mean of ``baseline`` over the rows that both have; None if there are none.

    ``worst`` holds the interval's bounds if every row that could not be scored is counted as wrong.
    """
    name, is_bounded = metric["name"], metric["unit"] in BOUNDED_UNITS
    common_rows = scored_rows(rows, name, subject, baseline)
    if not common_rows:
        return None
    values = {system: _values(name, common_rows, system) for system in (subject, baseline)}
    clusters = [row["cluster"] for row in common_rows]
    difference = intervals.paired_difference(
        subject, baseline, values, clusters, _weights(metric, common_rows), is_bounded
    )
    if metric["unit"] == SHARE:
        difference["flips"] = count_flips(values[subject], values[baseline], clusters)
    error_rows = [row for row in rows if {subject, baseline} & set(row["errors"].get(name, {}))]
    if error_rows:
        # Without bounds a missing value may be any number.
        bounds = (
            _bounds_with_errors(metric, [*common_rows, *error_rows], subject, baseline)
            if is_bounded
            else [-math.inf, math.inf]
        )
        difference["worst"] = bounds
    return difference


def _bounds_with_errors(metric: Metric, rows: list[AnsweredRow], subject: str, baseline: str) -> list[float]:
    """The bounds of the difference if rows that could not be scored were wrong."""
    wrong = 0.0 if metric["better"] == "higher" else 1.0
    values = {system: _values(metric["name"], rows, system, wrong) for system in (subject, baseline)}
    difference = intervals.paired_difference(subject, baseline, values, [row["cluster"] for row in rows])
    return [difference["low"], difference["high"]]


def _round(value: Value) -> Value:
    """The value with every float in it rounded to ``DIGITS`` significant digits."""
    copy: object = value
    if isinstance(value, float):
        copy = float(f"{value:.{DIGITS}g}")
    elif isinstance(value, dict):
        copy = {key: _round(item) for key, item in value.items()}
    elif isinstance(value, list):
        copy = [_round(item) for item in value]
    return cast("Value", copy)
