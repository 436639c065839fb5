"""The report of a tour: one HTML page with the verdict, the loss, some answers, and where each number comes from."""

from etabli.app import notebooks
from etabli.core.contracts import AnsweredRow, Results
from etabli.core.pages import render, styles
from etabli.evaluation.card import verdict
from etabli.runs.run import Run

ROWS = 12
LONGEST = 90  # characters of an answer


def page(results: Results, run: Run, seconds: float) -> str:
    """Return the report as one HTML page that loads nothing from elsewhere. ``seconds``: how long the tour took."""
    from etabli_widgets import RunMonitor

    step = max(1, len(results["rows"]) // ROWS)
    return render(
        "report.html.j2",
        verdict=verdict(results),
        monitor=RunMonitor(events=run.events(), name=run.name),
        styles=styles.widget_styles("VerdictCard", "RunMonitor"),
        arms=results["arms"],
        rows=[_cells(row, results["arms"]) for row in results["rows"][::step][:ROWS]],
        model=results["model"],
        data_hash=str(results["data_hash"])[:12],
        seed=results["seed"],
        minutes=f"{seconds / 60:.1f}",
        notebooks=notebooks.TOUR,
    )


def _cells(row: AnsweredRow, systems: list[str]) -> list[str]:
    answers = [_mark(row["correct"].get(system)) + row["answers"][system][:LONGEST] for system in systems]
    return [row["prompt"], row["truth"], *answers]


def _mark(is_correct: bool | None) -> str:
    return "" if is_correct is None else "✓ " if is_correct else "✗ "
