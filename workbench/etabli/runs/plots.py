"""One picture of many runs: any number that their events hold, over steps or whatever else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etabli.core.errors import BadInput
from etabli.core.pages import figures
from etabli.runs import events
from etabli.runs.run import Run


def overlay(runs: Sequence[Run | str | Path], field: str = "loss", kind: str = "step", over: str = "step"):
    """Curves of several runs in one plotly figure.

    Args:
        runs: runs or their folders, alive or not.
        field: what is drawn, as the events have it: ``loss``, ``grad_norm``, ``tokens_per_s``, ``memory_bytes`` …; of
            an ``eval`` also ``by.en``, the loss of one slice.
        kind: of which events: ``step``, ``eval``, …
        over: the other axis: ``step``, ``tokens``, ``lr`` (on a logarithmic scale) …, or ``minutes`` since the start.

    Returns:
        A ``plotly.graph_objects.Figure``.

    Raises:
        BadInput: no runs, or none of them has such a number; the message says which there are.
    """
    import plotly.graph_objects as go

    given = [Run.attach(run) for run in ([runs] if isinstance(runs, Run | str | Path) else runs)]
    found = list({run.folder: run for run in given}.values())  # a run that is named twice is one
    if not found:
        raise BadInput("overlay needs at least one run.")
    figure = go.Figure()
    for run, name in zip(found, _names(found)):
        if points := _points(run, field, kind, over):
            x, y = zip(*points)
            figure.add_scatter(x=x, y=y, name=figures.text(name), meta=name, mode="lines+markers")
    if not figure.data:
        raise BadInput(f"No {kind} event of these runs has both {field} and {over}; there are {_known(found, kind)}.")
    titles = {"xaxis_title": figures.text(over), "yaxis_title": figures.text(field)}
    figure.update_layout(**titles, showlegend=True, template="none", hovermode="x unified")
    figure.update_xaxes(type="log" if over == "lr" else None)
    figure.update_traces(marker_size=3)
    return figure


def _points(run: Run, field: str, kind: str, over: str) -> list[tuple[float, float]]:
    seen = run.events()
    start = next((event["t"] for event in seen if event["kind"] == "start"), 0)
    pairs = [(_value({**event, "minutes": (event["t"] - start) / 60}, over), _value(event, field)) for event in seen
             if event["kind"] == kind]  # fmt: skip
    return [(x, y) for x, y in pairs if _is_number(x) and _is_number(y)]


def _value(event: dict[str, Any], path: str) -> Any:
    for name in path.split("."):
        event = event.get(name) if isinstance(event, dict) else None
    return event


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _known(runs: list[Run], kind: str) -> str:
    latest = [events.last(run.events(), kind) for run in runs]
    return ", ".join(sorted({name for event in latest for name in event if name != "kind"})) or "no such events"


def _names(runs: list[Run]) -> list[str]:
    """Folder names, with their parents' where two are alike, or their whole paths."""
    ways = [[run.name for run in runs], [f"{run.folder.parent.name}/{run.name}" for run in runs]]
    return next((names for names in ways if len(set(names)) == len(names)), [str(run.folder) for run in runs])
