"""A notebook with outputs as a page. Outputs are not trusted: HTML is sanitised, scripts are left out."""

import base64
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from etabli.core.pages import SafeHtml, figures, render, styles
from etabli.core.pages.sanitise import sanitise_html, split_styles

if TYPE_CHECKING:
    from nbformat import NotebookNode

PLOTLY = "application/vnd.plotly.v1+json"
PICTURES = ("image/png", "image/jpeg", "image/gif")
SVG = "image/svg+xml"
_NOT_IN_PAGES = {"install", "live"}  # tags of cells that install, or that try what only a live page can do
_NEXT_NOTEBOOK = re.compile(r"(\]\([\w/.-]+)\.ipynb\)")


_Part: TypeAlias = dict[str, Any]  # kind, and what the template shows of a cell or an output


def page(notebook: "NotebookNode", title: str) -> str:
    """Return the page with text, code and outputs in order, without the scripts of outputs.

    Args:
        title: of the page, if the notebook has no heading of the first level. Cells for a live page alone are left out.
    """
    cells = [_cell(cell) for cell in notebook.cells if not _NOT_IN_PAGES.intersection(cell.metadata.get("tags", []))]
    outputs = [output for cell in cells for output in cell["outputs"]]
    twins = sorted({output["twin"] for output in outputs if output.get("twin")})
    plots = any(output["kind"] == "figure" for output in outputs)
    return render(
        "notebook.html.j2",
        title=_heading(notebook) or title,
        cells=cells,
        styles=styles.widget_styles(*twins),
        scripts=figures.scripts() if plots else [],
        images=plots or any(output["kind"] == "image" for output in outputs),
    )


def _heading(notebook: "NotebookNode") -> str:
    """Return the first heading of the first level, without its sign; empty if there is none."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    match = re.search(r"^# +(.+?) *$", "\n".join(texts), re.MULTILINE)
    return match[1] if match else ""


def _cell(cell: "NotebookNode") -> _Part:
    if cell.cell_type == "code":
        outputs = [output for output in map(_output, cell.outputs) if output]
        return {
            "kind": "code",
            "html": _highlight_code(cell.source),
            "number": cell.execution_count,
            "outputs": outputs,
        }
    if cell.cell_type == "markdown":
        return {"kind": "text", "html": _markdown(cell.source), "outputs": []}
    return {"kind": "raw", "html": cell.source, "outputs": []}


def _highlight_code(source: str) -> SafeHtml:
    from nbconvert.filters import Highlight2HTML

    return sanitise_html(Highlight2HTML()(source))


def _markdown(source: str) -> SafeHtml:
    """Return Markdown as HTML. A link to another notebook leads to its page."""
    from nbconvert.filters import markdown2html

    return sanitise_html(markdown2html(_NEXT_NOTEBOOK.sub(r"\1.html)", source)))


def _colour_text(text: str) -> SafeHtml:
    from nbconvert.filters import ansi2html

    return sanitise_html(ansi2html(text))


def _output(output: "NotebookNode") -> _Part | None:
    if output.output_type == "stream":
        return {"kind": "stream", "name": output.name, "html": _colour_text(output.text)}
    if output.output_type == "error":
        return {"kind": "stream", "name": "stderr", "html": _colour_text("\n".join(output.traceback))}
    return _display(output.get("data", {}))


def _display(data: Mapping[str, Any]) -> _Part | None:
    """Return the richest form of an output that can be shown without running its code."""
    if PLOTLY in data:
        return {"kind": "figure", "figure": figures.to_drawable(data[PLOTLY])}
    if "text/html" in data:
        return _html(data["text/html"])
    if SVG in data:
        return _picture(SVG, base64.b64encode(data[SVG].encode()).decode())
    if picture := next((mime for mime in PICTURES if mime in data), None):
        return _picture(picture, data[picture])
    if "text/markdown" in data:
        return {"kind": "html", "html": _markdown(data["text/markdown"]), "twin": None}
    text = data.get("text/latex", data.get("text/plain"))
    return None if text is None else {"kind": "stream", "name": "result", "html": _colour_text(text)}


def _html(html: str) -> _Part:
    """Return the HTML of an output. Only our own widgets' style sheets are kept, in the page's head."""
    rest, sheets = split_styles(html)
    twin = next((styles.known_styles()[sheet] for sheet in sheets if sheet in styles.known_styles()), None)
    return {"kind": "html", "html": sanitise_html(rest), "twin": twin}


def _picture(mime: str, base64_data: str) -> _Part:
    return {"kind": "image", "source": f"data:{mime};base64,{''.join(base64_data.split())}"}
