"""From answered rows to scores, differences and the verdict: no model, the same numbers from the saved log."""

from collections.abc import Sequence

from etabli.contracts import ALL, UNSEEN, Answered, Metric, Results, Score
from etabli.evaluation import intervals
from etabli.evaluation.flips import flips
from etabli.evaluation.scores.score import LOSS, MEAN, SHARE
from etabli.evaluation.verdict import verdict

BOUNDED = (SHARE, MEAN)


def summarise(results: Results) -> Results:
    """The results with scores and verdict made anew from rows, metrics, arms and subject. The rest stays.

    A score that no row has is left out; ``warnings`` says so.
    """
    rows, arms, subject = results["rows"], results["arms"], results["subject"]
    scored = [
        score
        for metric in results["metrics"]
        for part in parts(rows)
        if (score := _score(metric, part, within(rows, part), arms, subject)) is not None
    ]
    return {**results, "scores": scored, "verdict": verdict(scored, results["metrics"], subject, results["rivals"])}


def parts(rows: Sequence[Answered]) -> list[str]:
    """Every slice that has rows, and the whole, unless one slice is the whole."""
    found = sorted({name for row in rows for name in row["slices"]} - {UNSEEN})
    whole = len(found) == 1 and all(found[0] in row["slices"] for row in rows)
    unseen = [UNSEEN] if any(UNSEEN in row["slices"] for row in rows) else []
    return [*found, *([] if whole else [ALL]), *unseen]


def within(rows: Sequence[Answered], part: str) -> list[Answered]:
    """The rows of a slice."""
    return [row for row in rows if part == ALL or part in row["slices"]]


def _score(metric: Metric, part: str, rows: list[Answered], arms: list[str], subject: str) -> Score | None:
    name = metric["name"]
    have = [arm for arm in arms if any(row["values"][name][arm] is not None for row in rows)]
    kept = [row for row in rows if have and all(row["values"][name][arm] is not None for arm in have)]
    if not kept or subject not in have:
        return None
    clusters = [row["cluster"] for row in kept]
    weights = [row["weights"].get(name, 1.0) for row in kept] if metric["unit"] == LOSS else None
    values = {arm: [float(row["values"][name][arm]) for row in kept] for arm in have}
    return {
        "name": name,
        "slice": part,
        "n": len(kept),
        "clusters": len(set(clusters)),
        "unit": metric["unit"],
        "better": metric["better"],
        "errors": len(rows) - len(kept),
        "arms": {arm: _estimate(metric, values[arm], clusters, weights) for arm in have},
        "differences": [_difference(metric, subject, arm, values, clusters, weights) for arm in have if arm != subject],
    }


def _estimate(metric: Metric, values: list[float], clusters: list[str], weights: list[float] | None):
    if metric["unit"] == SHARE:
        return intervals.share(values, clusters)
    found = intervals.mean(values, clusters, weights)
    if metric["unit"] == MEAN:
        found |= {"low": max(0.0, found["low"]), "high": min(1.0, found["high"])}
    return found


def _difference(metric: Metric, of: str, minus: str, values: dict, clusters: list[str], weights: list[float] | None):
    gap = intervals.difference(of, minus, values, clusters, weights, metric["unit"] in BOUNDED)
    if metric["unit"] == SHARE:
        gap["flips"] = flips(values[of], values[minus], clusters)
    return gap
