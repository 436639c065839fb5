"""The verdict card of an evaluation, as widget and as page. Its JSON is the results themselves."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core import storage
from etabli.core.contracts import ALL, AnsweredRow, Results, Score
from etabli.core.pages import render, styles
from etabli.evaluation import rescore, table
from etabli.evaluation.aggregate import rows_in_slice
from etabli.evaluation.forest import describe_gap, draw_forest
from etabli.evaluation.verdict import sign_of, verdict_sentence
from etabli.runs.run import Run

if TYPE_CHECKING:
    from etabli_widgets import VerdictCard

LONGEST = 20_000  # characters of one prompt or output that a page shows
PAGE_ROWS = 500


def verdict(source: Results | Run | str | Path) -> "VerdictCard":
    """The verdict card as a widget, from results or from the ``results.json`` of a run. No model is loaded.

    Raises:
        BadInput: nothing was evaluated there.
    """
    from etabli_widgets import VerdictCard

    results = source if isinstance(source, dict) else rescore.read_results(source)
    return VerdictCard(view(results), lambda query: pick_rows(results, **query))


def write_page(results: Results, path: str | Path) -> None:
    """Write the verdict card as one HTML file without references to other files, with up to 500 rows a fold."""
    card, css = verdict(results), styles.widget_styles("VerdictCard")
    twin = card.in_root(card.html(PAGE_ROWS))
    storage.write_text(path, render("verdict.html.j2", subject=results["subject"], twin=twin, styles=css))


def view(results: Results) -> dict[str, object]:
    """The card's content: sentences, warnings, a table, bars, and the settings behind the numbers."""
    heads, scores = _lead_columns(results), results["scores"]
    systems = sorted(results["arms"], key=lambda name: name != results["subject"])  # what is judged stands first
    return {
        "subject": results["subject"],
        "lines": [
            {"verdict": slice_verdict["verdict"], "text": verdict_sentence(part, slice_verdict)}
            for part, slice_verdict in sorted(results["verdict"].items(), key=lambda item: item[0] != ALL)
        ],  # that of all rows stands first
        "warnings": [*results["warnings"], *filter(None, [table.cleaning_sentence(results)])],
        "forest": draw_forest(results),
        "heads": [*heads, *systems],
        "first": len(heads),
        "scores": [_table_line(score, heads, systems) for score in scores],
        "gaps": [describe_gap(score, gap, results) for score in scores for gap in score["differences"]],
        "facts": facts(results),
    }


def _lead_columns(results: Results) -> list[str]:
    """The columns before the arms: clusters and errors only if some score has a value worth showing."""
    scores = results["scores"]
    columns = ["score", "slice", "n"]
    if any(score["clusters"] != score["n"] for score in scores):
        columns.append("clusters")
    return [*columns, "errors"] if any(score["errors"] for score in scores) else columns


def _table_line(score: Score, heads: list[str], arms: list[str]) -> list[object]:
    cells: dict[str, object] = {**score, "score": score["name"], "errors": sum(score["errors"].values())}
    return [*(cells[name] for name in heads), *(table.format_score(score, arm) for arm in arms)]


def facts(results: Results) -> list[list[str]]:
    """Names and values of everything that the numbers depend on."""
    values: dict[str, object] = {
        "model": results["model"],
        "data_hash": results["data_hash"],
        "seed": results["seed"],
        **results["made_with"],
        **{f"score {metric['name']}": metric["hash"] for metric in results["metrics"]},
    }
    return [[name, text] for key, value in values.items() for name, text in _flatten(key, value)]


def _flatten(name: str, value: object) -> list[tuple[str, str]]:
    """The leaves of nested mappings, each with its path of names."""
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in _flatten(f"{name} {key}", item)]
    return [(name, str(value))]


def pick_rows(
    results: Results, score: str, slice: str, arm: str = "", against: str = "", which: str = ""
) -> list[dict[str, object]]:
    """The rows behind a number, as a card shows them.

    Args:
        which: ``fixed``, ``broken``, ``both`` or ``neither``: only rows with that change between the subject and
            ``against``. Without it all rows are returned: errors of ``arm`` first, then its worst rows.
    """
    rows = [row for row in rows_in_slice(results["rows"], slice) if score in row["values"]]
    if which:
        rows = [row for row in rows if _flip_kind(row["values"][score], results["subject"], against) == which]
    else:
        sign = next(sign_of(metric["better"]) for metric in results["metrics"] if metric["name"] == score)

        def rank(row: AnsweredRow) -> float:
            value = row["values"][score].get(arm)
            return -math.inf if value is None else float(value) * sign

        rows = sorted(rows, key=rank)
    return [
        {
            "prompt": row["prompt"][:LONGEST] or row["id"],
            "truth": row["truth"][:LONGEST],
            "answers": [_describe_answer(row, name, score) for name in results["arms"] if name in row["answers"]],
        }
        for row in rows
    ]


def _flip_kind(values: Mapping[str, float | None], subject: str, baseline: str) -> str | None:
    """``fixed``, ``broken``, ``both`` or ``neither``; None if one of the two has no value."""
    if values.get(subject) is None or values.get(baseline) is None:
        return None
    if values[subject]:
        return "both" if values[baseline] else "fixed"
    return "broken" if values[baseline] else "neither"


def _format_value(value: bool | float | None) -> str:
    if value is None or isinstance(value, bool):
        return {True: "✓", False: "✗", None: ""}[value]
    return f"{value:.3f}"


def _describe_answer(row: AnsweredRow, arm: str, score: str) -> dict[str, object]:
    error = row["errors"].get(score, {}).get(arm)
    return {
        "arm": arm,
        "mark": error or _format_value(row["values"][score].get(arm)),
        "answer": row["answers"][arm][:LONGEST],
        "rendered": row["rendered"].get(arm, "")[:LONGEST],
        "raw": row["raw"].get(arm, "")[:LONGEST],
        **({"cut": True} if arm in row.get("cut", []) else {}),
    }
