"""One page a person can send on: the table, the verdict, the loss, and where each comes from."""

from etabli.app import notebooks
from etabli.core.contracts import AnsweredRow, Results
from etabli.core.pages import render, styles
from etabli.evaluation.card import verdict
from etabli.runs.run import Run

ROWS = 12
LONGEST = 90  # characters of an answer


def page(results: Results, run: Run, seconds: float) -> str:
    """The report as one HTML file that needs nothing from elsewhere."""
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


def _cells(row: AnsweredRow, arms: list[str]) -> list[str]:
    answers = [_mark(row["correct"].get(arm)) + row["answers"][arm][:LONGEST] for arm in arms]
    return [row["prompt"], row["truth"], *answers]


def _mark(right: bool | None) -> str:
    return {True: "✓ ", False: "✗ "}.get(right, "")
