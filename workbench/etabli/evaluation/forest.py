"""The forest plot of a verdict card: every system with its score, and the judged one's difference from it."""

import math

from etabli.core.contracts import ALL, Difference, Results, Score
from etabli.evaluation import table
from etabli.evaluation.verdict import format_interval, judge_interval, sign_of


def draw_forest(results: Results) -> dict[str, object]:
    """Return the title and a line for each system, the judged one first; empty if there is no score.

    It is drawn of the score that decides, over all rows. ``gap`` of a line is what ``describe_gap`` returns; the judged
    system has none.
    """
    if not results["scores"]:
        return {}
    score = _deciding_score(results)
    subject = results["subject"]
    systems = sorted(score["arms"], key=lambda name: name != subject)
    gaps = {gap["minus"]: describe_gap(score, gap, results) for gap in score["differences"]}
    return {
        "title": f"{score['name']}, {score['slice']}, n = {score['n']}",
        "score": score["name"],
        "slice": score["slice"],
        "lines": [
            {"arm": name, "text": _keep_together(table.format_score(score, name)), "gap": gaps.get(name)}
            for name in systems
        ],
    }


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
