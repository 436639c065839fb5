"""The forest plot of a verdict card: every system, its interval, and the judged one's difference from it."""

import math

from etabli.core.contracts import ALL, Difference, Results, Score
from etabli.evaluation import table
from etabli.evaluation.aggregate import rows_in_slice
from etabli.evaluation.scores.score import BOUNDED_UNITS
from etabli.evaluation.verdict import format_interval, judge_interval, sign_of


def draw_forest(results: Results) -> dict[str, object]:
    """Return the title and a line for each system, the judged one first; empty if there is no score.

    It is drawn of the score that decides, over all rows. Of a line ``interval`` is where the system's own interval lies
    on the scale from ``from`` to ``to``, and ``gap`` is what ``describe_gap`` returns. The judged system has no
    ``gap``, a system without a scored row has neither.
    """
    if not results["scores"]:
        return {}
    score = _deciding_score(results)
    subject = results["subject"]
    systems = sorted(results["arms"], key=lambda name: name != subject)
    gaps = {gap["minus"]: describe_gap(score, gap, results) for gap in score["differences"]}
    scale = _score_scale(score)
    row_count = len(rows_in_slice(results["rows"], score["slice"]))
    return {
        "title": f"{score['name']}, {score['slice']}, n = {score['n']}",
        "score": score["name"],
        "slice": score["slice"],
        "from": table.format_number(scale[0], score["unit"]),
        "to": table.format_number(scale[1], score["unit"]),
        "lines": [
            {
                "arm": name,
                "text": _keep_together(table.format_score(score, name)),
                "note": "" if name in score["arms"] else f"0 of {row_count} scored",
                "interval": _place_interval(score, name, scale),
                "gap": gaps.get(name),
            }
            for name in systems
        ],
    }


def _score_scale(score: Score) -> tuple[float, float]:
    """Return the ends of the scale on which the systems' own intervals are drawn: all shares and means from 0 to 1."""
    if score["unit"] in BOUNDED_UNITS:
        return 0.0, 1.0
    values = [estimate[name] for estimate in score["arms"].values() for name in ("low", "value", "high")]
    finite = [value for value in values if value is not None and math.isfinite(value)] or [0.0]
    return min(finite), max(max(finite), min(finite) + 1e-9)


def _place_interval(score: Score, system: str, scale: tuple[float, float]) -> dict[str, float] | None:
    """Return where a system's own interval lies on the scale, in percent: left, width, dot; None if it has no score.

    A bound that is unknown lies at the end of the scale.
    """
    if system not in score["arms"]:
        return None
    estimate, (start, end) = score["arms"][system], scale

    def place(value: float | None, unknown: float) -> float:
        known = unknown if value is None or not math.isfinite(value) else value
        return max(0.0, min(100.0, 100 * (known - start) / (end - start)))

    left, right = place(estimate["low"], start), place(estimate["high"], end)
    return {"left": left, "width": right - left, "dot": place(estimate["value"], start)}


def _deciding_score(results: Results) -> Score:
    """Return the first score over all rows, or over its first slice."""
    first = [score for score in results["scores"] if score["name"] == results["scores"][0]["name"]]
    return next((score for score in first if score["slice"] == ALL), first[0])


def describe_gap(score: Score, gap: Difference, results: Results) -> dict[str, object]:
    """Return a difference for a page: its text, p-value, colour, and where its interval lies on a bar.

    ``left``, ``width`` and ``dot`` are percent of the bar's width. Its middle is zero; to the right the subject is
    better, also by a score of which less is better. All slices of a score have one scale.
    """
    slice_verdict = results["verdict"].get(score["slice"])
    decider = (slice_verdict["score"], slice_verdict["rival"]) if slice_verdict else None
    main = decider == (score["name"], gap["minus"])
    factor = 50 * sign_of(score["better"]) / _largest_bound(results, score["name"])
    places = [max(0.0, min(100.0, 50 + factor * gap[name])) for name in ("low", "high", "value")]
    return {
        "score": score["name"],
        "slice": score["slice"],
        "n": gap["n"],
        "against": gap["minus"],
        "main": main,
        "text": _keep_together(format_interval(gap, score["unit"])),
        "flips": gap["flips"],
        "chance": _format_p_values(gap),
        "verdict": slice_verdict["verdict"] if slice_verdict and main else judge_interval(gap, score["better"]),
        "left": min(places[:2]),
        "width": abs(places[0] - places[1]),
        "dot": places[2],
    }


def _keep_together(text: str) -> str:
    """Return a value with its interval, of which a narrow column breaks the line only before the bracket."""
    return text.replace(", ", ",\N{NO-BREAK SPACE}")


def _largest_bound(results: Results, name: str) -> float:
    """Return the farthest finite bound from zero of a score's differences, over all slices."""
    gaps = [gap for score in results["scores"] if score["name"] == name for gap in score["differences"]]
    bounds = [abs(bound) for gap in gaps for bound in (gap["low"], gap["high"], gap["value"])]
    return max([*filter(math.isfinite, bounds), 1e-9])


def _format_p_values(gap: Difference) -> str:
    flips = gap["flips"]
    if not flips:
        return ""
    text = f"p = {flips['mcnemar']:.2g}"
    return text if flips["by_cluster"] is None else f"{text}, by cluster {flips['by_cluster']:.2g}"
