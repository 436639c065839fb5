"""Better, worse, or cannot tell, and about how many more rows would tell."""

import math
from typing import Any

from etabli.contracts import Difference, Metric, Score
from etabli.evaluation.scores.score import LOSS, MEAN, SHARE

BETTER, WORSE, CANNOT_TELL = "better", "worse", "cannot tell"


def verdict(scores: list[Score], metrics: list[Metric], subject: str, rivals: list[str]) -> dict[str, Any]:
    """The subject against its best rival on each slice, by the first score.

    The best rival is the one with the best value on the same rows, which flatters it a little: so the verdict is on
    the careful side.

    Returns:
        For each slice: verdict, score, unit, subject, rival, difference, n, clusters, more_rows, worth.
    """
    first = metrics[0]["name"] if metrics else None
    return {
        score["slice"]: _one(score, subject, [arm for arm in rivals if arm in score["arms"]])
        for score in scores
        if score["name"] == first and any(arm in score["arms"] for arm in rivals)
    }


def _one(score: Score, subject: str, rivals: list[str]) -> dict[str, Any]:
    sign = 1 if score["better"] == "higher" else -1
    best = max(rivals, key=lambda arm: sign * score["arms"][arm]["value"])
    gap = next(difference for difference in score["differences"] if difference["minus"] == best)
    low, high = sorted((sign * gap["low"], sign * gap["high"]))
    said = BETTER if low > 0 else WORSE if high < 0 else CANNOT_TELL
    more = 0 if said != CANNOT_TELL else more_rows(gap["value"], (gap["high"] - gap["low"]) / 2, score["n"])
    return {
        "verdict": said, "score": score["name"], "unit": score["unit"], "subject": subject, "rival": best,
        "difference": gap, "n": score["n"], "clusters": score["clusters"], "more_rows": more,
        "worth": {BETTER: True, WORSE: False}.get(said),
    }  # fmt: skip


def more_rows(value: float, reach: float, n: int) -> int | None:
    """About how many more rows would clear zero at this difference; None where there is no difference to clear.

    An interval shrinks with the square root of n.
    """
    if abs(value) < 1e-9 or not math.isfinite(reach):
        return None
    return max(1, math.ceil(n * (reach / abs(value)) ** 2) - n)


def sentence(part: str, one: dict[str, Any]) -> str:
    """The verdict in words."""
    said = {CANNOT_TELL: "can't be told from"}.get(one["verdict"], f"is {one['verdict']} than")
    n = f"n = {one['n']}" + (f" in {one['clusters']} clusters" if one["clusters"] != one["n"] else "")
    tell = f"; about {one['more_rows']:,} more rows would tell" if one["more_rows"] else ""
    head = f"{part}: {one['subject']} {said} {one['rival']} by {one['score']}"
    return f"{head} ({change(one['difference'], one['unit'])}, {n}){tell}{_worth(one)}"


def _worth(one: dict[str, Any]) -> str:
    """What it means for the training: only a rival that needs none can say."""
    if one["rival"] not in ("base", "prompted", "lookup") or one["verdict"] == BETTER:
        return ""
    return ". Not worth its training" + ("" if one["verdict"] == WORSE else ", as far as these rows can tell")


def change(gap: Difference, unit: str) -> str:
    """A difference with its unit and interval: +52 points [+41, +63]."""
    value, bounds = interval(gap, unit).split(" ", 1)
    named = " points" if unit in (SHARE, MEAN) else " nats/token" if unit == LOSS else ""
    return f"{value}{named} {bounds}"


def interval(gap: Difference, unit: str) -> str:
    """A difference with its interval: +52 [+41, +63]."""
    times, form = (100, ".0f") if unit in (SHARE, MEAN) else (1, ".3f")
    value, low, high = (_signed(gap[key], times, form) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _signed(number: float | None, times: int, form: str) -> str:
    return "?" if number is None or not math.isfinite(number) else f"{number * times:+{form}}".replace("-", "−")
