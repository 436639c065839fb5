"""The forest plot of a verdict card: every system with its interval, and what separates it from the judged one."""

import math

from etabli.core.contracts import ALL, Estimate, Results, Score
from etabli.evaluation import table
from etabli.evaluation.scores.score import MEAN, SHARE
from etabli.evaluation.verdict import CANNOT_TELL, format_interval, judge_interval


def draw_forest(results: Results) -> dict[str, object]:
    """Return title, the axis' two ends as texts, and a line for each system, the judged one first.

    It is drawn of the score that decides, over all rows. Places on the axis are percent of its width. Empty if there
    is no score.
    """
    if not results["scores"]:
        return {}
    score = _deciding_score(results)
    low, high = _axis(score)
    subject = results["subject"]
    systems = sorted(score["arms"], key=lambda name: name != subject)
    return {
        "title": f"{score['name']}, {score['slice']}, n = {score['n']}",
        "score": score["name"],
        "slice": score["slice"],
        "ends": [_format_end(end, score["unit"]) for end in (low, high)],
        "lines": [_line(score, name, low, high) for name in systems],
    }


def _deciding_score(results: Results) -> Score:
    """Return the first score over all rows, or over its first slice."""
    first = [score for score in results["scores"] if score["name"] == results["scores"][0]["name"]]
    return next((score for score in first if score["slice"] == ALL), first[0])


def _axis(score: Score) -> tuple[float, float]:
    """Return both ends of the axis: 0 and 1 for shares, else the farthest bounds."""
    if score["unit"] in (SHARE, MEAN):
        return 0.0, 1.0
    bounds = [number for estimate in score["arms"].values() for number in _finite(estimate)]
    low, high = min(bounds, default=0.0), max(bounds, default=1.0)
    return low, high if high > low else low + 1.0


def _finite(estimate: Estimate) -> list[float]:
    numbers = (estimate["low"], estimate["value"], estimate["high"])
    return [number for number in numbers if number is not None and math.isfinite(number)]


def _line(score: Score, name: str, low: float, high: float) -> dict[str, object]:
    numbers = [100 * (number - low) / (high - low) for number in _finite(score["arms"][name])]
    start, end = (min(numbers), max(numbers)) if numbers else (0.0, 0.0)
    gap = next((gap for gap in score["differences"] if gap["minus"] == name), None)
    outcome = judge_interval(gap, score["better"]) if gap else CANNOT_TELL
    return {
        "arm": name,
        "text": table.format_score(score, name),
        "left": start,
        "width": end - start,
        "dot": numbers[len(numbers) // 2] if numbers else 0.0,
        "gap": format_interval(gap, score["unit"]) if gap else "",
        "verdict": "" if outcome == CANNOT_TELL else outcome,
    }


def _format_end(number: float, unit: str) -> str:
    return f"{100 * number:.0f} %" if unit in (SHARE, MEAN) else f"{number:.3g}"
