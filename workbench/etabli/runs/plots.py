"""One figure of many runs: any number that their events hold, over steps or another number."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core.errors import BadInput
from etabli.core.pages import figures
from etabli.runs import events
from etabli.runs.events import Event
from etabli.runs.run import Run

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def overlay(
    runs: Run | str | Path | Sequence[Run | str | Path], field: str = "loss", kind: str = "step", over: str = "step"
) -> "Figure":
    """Return curves of several runs in one plotly figure.

    Args:
        runs: runs or their folders, alive or not.
        field: the number to draw, by its name in the events: ``loss``, ``grad_norm``, ``tokens_per_s``,
            ``memory_bytes`` …; of an ``eval`` also ``by.en``, the loss of one slice.
        kind: of which events: ``step``, ``eval``, …
        over: the horizontal axis: ``step``, ``tokens``, ``lr`` (on a logarithmic scale) …, or ``minutes`` since the
            start.

    Raises:
        BadInput: no runs, or none of them has such a number; the message lists the numbers there are.
    """
    import plotly.graph_objects as go

    run_list = [Run.attach(run) for run in ([runs] if isinstance(runs, Run | str | Path) else runs)]
    unique = list({run.folder: run for run in run_list}.values())
    if not unique:
        raise BadInput("overlay needs at least one run.")
    figure = go.Figure()
    for run, name in zip(unique, _distinct_names(unique)):
        if points := _points(run, field, kind, over):
            x, y = zip(*points)
            figure.add_scatter(x=x, y=y, name=figures.text(name), meta=name, mode="lines+markers")
    if not figure.data:
        fields = _list_fields(unique, kind)
        raise BadInput(f"No {kind} event of these runs has both {field} and {over}; there are {fields}.")
    titles = {"xaxis_title": figures.text(over), "yaxis_title": figures.text(field)}
    figure.update_layout(**titles, showlegend=True, template="none", hovermode="x unified")
    figure.update_xaxes(type="log" if over == "lr" else None)
    figure.update_traces(marker_size=3)
    return figure


def _points(run: Run, field: str, kind: str, over: str) -> list[tuple[float, float]]:
    current = run.events()
    start = next((event["t"] for event in current if event["kind"] == "start"), 0)
    points = []
    for event in events.of_kind(current, kind):
        x, y = _number({**event, "minutes": (event["t"] - start) / 60}, over), _number(event, field)
        if x is not None and y is not None:
            points.append((x, y))
    return points


def _number(event: Event, path: str) -> float | None:
    """Return the number at a path such as ``by.en``; None if there is none."""
    value: object = event
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _list_fields(runs: list[Run], kind: str) -> str:
    newest = [events.last_of_kind(run.events(), kind) for run in runs]
    return ", ".join(sorted({name for event in newest for name in event if name != "kind"})) or "no such events"


def _distinct_names(runs: list[Run]) -> list[str]:
    """Return folder names, with their parents' if two are alike, or whole paths."""
    choices = [[run.name for run in runs], [f"{run.folder.parent.name}/{run.name}" for run in runs]]
    return next((names for names in choices if len(set(names)) == len(names)), [str(run.folder) for run in runs])
