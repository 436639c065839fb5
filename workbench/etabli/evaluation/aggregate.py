"""From answered rows to scores, differences and the verdict: no model, the same numbers from the saved log."""

import math
from collections.abc import Sequence
from typing import Any

from etabli.core.contracts import ALL, UNSEEN, Answered, Difference, Estimate, Metric, Results, Score
from etabli.evaluation import intervals
from etabli.evaluation.mcnemar import count_flips
from etabli.evaluation.scores.score import LOSS, MEAN, SHARE
from etabli.evaluation.verdict import judge_slices

BOUNDED = (SHARE, MEAN)
DIGITS = 12  # what differs beyond them is the processor's, not the model's


def summarise(results: Results) -> Results:
    """The results with scores, verdict and who was right made anew from rows, metrics, arms and subject."""
    rows, arms, subject = results["rows"], results["arms"], results["subject"]
    scored = [
        _score(metric, part, rows_in_slice(rows, part), arms, subject) for metric in results["metrics"] for part in slice_names(rows)
    ]
    scores = _rounded([score for score in scored if score is not None])
    judged = _judged(rows, results["metrics"])
    found = judge_slices(scores, results["metrics"], subject, results["rivals"], slice_names(rows))
    return {**results, "rows": judged, "scores": scores, "verdict": _rounded(found)}


def _judged(rows: list[Answered], metrics: list[Metric]) -> list[Answered]:
    """Right or wrong by the first score that says yes or no."""
    first = next((metric["name"] for metric in metrics if metric["unit"] == SHARE), None)
    said = [row["values"].get(first, {}) for row in rows]
    return [
        {**row, "correct": {arm: None if value is None else bool(value) for arm, value in values.items()}}
        for row, values in zip(rows, said)
    ]


def slice_names(rows: Sequence[Answered]) -> list[str]:
    """Every slice that has rows; the whole, unless one slice is the whole; and what no training row is like."""
    found = sorted({name for row in rows for name in row["slices"]})
    whole = len(found) == 1 and all(found[0] in row["slices"] for row in rows)
    seen = sum(row["overlap"] is not None for row in rows)
    return [*found, *([] if whole else [ALL]), *([UNSEEN] if 0 < seen < len(rows) else [])]


def rows_in_slice(rows: Sequence[Answered], part: str) -> list[Answered]:
    """The rows of a slice."""
    if part == UNSEEN:
        return [row for row in rows if row["overlap"] is None]
    return [row for row in rows if part == ALL or part in row["slices"]]


def scored_rows(rows: Sequence[Answered], name: str, *arms: str) -> list[Answered]:
    """The rows for which all these arms have a score."""
    return [row for row in rows if all(row["values"].get(name, {}).get(arm) is not None for arm in arms)]


def _score(metric: Metric, part: str, rows: list[Answered], arms: list[str], subject: str) -> Score | None:
    name = metric["name"]
    have = [arm for arm in arms if scored_rows(rows, name, arm)]
    if not have:
        return None
    clusters = {row["cluster"] for row in rows if any(scored_rows([row], name, arm) for arm in have)}
    counted = [row for row in rows if any(scored_rows([row], name, arm) for arm in have)]
    return {
        "name": name,
        "slice": part,
        "n": len(counted),
        "clusters": len(clusters),
        "unit": metric["unit"],
        "better": metric["better"],
        "errors": {arm: failed for arm in arms if (failed := sum(arm in row["errors"].get(name, {}) for row in rows))},
        "arms": {arm: _estimate(metric, scored_rows(rows, name, arm), arm) for arm in have},
        "differences": [
            gap
            for arm in have
            if arm != subject and subject in have and (gap := difference(metric, rows, subject, arm)) is not None
        ],
    }


def _columns(metric: Metric, rows: list[Answered], *arms: str) -> tuple[dict[str, list[float]], list[str], Any]:
    """Values by arm, clusters, and weights where rows have them."""
    name = metric["name"]
    weights = [row["weights"].get(name, 1.0) for row in rows] if metric["unit"] == LOSS else None
    values = {arm: [float(row["values"][name][arm]) for row in rows] for arm in arms}
    return values, [row["cluster"] for row in rows], weights


def _estimate(metric: Metric, rows: list[Answered], arm: str) -> Estimate:
    values, clusters, weights = _columns(metric, rows, arm)
    if metric["unit"] == SHARE:
        return intervals.share_interval(values[arm], clusters)
    return intervals.mean_interval(values[arm], clusters, weights, bounded=metric["unit"] == MEAN)


def difference(metric: Metric, rows: list[Answered], of: str, minus: str) -> Difference | None:
    """Over the rows that both have; None if there are none. What an arm's errors would change is in ``worst``."""
    name, both = metric["name"], scored_rows(rows, metric["name"], of, minus)
    if not both:
        return None
    values, clusters, weights = _columns(metric, both, of, minus)
    gap = intervals.paired_difference(of, minus, values, clusters, weights, metric["unit"] in BOUNDED)
    if metric["unit"] == SHARE:
        gap["flips"] = count_flips(values[of], values[minus], clusters)
    failed = [row for row in rows if {of, minus} & set(row["errors"].get(name, {}))]
    if failed:  # of numbers without bounds anything may be missing
        bounded = metric["unit"] in BOUNDED
        gap["worst"] = _with_errors(metric, [*both, *failed], of, minus) if bounded else [-math.inf, math.inf]
    return gap


def _with_errors(metric: Metric, rows: list[Answered], of: str, minus: str) -> list[float]:
    """The difference's bounds if what could not be scored was wrong."""
    least = 0.0 if metric["better"] == "higher" else 1.0
    name = metric["name"]
    values = {
        arm: [least if (v := row["values"][name][arm]) is None else float(v) for row in rows] for arm in (of, minus)
    }
    gap = intervals.paired_difference(of, minus, values, [row["cluster"] for row in rows])
    return [gap["low"], gap["high"]]


def _rounded(held: Any) -> Any:
    if isinstance(held, float):
        return float(f"{held:.{DIGITS}g}")
    if isinstance(held, dict):
        return {key: _rounded(value) for key, value in held.items()}
    return [_rounded(value) for value in held] if isinstance(held, list) else held
