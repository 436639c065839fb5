"""The results as tables a person reads."""

import math

from etabli.core.contracts import Difference, Estimate, Results, Score
from etabli.evaluation.scores.score import MEAN, SHARE
from etabli.evaluation.verdict import format_interval, verdict_sentence

NONE = "—"


def scores_frame(results: Results):
    """One line a score and slice, one column an arm, as a pandas frame of text."""
    return _frame(results, lambda score: {arm: format_score(score, arm) for arm in results["arms"]})


def differences_frame(results: Results):
    """One line a score and slice: the subject minus each other arm, as a pandas frame of text."""
    return _frame(
        results, lambda score: {f"{gap['of']} − {gap['minus']}": _gap(gap, score) for gap in score["differences"]}
    )


def _gap(gap: Difference, score: Score) -> str:
    return format_interval(gap, score["unit"]) + (f" (n = {gap['n']})" if gap["n"] != score["n"] else "")


def flips_frame(results: Results):
    """One line a score, slice and rival: which rows changed sides, as a pandas frame."""
    import pandas as pd

    lines = [
        {"score": score["name"], "slice": score["slice"], "n": gap["n"], "against": gap["minus"]} | _flip(gap)
        for score in results["scores"]
        for gap in score["differences"]
        if gap["flips"]
    ]
    return pd.DataFrame(lines)


def _flip(gap: Difference) -> dict:
    held = dict(gap["flips"])
    by_cluster = held["by_cluster"]
    p = {"p (McNemar)": f"{held['mcnemar']:.2g}", "p (by cluster)": NONE if by_cluster is None else f"{by_cluster:.2g}"}
    return {name: held[name] for name in ("fixed", "broken", "both", "neither")} | p


def _frame(results: Results, cells):
    import pandas as pd

    lines = []
    for score in results["scores"]:
        about = {"score": score["name"], "slice": score["slice"], "n": score["n"], "clusters": score["clusters"]}
        errors = {"errors": sum(score["errors"].values())} if any(one["errors"] for one in results["scores"]) else {}
        lines.append(about | errors | cells(score))
    return pd.DataFrame(lines).fillna(NONE)


def format_score(score: Score, arm: str) -> str:
    """An arm's score; with its own n where some of its rows could not be scored."""
    if arm not in score["arms"]:
        return NONE
    held = score["arms"][arm]
    return format_estimate(held, score["unit"]) + (f" (n = {held['n']})" if held["n"] != score["n"] else "")


def format_estimate(held: Estimate, unit: str) -> str:
    """80 % [71, 87], or 1.234 [1.201, 1.267]."""
    times, form, sign = (100, ".0f", " %") if unit in (SHARE, MEAN) else (1, ".3f", "")
    value, low, high = (_number(held[key], times, form) for key in ("value", "low", "high"))
    return f"{value}{sign} [{low}, {high}]"


def _number(number: float | None, times: int, form: str) -> str:
    return "?" if number is None or not math.isfinite(number) else f"{number * times:{form}}"


def format_results(results: Results) -> str:
    """Warnings, verdict and tables as plain text."""
    subject, said = results["subject"], [f"Note: {said}" for said in results["warnings"]]
    if not results["scores"]:
        return "\n\n".join([*said, "No score is left to be shown."])
    said += ["\n".join(verdict_sentence(part, one) for part, one in results["verdict"].items())]
    said += ["" if results["verdict"] else "No verdict: nobody to compare with."]
    said += ["Each arm, with 95 % intervals", _plain(scores_frame(results))]
    if any(score["differences"] for score in results["scores"]):
        said += [f"{subject} minus each other on the same rows, with 95 % intervals", _plain(differences_frame(results))]
    if len(changed := flips_frame(results)):
        said += [f"Rows that changed sides (fixed: {subject} right, the other wrong)", _plain(changed)]
    return "\n\n".join(filter(None, said))


def _plain(table) -> str:
    return table.to_string(index=False)
