"""``DatasetTable``: the rows of a data set with their findings and similar rows; a key decides about a row."""

from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, style
from etabli_widgets.markup import Markup, element, fragment, notes, table

FIRST = 60  # lines that the page has from the beginning
PART = 100  # lines that the page requests at once
TWIN_ROWS = 25
HEADS = ("row", "status", "found", "question", "answer")


class DatasetTable(Widget):
    """Rows as lines; the open row with its turns, its reasons, the most similar row and the differences.

    ``source`` has ``select(...) -> int``, ``lines(start, stop)``, ``facets()``, ``detail(id)``, ``total``,
    ``decide(do, id, why, text)``, ``undo()``, ``statuses()``, ``refresh()``: ``etabli.curation.table.Table``. Only the
    lines in view are sent to the page. ``choose``, ``open_row``, ``decide``, ``undo`` and ``apply`` do what mouse and
    keys do.
    """

    _esm = script("dataset_table", "difference")
    _css = style("dataset_table")
    _data = ("detail",)

    total = traitlets.Int(help="Rows there are").tag(sync=True)
    found = traitlets.Int(help="Rows shown").tag(sync=True)
    version = traitlets.Int(help="Changes whenever other rows are shown").tag(sync=True)
    asked = traitlets.Dict(help="search, finding, status, source, sort, descending").tag(sync=True)
    facets = traitlets.Dict(help="finding, status, source: {name: rows}").tag(sync=True)
    first: "traitlets.List[Any]" = traitlets.List(help="The first lines").tag(sync=True)
    detail = traitlets.Dict(help="All about the row that is open").tag(sync=True)
    author = traitlets.Unicode(help="Who decides").tag(sync=True)
    decided = traitlets.Int(help="Decisions that this table has written to the disk").tag(sync=True)

    def __init__(self, source: Any, author: str = "", **traits: Any):
        self._source = source
        super().__init__(author=author, total=source.total, facets=source.facets(), **traits)
        self.choose()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Return all shown lines."""
        return list(self._source.lines(0, self.found))

    def choose(self, **query: Any) -> int:
        """Filter and sort, as in ``choose(finding="near", sort="likeness")``, and return the number of shown rows.

        Without arguments all rows are shown.
        """
        row_count = int(self._source.select(**query))
        with self.hold_sync():
            self.asked, self.found, self.first = query, row_count, self._source.lines(0, FIRST)
            self.version += 1
        return row_count

    def open_row(self, name: str) -> dict[str, Any]:
        """Open a row, and return everything about it."""
        self.detail = self._source.detail(name)
        return dict(self.detail)

    def decide(self, do: str, name: str, why: str = "", text: str | None = None) -> dict[str, Any]:
        """Keep, fix or drop a row, or undo, and return the row's new line. The decision is then on the disk."""
        return self._show_decision(self._source.decide(do, name, why, text))

    def undo(self) -> dict[str, Any] | None:
        """Take the newest decision back, and return its row's new line; None if there is no decision."""
        line = self._source.undo()
        return self._show_decision(line, undone=True) if line else None

    def _show_decision(self, line: dict[str, Any], undone: bool = False) -> dict[str, Any]:
        with self.hold_sync():
            self.decided += 1
            self.error = ""
            self.facets = {**self.facets, "status": self._source.statuses()}
            if self.detail.get("id") == line["id"]:
                self.detail = self._source.detail(line["id"])
        self.send({"type": "line", "line": line, "undone": undone})
        return line

    def apply(self) -> int:
        """Apply the filters again, with the new decisions, and return the number of shown rows."""
        row_count = int(self._source.refresh())
        with self.hold_sync():
            self.facets, self.found, self.first = self._source.facets(), row_count, self._source.lines(0, FIRST)
            self.version += 1
        return row_count

    @message(start=int)
    def on_lines(self, fields: dict[str, Any]) -> None:
        """Send the lines that the page has scrolled to."""
        start = max(0, fields["start"])
        lines = self._source.lines(start, start + PART)
        self.send({"type": "lines", "start": start, "version": self.version, "lines": lines})

    @message(**dict.fromkeys(("search", "finding", "status", "source", "sort"), str | None), descending=bool | None)
    def on_choose(self, fields: dict[str, Any]) -> None:
        """Handle another search, facet or order."""
        self.error = ""
        self.choose(**fields)

    @message(id=str)
    def on_open(self, fields: dict[str, Any]) -> None:
        """Handle the choice of a row."""
        self.open_row(fields["id"])

    @message(do=str, id=str, why=str | None, text=str | None)
    def on_decide(self, fields: dict[str, Any]) -> None:
        """Handle a key pressed on a row."""
        try:
            self.decide(fields["do"], fields["id"], fields.get("why", ""), fields.get("text"))
        except Exception:
            self.send({"type": "refused", "id": fields["id"]})
            raise

    @message()
    def on_undo(self, fields: dict[str, Any]) -> None:
        """Take the newest decision back."""
        if self.undo() is None:
            self.send({"type": "nothing"})

    @message()
    def on_apply(self, fields: dict[str, Any]) -> None:
        """Apply the filters again."""
        self.apply()

    def html(self) -> Markup:
        """Return the counts and the first lines as static HTML."""
        more = [f"The first {TWIN_ROWS} of {self.found} rows shown."] if self.found > TWIN_ROWS else []
        return fragment(
            element("p", f"{self.total} rows: {self._counts('status')}"),
            element("p", f"Found: {self._counts('finding') or 'nothing'}"),
            element("div", table(HEADS, map(_line, self._source.lines(0, TWIN_ROWS))), class_="etabli-scroll"),
            notes(more),
        )

    def _counts(self, facet: str) -> str:
        return " · ".join(f"{name} {count}" for name, count in self.facets.get(facet, {}).items())

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {count}" for name, count in self.facets.get("status", {}).items())
        return f"DatasetTable: {self.found} of {self.total} rows ({counts})"


def _line(line: dict[str, Any]) -> tuple[Any, ...]:
    return line["at"], line["status"], ", ".join(line["found"]), line["asked"], line["answer"]
