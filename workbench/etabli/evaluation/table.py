"""The results as tables for a person to read."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from etabli.core.contracts import Difference, Estimate, Results, Score
from etabli.evaluation.scores.score import BOUNDED_UNITS
from etabli.evaluation.verdict import format_interval, verdict_sentence

if TYPE_CHECKING:
    import pandas as pd

EMPTY_CELL = "—"


def scores_frame(results: Results) -> "pd.DataFrame":
    """A pandas frame of text with one line a score and slice, and one column an arm."""
    return _build_frame(results, lambda score: {arm: format_score(score, arm) for arm in results["arms"]})


def differences_frame(results: Results) -> "pd.DataFrame":
    """A pandas frame of text with one line a score and slice: the subject minus each other arm."""

    def cells(score: Score) -> dict[str, str]:
        return {f"{gap['of']} − {gap['minus']}": _format_difference(gap, score) for gap in score["differences"]}

    return _build_frame(results, cells)


def _format_difference(difference: Difference, score: Score) -> str:
    return format_interval(difference, score["unit"]) + _own_count(difference["n"], score)


def _own_count(count: int, score: Score) -> str:
    """The number of rows, if it differs from the score's."""
    return f" (n = {count})" if count != score["n"] else ""


def flips_frame(results: Results) -> "pd.DataFrame":
    """A pandas frame with one line a score, slice and baseline: how many rows changed sides, and the p-values."""
    import pandas as pd

    lines = []
    for score in results["scores"]:
        for difference in score["differences"]:
            if flips := difference["flips"]:
                by_cluster = flips["by_cluster"]
                line: dict[str, object] = {
                    "score": score["name"],
                    "slice": score["slice"],
                    "n": difference["n"],
                    "against": difference["minus"],
                    "fixed": flips["fixed"],
                    "broken": flips["broken"],
                    "both": flips["both"],
                    "neither": flips["neither"],
                    "p (McNemar)": f"{flips['mcnemar']:.2g}",
                    "p (by cluster)": EMPTY_CELL if by_cluster is None else f"{by_cluster:.2g}",
                }
                lines.append(line)
    return pd.DataFrame(lines)


def _build_frame(results: Results, cells: Callable[[Score], Mapping[str, str]]) -> "pd.DataFrame":
    import pandas as pd

    with_errors = any(score["errors"] for score in results["scores"])
    lines = []
    for score in results["scores"]:
        line: dict[str, object] = {"score": score["name"], "slice": score["slice"], "n": score["n"]}
        line["clusters"] = score["clusters"]
        if with_errors:
            line["errors"] = sum(score["errors"].values())
        lines.append({**line, **cells(score)})
    return pd.DataFrame(lines).fillna(EMPTY_CELL)


def format_score(score: Score, arm: str) -> str:
    """An arm's estimate; with its own n where some of its rows could not be scored."""
    if arm not in score["arms"]:
        return EMPTY_CELL
    estimate = score["arms"][arm]
    return format_estimate(estimate, score["unit"]) + _own_count(estimate["n"], score)


def format_estimate(estimate: Estimate, unit: str) -> str:
    """80 % [71, 87], or 1.234 [1.201, 1.267]."""
    value, low, high = (format_number(estimate[name], unit) for name in ("value", "low", "high"))
    return f"{value}{' %' if unit in BOUNDED_UNITS else ''} [{low}, {high}]"


def format_number(number: float | None, unit: str) -> str:
    """80 for a share of 0.8, or 1.234; a number that is unknown is ?."""
    if number is None or not math.isfinite(number):
        return "?"
    return f"{number * 100:.0f}" if unit in BOUNDED_UNITS else f"{number:.3f}"


CHANGE_NAMES = {
    "unicode": "accents in two parts",
    "thought": "thoughts",
    "open_thought": "thoughts without an end",
    "fence": "code fences",
}


def cleaning_sentence(results: Results) -> str:
    """What was removed from answers before they were compared; an empty text if nothing was."""
    parts = []
    for name, counts in results.get("cleaned", {}).items():
        if changes := [f"{CHANGE_NAMES.get(kind, kind)} {count}" for kind, count in counts.items() if count]:
            parts.append(f"{name} ({', '.join(changes)})")
    rule = "Answers and truths were compared without thoughts and code fences around them, accents composed"
    return f"{rule}; this changed rows of {', '.join(parts)}." if parts else ""


def format_results(results: Results) -> str:
    """Warnings, verdict and tables as plain text."""
    subject = results["subject"]
    notes = [*results["warnings"], *filter(None, [cleaning_sentence(results)])]
    paragraphs = [f"Note: {note}" for note in notes]
    if not results["scores"]:
        return "\n\n".join([*paragraphs, "No score is left to be shown."])
    sentences = [verdict_sentence(part, verdict) for part, verdict in results["verdict"].items()]
    paragraphs.append("\n".join(sentences) or "No verdict: nobody to compare with.")
    paragraphs += ["Each system, with 95 % intervals", scores_frame(results).to_string(index=False)]
    if any(score["differences"] for score in results["scores"]):
        paragraphs.append(f"{subject} above (+) or below (−) each other system on the same rows, with 95 % intervals")
        paragraphs.append(differences_frame(results).to_string(index=False))
    flips = flips_frame(results)
    if len(flips):
        paragraphs.append(f"Rows that changed sides (fixed: {subject} right, the other wrong)")
        paragraphs.append(flips.to_string(index=False))
    return "\n\n".join(paragraphs)
