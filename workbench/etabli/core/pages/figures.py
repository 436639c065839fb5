"""Plotly figures in a page, as data that one script draws. The page's policy allows only this script."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etabli.core.pages import FOLDER, SafeHtml, render

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def scripts() -> list[SafeHtml]:
    """Return plotly's script, from the installed package, and the script that draws the figures of a page.

    Raises:
        ValueError: plotly's script can't stand in a page.
    """
    from plotly.offline import get_plotlyjs

    texts = [get_plotlyjs().replace("\r\n", "\n"), (FOLDER / "draw.js").read_text(encoding="utf-8")]
    if any("</script" in text or "<!--" in text for text in texts):
        raise ValueError("The script of this version of plotly would end too early in a page: install another one.")
    return [SafeHtml(text) for text in texts]


def page(figure: "Figure", title: str) -> str:
    """Return a page with one ``plotly.graph_objects.Figure``."""
    return render("figure.html.j2", title=title, figure=to_drawable(json.loads(figure.to_json())), scripts=scripts())


def to_drawable(figure: Mapping[str, Any]) -> dict[str, object]:
    """Return a figure's JSON without WebGL traces: they turn texts into scripts, which the page's policy forbids."""
    flat = {"scattergl": "scatter", "scatterpolargl": "scatterpolar"}
    traces = [{**trace, "type": flat.get(trace.get("type"), trace.get("type"))} for trace in figure.get("data", [])]
    return {"data": traces, "layout": figure.get("layout", {})}


def text(value: object) -> str:
    """Escape a text for a plotly figure, which understands some HTML in names, titles and tooltips."""
    return render("text.html.j2", text=value)
