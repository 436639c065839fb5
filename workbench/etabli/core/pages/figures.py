"""Plotly figures in a page: data that one script draws. The page's policy names that script, and no other can run."""

import json
from typing import Any

from etabli.core.pages import FOLDER, SafeHtml, render


def scripts() -> list[SafeHtml]:
    """Plotly itself, out of the installed package, and what draws the figures that lie in a page.

    Raises:
        ValueError: plotly's script can't lie in a page.
    """
    from plotly.offline import get_plotlyjs

    texts = [get_plotlyjs().replace("\r\n", "\n"), (FOLDER / "draw.js").read_text(encoding="utf-8")]
    if any("</script" in text or "<!--" in text for text in texts):
        raise ValueError("The script of this version of plotly would end too early in a page: install another one.")
    return [SafeHtml(text) for text in texts]


def page(figure: Any, title: str) -> str:
    """One ``plotly.graph_objects.Figure`` as a page."""
    return render("figure.html.j2", title=title, figure=to_drawable(json.loads(figure.to_json())), scripts=scripts())


def to_drawable(figure: dict[str, Any]) -> dict[str, Any]:
    """A figure as JSON that can be drawn in a page which may not make scripts of texts: WebGL's traces would."""
    flat = {"scattergl": "scatter", "scatterpolargl": "scatterpolar"}
    traces = [{**trace, "type": flat.get(trace.get("type"), trace.get("type"))} for trace in figure.get("data", [])]
    return {"data": traces, "layout": figure.get("layout", {})}


def text(value: Any) -> str:
    """A text for a plotly figure, which reads a little HTML in its names, titles and tooltips."""
    return render("text.html.j2", text=value)
