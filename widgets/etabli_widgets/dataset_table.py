"""``DatasetTable``: any number of rows, their findings and neighbours; a key decides, and it is on the disk."""

from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, style
from etabli_widgets.markup import Markup, element, fragment, notes, table

FIRST = 60  # lines that are there before the page asks for any
PART = 100  # lines the page asks for at once
TWIN_ROWS = 25
HEADS = ("row", "status", "found", "question", "answer")


class DatasetTable(Widget):
    """Rows as lines; the chosen one with its turns, its reasons, its neighbour and what differs.

    ``source`` has ``select(...) -> int``, ``lines(start, stop)``, ``facets()``, ``detail(id)``, ``total``,
    ``decide(do, id, why, text)``, ``undo()``, ``statuses()``, ``refresh()``: ``etabli.curation.table.Table``. Only the
    lines in view go to the page. ``choose``, ``open_row``, ``decide``, ``undo`` and ``apply`` are the code paths of
    mouse and keys.
    """

    _esm = script("dataset_table", "difference")
    _css = style("dataset_table")
    _data = ("detail",)

    total = traitlets.Int(help="Rows there are").tag(sync=True)
    found = traitlets.Int(help="Rows shown").tag(sync=True)
    version = traitlets.Int(help="Changes whenever other rows are shown").tag(sync=True)
    asked = traitlets.Dict(help="search, finding, status, source, sort, descending").tag(sync=True)
    facets = traitlets.Dict(help="finding, status, source: {name: rows}").tag(sync=True)
    first = traitlets.List(help="The first lines").tag(sync=True)
    detail = traitlets.Dict(help="All about the row that is open").tag(sync=True)
    author = traitlets.Unicode(help="Who decides").tag(sync=True)
    decided = traitlets.Int(help="Decisions that this table has written to the disk").tag(sync=True)

    def __init__(self, source: Any, author: str = "", **traits: Any):
        self._source = source
        super().__init__(author=author, total=source.total, facets=source.facets(), **traits)
        self.choose()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The lines shown, all of them."""
        return self._source.lines(0, self.found)

    def choose(self, **asked: Any) -> int:
        """Narrow and sort: ``choose(finding="near", sort="likeness")``; nothing given shows all. Returns how many."""
        found = self._source.select(**asked)
        with self.hold_sync():
            self.asked, self.found, self.first = asked, found, self._source.lines(0, FIRST)
            self.version += 1
        return found

    def open_row(self, name: str) -> dict[str, Any]:
        """Show all about a row; returns it."""
        self.detail = self._source.detail(name)
        return self.detail

    def decide(self, do: str, name: str, why: str = "", text: str | None = None) -> dict[str, Any]:
        """Keep, fix or drop a row, or undo; it is on the disk when this returns. Returns the row's new line."""
        return self._written(self._source.decide(do, name, why, text))

    def undo(self) -> dict[str, Any] | None:
        """Take the newest decision back, whatever row it is about."""
        line = self._source.undo()
        return self._written(line, undone=True) if line else None

    def _written(self, line: dict[str, Any], undone: bool = False) -> dict[str, Any]:
        with self.hold_sync():
            self.decided += 1
            self.error = ""
            self.facets = {**self.facets, "status": self._source.statuses()}
            if self.detail.get("id") == line["id"]:
                self.detail = self._source.detail(line["id"])
        self.send({"type": "line", "line": line, "undone": undone})
        return line

    def apply(self) -> int:
        """Apply the filters again, now that something was decided; returns how many rows are shown."""
        found = self._source.refresh()
        with self.hold_sync():
            self.facets, self.found, self.first = self._source.facets(), found, self._source.lines(0, FIRST)
            self.version += 1
        return found

    @message(start=int)
    def on_lines(self, fields: dict[str, Any]) -> None:
        """The page has scrolled to lines it does not have."""
        start = max(0, fields["start"])
        lines = self._source.lines(start, start + PART)
        self.send({"type": "lines", "start": start, "version": self.version, "lines": lines})

    @message(**dict.fromkeys(("search", "finding", "status", "source", "sort"), str | None), descending=bool | None)
    def on_choose(self, fields: dict[str, Any]) -> None:
        """Another search, facet or order."""
        self.error = ""
        self.choose(**fields)

    @message(id=str)
    def on_open(self, fields: dict[str, Any]) -> None:
        """A row was chosen."""
        self.open_row(fields["id"])

    @message(do=str, id=str, why=str | None, text=str | None)
    def on_decide(self, fields: dict[str, Any]) -> None:
        """A key was pressed on a row."""
        try:
            self.decide(fields["do"], fields["id"], fields.get("why", ""), fields.get("text"))
        except Exception:
            self.send({"type": "refused", "id": fields["id"]})
            raise

    @message()
    def on_undo(self, fields: dict[str, Any]) -> None:
        """The newest decision is taken back."""
        if self.undo() is None:
            self.send({"type": "nothing"})

    @message()
    def on_apply(self, fields: dict[str, Any]) -> None:
        """The filters are applied again."""
        self.apply()

    def html(self) -> Markup:
        """Counts and the first lines as static HTML."""
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
