"""The verdict card: what a person sees of an evaluation, as widget and as page. Its JSON is the results themselves."""

import math
from pathlib import Path
from typing import Any

from etabli.core import storage
from etabli.core.contracts import Answered, Difference, Results, Score
from etabli.core.pages import render, styles
from etabli.evaluation import rescore, table
from etabli.evaluation.aggregate import rows_in_slice
from etabli.evaluation.scores.score import MEAN, SHARE
from etabli.evaluation.verdict import BETTER, CANNOT_TELL, WORSE, format_interval, verdict_sentence
from etabli.runs.run import Run

LONGEST = 20_000  # characters of one prompt or output that a page shows
PAGE_ROWS = 500


def verdict(of: Results | Run | str | Path):
    """The verdict card as a widget, from results or from the ``results.json`` of a run. No model is loaded.

    Raises:
        BadInput: nothing was evaluated there.
    """
    from etabli_widgets import VerdictCard

    results = of if isinstance(of, dict) else rescore.read_results(of)
    return VerdictCard(view(results), lambda asked: pick_rows(results, **asked))


def write_page(results: Results, path: str | Path) -> None:
    """The verdict card as one HTML file that needs nothing from elsewhere; every row is in it, up to 500 a fold."""
    twin, css = verdict(results).html(PAGE_ROWS), styles.of_widgets("VerdictCard")
    storage.write_text(path, render("verdict.html.j2", subject=results["subject"], twin=twin, styles=css))


def view(results: Results) -> dict[str, Any]:
    """What the card shows: sentences, warnings, a table, bars, and how it was made."""
    return {
        "subject": results["subject"],
        "lines": [{"verdict": one["verdict"], "text": verdict_sentence(part, one)} for part, one in results["verdict"].items()],
        "warnings": results["warnings"],
        "heads": [*(about := _about(results)), *results["arms"]],
        "first": len(about),
        "scores": [_line(score, about, results["arms"]) for score in results["scores"]],
        "gaps": [_gap(score, gap, results) for score in results["scores"] for gap in score["differences"]],
        "facts": facts(results),
    }


def _about(results: Results) -> list[str]:
    """What is said of a score before its arms: clusters and errors only where there is something to say."""
    held = results["scores"]
    clustered = ["clusters"] * any(score["clusters"] != score["n"] for score in held)
    return ["score", "slice", "n", *clustered, *["errors"] * any(score["errors"] for score in held)]


def _line(score: Score, about: list[str], arms: list[str]) -> list[Any]:
    held = {**score, "score": score["name"], "errors": sum(score["errors"].values())}
    return [*(held[name] for name in about), *(table.format_score(score, arm) for arm in arms)]


def _gap(score: Score, gap: Difference, results: Results) -> dict[str, Any]:
    judged = results["verdict"].get(score["slice"], {})
    main = (judged.get("score"), judged.get("rival")) == (score["name"], gap["minus"])
    return {
        "score": score["name"], "slice": score["slice"], "n": gap["n"], "against": gap["minus"],
        "main": main,
        "text": format_interval(gap, score["unit"]), "flips": gap["flips"], "chance": _chance(gap),
        "verdict": judged["verdict"] if main else _colour(score, gap), **_bar(gap, _widest(score)),
    }  # fmt: skip


def _colour(score: Score, gap: Difference) -> str:
    low, high = (gap["low"], gap["high"]) if score["better"] == "higher" else (-gap["high"], -gap["low"])
    return BETTER if low > 0 else WORSE if high < 0 else CANNOT_TELL


def _chance(gap: Difference) -> str:
    held = gap["flips"]
    if not held:
        return ""
    said = f"p = {held['mcnemar']:.2g}"
    return said if held["by_cluster"] is None else f"{said}, by cluster {held['by_cluster']:.2g}"


def _widest(score: Score) -> float:
    """What reaches to the end of a bar: a hundred points, or the farthest bound of the score's intervals."""
    bounds = [abs(gap[key]) for gap in score["differences"] for key in ("low", "high") if math.isfinite(gap[key])]
    return 1.0 if score["unit"] in (SHARE, MEAN) else max([*bounds, 1e-9])


def _bar(gap: Difference, reach: float) -> dict[str, float]:
    """Where the interval lies on a bar whose middle is no difference, in percent of its width."""
    left, right, dot = (50 + 50 * max(-1.0, min(1.0, gap[key] / reach)) for key in ("low", "high", "value"))
    return {"zero": 50.0, "left": left, "width": max(0.0, right - left), "dot": dot}


def facts(results: Results) -> list[list[str]]:
    """Names and values of all that the numbers depend on."""
    held = {name: results[name] for name in ("model", "data_hash", "seed")} | results["made_with"]
    held |= {f"score {metric['name']}": metric["hash"] for metric in results["metrics"]}
    return [[name, text] for name, value in held.items() for name, text in _said(name, value)]


def _said(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in _said(f"{name} {key}", inner)]
    return [(name, str(value))]


def pick_rows(
    results: Results, score: str, slice: str, arm: str = "", against: str = "", which: str = ""
) -> list[dict[str, Any]]:
    """The rows behind a number, as a card shows them: those of a flip, or all, an arm's wrong ones first."""
    rows = [row for row in rows_in_slice(results["rows"], slice) if score in row["values"]]
    if which:
        rows = [row for row in rows if _flip(row["values"][score], results["subject"], against) == which]
    else:
        rows = sorted(rows, key=lambda row: _rank(row["values"][score].get(arm), results, score))
    return [_row(row, results["arms"], score) for row in rows]


def _flip(values: dict[str, Any], of: str, minus: str) -> str | None:
    if values.get(of) is None or values.get(minus) is None:
        return None
    return {(True, False): "fixed", (False, True): "broken", (True, True): "both", (False, False): "neither"}[
        bool(values[of]), bool(values[minus])
    ]


def _rank(value: float | None, results: Results, score: str) -> float:
    """Errors first, then the worst."""
    metric = next(metric for metric in results["metrics"] if metric["name"] == score)
    return -math.inf if value is None else float(value) * (1 if metric["better"] == "higher" else -1)


def _row(row: Answered, arms: list[str], score: str) -> dict[str, Any]:
    return {
        "prompt": row["prompt"][:LONGEST] or row["id"],
        "truth": row["truth"][:LONGEST],
        "answers": [_answer(row, arm, score) for arm in arms if arm in row["answers"]],
    }


def _answer(row: Answered, arm: str, score: str) -> dict[str, str]:
    value = row["values"][score].get(arm)
    raised = row["errors"].get(score, {}).get(arm)
    mark = {True: "✓", False: "✗", None: ""}[value if isinstance(value, bool) or value is None else None]
    mark = mark or raised or (f"{value:.3f}" if value is not None else "")
    return {
        "arm": arm, "mark": mark, "answer": row["answers"][arm][:LONGEST],
        "rendered": row["rendered"].get(arm, "")[:LONGEST], "raw": row["raw"].get(arm, "")[:LONGEST],
    }  # fmt: skip
