"""``DatasetTable``: the rows of a data set with their findings and similar rows; a key decides about rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, style
from etabli_widgets.markup import Markup, element, fragment, notes, quantity, table

FIRST = 60  # lines that the page has from the beginning
PART = 100  # lines that the page requests at once
TWIN_ROWS = 25
PARTS = (  # of the script
    *("difference", "chart", "row_marks", "column_heads", "source_filter", "table_filters"),
    *("row_list", "row_detail", "row_map"),
)
HEADS = ("row", "status", "finding", "question", "answer")
LEFT_OUT = ("rejected", "dropped")  # statuses of rows that are not trained
QUERY = dict.fromkeys(("search", "finding", "status", "source", "sort"), str | None)


class DatasetTable(Widget):
    """Rows as lines; the open row with its turns, its reasons, the most similar row and the differences; a map of all.

    ``source`` has ``select(...) -> int``, ``lines(start, stop)``, ``facets()``, ``histograms()``, ``detail(id)``,
    ``total``, ``source_count``, ``decide(do, id, why, text)``, ``undo_batch()``, ``statuses()``, ``refresh()``,
    ``changed_count``, ``mark(...) -> int``, ``count_marked()``, ``marks`` (``packed()``), ``decide_marked(do, why)``,
    ``place_of(row)``, ``shown_flags(rows)``: ``etabli.curation.table.Table``. ``place_rows(colour)`` returns the map:
    ``etabli.curation.map.RowMap``. Only the lines in view are sent to the page. ``choose``, ``open_row``, ``mark``,
    ``decide``, ``decide_marked``, ``undo``, ``show_map`` and ``apply`` do what mouse and keys do.
    """

    _esm = script("dataset_table", *PARTS)
    _css = style("dataset_table", "row_map")
    _data = ("detail",)

    total = traitlets.Int(help="Rows there are").tag(sync=True)
    found = traitlets.Int(help="Rows shown").tag(sync=True)
    version = traitlets.Int(help="Changes whenever other rows are shown").tag(sync=True)
    asked = traitlets.Dict(help="search, finding, status, source, sort, descending, selected").tag(sync=True)
    facets = traitlets.Dict(help="finding, status, source: {name: rows}").tag(sync=True)
    source_count = traitlets.Int(help="Different sources there are; facets may have fewer").tag(sync=True)
    histograms = traitlets.Dict(help="Of each column: counts of all rows, and of the rows shown").tag(sync=True)
    first: "traitlets.List[Any]" = traitlets.List(help="The first lines").tag(sync=True)
    detail = traitlets.Dict(help="All about the row that is open").tag(sync=True)
    author = traitlets.Unicode(help="Who decides").tag(sync=True)
    decided = traitlets.Int(help="Decisions that this table has written to the disk").tag(sync=True)
    marks = traitlets.Dict(
        help="The selected rows: bits (base64), count, how many of them are shown; number of the page's message"
    ).tag(sync=True)
    widths = traitlets.Dict(help="Of columns that somebody has resized, in pixels").tag(sync=True)
    map = traitlets.Dict(help="Rows as points: rows, x, y, labels, names, colours, title, colour").tag(sync=True)
    map_shown = traitlets.Unicode(help="Which points' rows are shown: bits (base64)").tag(sync=True)

    def __init__(
        self,
        source: Any,
        author: str = "",
        place_rows: Callable[[str], Mapping[str, Any]] | None = None,
        **traits: Any,
    ):
        self._source, self._place_rows = source, place_rows
        counts = {"total": source.total, "source_count": source.source_count, "facets": source.facets()}
        super().__init__(author=author, **counts, **traits)
        self.marks = {"number": 0}
        self.choose()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Return all shown lines."""
        return list(self._source.lines(0, self.found))

    def choose(self, **query: Any) -> int:
        """Filter and sort, as in ``choose(finding="near", sort="likeness")``, and return the number of shown rows.

        Without arguments all rows are shown; ``selected=True`` shows only those that are selected.
        """
        row_count = int(self._source.select(**query))
        with self.hold_sync():
            self.asked = query
            self._show_rows(row_count)
        return row_count

    def _show_rows(self, row_count: int) -> None:
        self.found, self.first, self.histograms = row_count, self._source.lines(0, FIRST), self._source.histograms()
        if not row_count:
            self.detail = {}
        self.map_shown = self._source.shown_flags(self.map["rows"]) if self.map else ""
        self._show_marks(self.marks["number"])
        self.version += 1

    def open_row(self, name: str) -> dict[str, Any]:
        """Open a row, choose it in the list if it is shown there, and return everything about it."""
        detail = self._source.detail(name)
        self.detail = {**detail, "place": self._source.place_of(name)}
        return dict(detail)

    def mark(self, do: str, start: int = 0, stop: int = 0, rows: Sequence[int] = ()) -> int:
        """Select rows together, by their places in the list or their numbers; returns how many are selected.

        Args:
            do: ``replace`` selects only these rows, ``add`` these too, ``remove`` no longer these.
            start, stop: places among the shown rows, as of a slice; rows: numbers of rows of the data.
        """
        self._source.mark(do, start, stop, rows)
        self._show_marks(self.marks["number"])
        return int(self.marks["count"])

    def _show_marks(self, number: int) -> None:
        marks, shown = self._source.marks, self._source.count_marked()
        self.marks = {"bits": marks.packed(), "count": len(marks), "shown": shown, "number": number}

    def show_map(self, colour: str = "finding") -> dict[str, Any]:
        """Show the rows as points, and return the map; the rows that are selected in it are selected in the list.

        Args:
            colour: what the colours mean: ``finding``, ``status``, ``source``, ``cluster`` or a column of the data.
        """
        if self._place_rows is None:
            raise ValueError("This table was made without a map: etabli.curate(...).table() has one.")
        row_map = dict(self._place_rows(colour))
        with self.hold_sync():
            self.map, self.map_shown = row_map, self._source.shown_flags(row_map["rows"])
        return row_map

    def decide(self, do: str, name: str, why: str = "", text: str | None = None) -> dict[str, Any]:
        """Keep, fix or drop a row, or undo, and return the row's new line. The decision is then on the disk."""
        line: dict[str, Any] = self._source.decide(do, name, why, text)
        self._show_decisions(1)
        self.send({"type": "line", "line": line})
        return line

    def decide_marked(self, do: str, why: str = "") -> int:
        """Keep or drop all selected rows and select none; returns how many there were. ``undo`` takes all back."""
        row_count = int(self._source.decide_marked(do, why))
        self._show_decisions(row_count)
        self._show_marks(self.marks["number"])
        self.send({"type": "changed", "text": f"{quantity(row_count, 'row')}: {do}. U takes it back."})
        return row_count

    def undo(self) -> list[str]:
        """Take the newest decision back, with those that were made together with it; returns the ids of the rows."""
        row_ids: list[str] = self._source.undo_batch()
        if row_ids:
            self._show_decisions(len(row_ids))
            place = self._source.place_of(row_ids[0])
            text = f"{len(row_ids):,} rows are as they were." if len(row_ids) > 1 else ""
            self.send({"type": "changed", "text": text, "place": place})
        return row_ids

    def _show_decisions(self, count: int) -> None:
        with self.hold_sync():
            self.decided += count
            self.error = ""
            self.facets = {**self.facets, "status": self._source.statuses()}
            self.histograms = self._source.histograms()
            if self.detail.get("id"):
                self.detail = self._source.detail(self.detail["id"])

    def apply(self) -> int:
        """Apply the filters again, with the new decisions, and return the number of shown rows."""
        row_count = int(self._source.refresh())
        with self.hold_sync():
            self.facets = self._source.facets()
            self._show_rows(row_count)
        if self.map:
            self.show_map(self.map["colour"])
        return row_count

    @message(start=int)
    def on_lines(self, fields: dict[str, Any]) -> None:
        """Send the lines that the page has scrolled to."""
        start = max(0, fields["start"])
        lines = self._source.lines(start, start + PART)
        self.send({"type": "lines", "start": start, "version": self.version, "lines": lines})

    @message(**QUERY, descending=bool | None, selected=bool | None)
    def on_choose(self, fields: dict[str, Any]) -> None:
        """Handle another search, facet or order."""
        self.error = ""
        self.choose(**fields)

    @message(id=str)
    def on_open(self, fields: dict[str, Any]) -> None:
        """Handle the choice of a row in the list; a row that meanwhile is not shown any more is not opened."""
        if self._source.place_of(fields["id"]) is not None:
            self.detail = self._source.detail(fields["id"])

    @message(row=int)
    def on_point(self, fields: dict[str, Any]) -> None:
        """Handle a click on a point of the map."""
        place = self._source.place_of(fields["row"])
        self.send({"type": "place", "place": place, "row": fields["row"]})

    @message(do=str, start=int | None, stop=int | None, rows=list | None, number=int)
    def on_mark(self, fields: dict[str, Any]) -> None:
        """Handle rows that are selected together, in the list or in the map."""
        number = fields.pop("number")
        rows = fields.get("rows", [])
        if not all(type(row) is int for row in rows):
            raise ValueError("rows has to be a list of row numbers.")
        self._source.mark(fields["do"], fields.get("start", 0), fields.get("stop", 0), rows)
        self._show_marks(number)
        if self.asked.get("selected") and fields["do"] == "replace":  # the map was drawn on: show what is selected now
            self.choose(**self.asked)

    @message(colour=str)
    def on_map(self, fields: dict[str, Any]) -> None:
        """Handle the button of the map, and the choice of its colours."""
        self.show_map(fields["colour"])

    @message(do=str, id=str, why=str | None, text=str | None)
    def on_decide(self, fields: dict[str, Any]) -> None:
        """Handle a key pressed on a row."""
        try:
            self.decide(fields["do"], fields["id"], fields.get("why", ""), fields.get("text"))
        except Exception:
            self.send({"type": "refused", "id": fields["id"]})
            raise

    @message(do=str, why=str | None)
    def on_decide_marked(self, fields: dict[str, Any]) -> None:
        """Handle a key pressed while several rows are selected."""
        try:
            self.decide_marked(fields["do"], fields.get("why", ""))
        except Exception:
            self.send({"type": "refused"})
            raise

    @message()
    def on_undo(self, fields: dict[str, Any]) -> None:
        """Take the newest decision back."""
        if not self.undo():
            self.send({"type": "nothing"})

    @message()
    def on_apply(self, fields: dict[str, Any]) -> None:
        """Apply the filters again, and say what has changed."""
        try:
            self.apply()
        except Exception:
            self.send({"type": "refused"})
            raise
        self.error = ""
        self.send({"type": "changed", "text": self._describe_filtering()})

    def _describe_filtering(self) -> str:
        statuses, changed = self._source.statuses(), self._source.changed_count
        left_out = sum(statuses.get(name, 0) for name in LEFT_OUT)
        change = f"the status of {quantity(changed, 'row')} has changed" if changed else "no row's status has changed"
        verb = "is" if left_out == 1 else "are"
        return f"Filters applied: {left_out:,} of {quantity(self.total, 'row')} {verb} rejected or dropped; {change}."

    def html(self) -> Markup:
        """Return the counts and the first lines as static HTML."""
        more = [f"The first {TWIN_ROWS} of {self.found:,} rows shown."] if self.found > TWIN_ROWS else []
        return fragment(
            element("p", f"{quantity(self.total, 'row')}: {self._counts('status')}"),
            element("p", f"Findings: {self._counts('finding') or 'none'}"),
            element("div", table(HEADS, map(_line, self._source.lines(0, TWIN_ROWS))), class_="etabli-scroll"),
            notes(more),
        )

    def _counts(self, facet: str) -> str:
        return " · ".join(f"{name} {count}" for name, count in self.facets.get(facet, {}).items())

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {count}" for name, count in self.facets.get("status", {}).items())
        return f"DatasetTable: {self.found:,} of {quantity(self.total, 'row')} ({counts})"


def _line(line: dict[str, Any]) -> tuple[Any, ...]:
    return line["at"], line["status"], ", ".join(line["found"]), line["asked"], line["answer"]
