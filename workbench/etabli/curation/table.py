"""The rows of a curation as a table: searched, sorted, and with the details of one row."""

from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from etabli.core.contracts import Decision, Row
from etabli.core.errors import BadInput
from etabli.curation.curation import Curation, fixed_messages
from etabli.curation.histograms import HistogramCounts, count_categories
from etabli.curation.row_columns import NO_SOURCE, RowColumns
from etabli.curation.row_detail import RowDetail, compare_rows, describe_row
from etabli.curation.row_marks import RowMarks, pack_flags
from etabli.curation.texts import last_answer
from etabli.data.notes import escape_invisible

EXCERPT_CHARACTERS = 160  # of a question or an answer in a line
MOST_SOURCES = 50  # that are listed with their counts; others are chosen by name
SORTS = ("row", "length", "likeness", "finding", "source", "status", "question", "answer")
DECIDED_STATUS = {"keep": "kept", "fix": "fixed", "drop": "dropped"}
STATUS = ("stays", "rejected", "protected", *DECIDED_STATUS.values())


class TableLine(TypedDict):
    """One row in short, as the widget and ``etabli data rows --json`` show it."""

    at: int  # index of the row
    id: str
    asked: str
    answer: str
    length: int
    source: str | None
    found: list[str]  # filters with a finding
    status: str


class RowList(TypedDict):
    """``etabli data rows --json``."""

    found: int  # rows that match
    shown: int
    rows: list[TableLine]
    facets: dict[str, dict[str, int]]


class _Selection(TypedDict, total=False):
    search: str
    finding: str
    status: str
    source: str
    sort: str
    descending: bool
    selected: bool


class Table:
    """Rows of a curation as lines. Filters are applied when it is made or ``refresh``ed; decisions show at once."""

    def __init__(self, curation: Curation):
        self.curation = curation
        self._selection: _Selection = {}
        self._batches: list[list[str]] = []  # ids of the rows that were decided together, the newest last
        self.marks = RowMarks(len(curation.features))
        self.changed_count = 0  # rows whose status the last ``refresh`` has changed
        self._read()

    def refresh(self) -> int:
        """Apply the filters again, with all decisions made meanwhile. Returns how many rows are shown."""
        codes_before = self._status_codes
        row_count = self._read()
        self.changed_count = int((codes_before != self._status_codes).sum())
        return row_count

    def _read(self) -> int:
        self._features = self.curation.features  # read once: each read compares every row
        self._result = self.curation.result
        self._standing = dict(self._result.decisions)
        self._findings = [self._finding_names(index) for index in range(self.total)]
        sources = [str(row.get("source") or NO_SOURCE) for row in self._result.rows]
        self._sources = Counter(sources)
        self._columns = RowColumns(
            texts=[text.casefold() for text in self._features.texts],
            questions=self._features.questions,
            answers=self._features.answers,
            findings=self._findings,
            sources=sources,
            likeness=[self._highest_similarity(index) for index in range(self.total)],
        )
        self._index_by_id = {row["id"]: index for index, row in enumerate(self._result.rows)}
        self._read_statuses()
        return self.select(**self._selection)

    def _read_statuses(self) -> None:
        statuses = (STATUS.index(self.status(index)) for index in range(self.total))
        self._status_codes = np.fromiter(statuses, np.int64, self.total)

    def __len__(self) -> int:
        return len(self._shown_rows)

    @property
    def total(self) -> int:
        """How many rows there are."""
        return len(self._result.rows)

    @property
    def source_count(self) -> int:
        """How many different sources the rows have; rows without one count as one source."""
        return len(self._sources)

    def select(
        self,
        search: str = "",
        finding: str = "",
        status: str = "",
        source: str = "",
        sort: str = "row",
        descending: bool = False,
        selected: bool = False,
    ) -> int:
        """Choose which rows are shown and in which order. Returns how many are shown. ``selected``: only marked ones.

        Raises:
            BadInput: an unknown order or status.
        """
        if sort not in SORTS or (status and status not in STATUS):
            raise BadInput(f"Rows are sorted by {', '.join(SORTS)}, and their status is {', '.join(STATUS)}.")
        self._selection = {
            "search": search,
            "finding": finding,
            "status": status,
            "source": source,
            "sort": sort,
            "descending": descending,
            "selected": selected,
        }
        is_shown = self._columns.select(search, finding, source)
        if status:
            is_shown &= self._status_codes == STATUS.index(status)
        if selected:
            is_shown &= self.marks.flags
        rows = np.flatnonzero(is_shown)
        ranks = (self._status_codes if sort == "status" else self._columns.ranks(sort))[rows]
        self._shown_rows = rows[np.argsort(-ranks if descending else ranks, kind="stable")]
        return len(self._shown_rows)

    def _highest_similarity(self, index: int) -> float:
        reasons = self._result.reasons.get(index, ())
        return max((reason["value"] or 0.0 for reason in reasons if reason["like"]), default=-1.0)

    def _finding_names(self, index: int) -> list[str]:
        return list(dict.fromkeys(reason["filter"] for reason in self._result.reasons.get(index, ())))

    def status(self, index: int) -> str:
        """Return what becomes of a row: what a person decided, else what the filters did."""
        decision = self._standing.get(self._result.rows[index]["id"])
        if decision:
            return DECIDED_STATUS[decision["do"]]
        if index in self._result.rejections:
            return "rejected"
        return "protected" if index in self._result.protections else "stays"

    # --- what is shown ------------------------------------------------------------------------------------------------

    def lines(self, start: int, stop: int) -> list[TableLine]:
        """Return the shown rows from place ``start`` to ``stop``, in short."""
        return [self.line(int(index)) for index in self._shown_rows[max(0, start) : stop]]

    def line(self, index: int) -> TableLine:
        """Return one row in short, with the last answer as somebody may just have rewritten it."""
        row = self._result.rows[index]
        decision = self._standing.get(row["id"])
        is_fix = decision is not None and decision["do"] == "fix"
        answer = (
            last_answer({"id": row["id"], "messages": fixed_messages(row, decision)})
            if is_fix
            else self._features.answers[index]
        )
        return {
            "at": index,
            "id": row["id"],
            "asked": _shorten(self._features.questions[index]),
            "answer": _shorten(answer),
            "length": int(self._columns.lengths[index]),
            "source": row.get("source"),
            "found": self._findings[index],
            "status": self.status(index),
        }

    def facets(self) -> dict[str, dict[str, int]]:
        """Return how many rows have each finding, status and source; of sources only the most frequent ones."""
        findings = Counter(name for names in self._findings for name in names)
        return {
            "finding": dict(findings),
            "status": self.statuses(),
            "source": dict(self._sources.most_common(MOST_SOURCES)),
        }

    def statuses(self) -> dict[str, int]:
        """Return how many rows have each status now."""
        counts = np.bincount(self._status_codes, minlength=len(STATUS))
        return {name: int(count) for name, count in zip(STATUS, counts) if count}

    def histograms(self) -> dict[str, HistogramCounts]:
        """Return a chart for each column: counts of all rows, and of the rows shown."""
        status_chart = count_categories(STATUS, self._status_codes, self._shown_rows)
        return {**self._columns.charts(self._shown_rows), "status": status_chart}

    def mark(self, do: str, start: int = 0, stop: int = 0, rows: Sequence[int] = ()) -> int:
        """Select the shown rows from place ``start`` to ``stop``, and rows by index. Returns how many are selected.

        Args:
            do: ``replace`` selects only these, ``add`` these too, ``remove`` no longer these.

        Raises:
            BadInput: another word, or a row that there is not.
        """
        places = self._shown_rows[max(0, start) : max(0, stop)]
        self.marks.change(do, np.concatenate([places, np.asarray(rows, np.int64)]))
        return len(self.marks)

    def count_marked(self) -> int:
        """Return how many of the rows shown are selected."""
        return int(self.marks.flags[self._shown_rows].sum())

    def shown_flags(self, rows: Sequence[int]) -> str:
        """Return which of these rows are shown, packed as ``pack_flags`` does."""
        is_shown = np.zeros(self.total, bool)
        is_shown[self._shown_rows] = True
        return pack_flags(is_shown[list(rows)])

    def place_of(self, row: int | str) -> int | None:
        """Return the place of a row, by index or id, among those shown; None if it is not."""
        index = self._find_index(row) if isinstance(row, str) else row
        places = np.flatnonzero(self._shown_rows == index)
        return int(places[0]) if places.size else None

    def detail(self, row_id: str) -> RowDetail:
        """Return everything about a row: turns, reasons, the most similar row with the differences, the decision."""
        index = self._find_index(row_id)
        row, reasons, decision = (
            self._result.rows[index],
            self._result.reasons.get(index, []),
            self._standing.get(row_id),
        )
        detail = describe_row(row, self.status(index), reasons, decision)
        similar_id = next((reason["like"] for reason in reasons if reason["like"]), None)
        similar_row = self._find_similar(similar_id) if similar_id else None
        if similar_row is not None:
            is_test = similar_id not in self._index_by_id
            detail["like"] = compare_rows(similar_row, {**row, "messages": fixed_messages(row, decision)}, is_test)
        return detail

    def _find_similar(self, row_id: str) -> Row | None:
        """Return the training or evaluation row with this id."""
        index = self._index_by_id.get(row_id)
        return self.curation.evaluation_row(row_id) if index is None else self._result.rows[index]

    def _find_index(self, row_id: str) -> int:
        self.curation.row(row_id)
        return self._index_by_id[row_id]

    # --- decisions ----------------------------------------------------------------------------------------------------

    def decide(self, do: str, row_id: str, why: str = "", text: str | None = None) -> TableLine:
        """Write a decision about a row; ``text`` is the last answer of a fix. Returns the row's new line.

        A dropped row with findings gets their names as the reason, unless another reason is given.
        """
        index = self._find_index(row_id)
        messages = self.curation.rewrite_answer(row_id, text) if do == "fix" else None
        self._note([self.curation.decide(do, row_id, why or self._default_reason(do, index), messages)])
        return self.line(index)

    def decide_marked(self, do: str, why: str = "") -> int:
        """Write the same decision about every selected row, all or none, and select none. Returns how many there were.

        ``undo`` takes them all back at once, as long as this table is used.
        """
        rows = {self._result.rows[index]["id"]: self._default_reason(do, int(index)) for index in self.marks.rows}
        decisions = self.curation.decide_all(do, {row_id: why or reason for row_id, reason in rows.items()})
        self._batches.append([decision["id"] for decision in decisions])
        self._note(decisions)
        self.mark("replace")
        return len(decisions)

    def _default_reason(self, do: str, index: int) -> str:
        return ", ".join(self._findings[index]) if do == "drop" else ""

    def _note(self, decisions: Sequence[Decision]) -> None:
        """Show decisions that were written."""
        if any(decision["do"] == "undo" for decision in decisions):  # with those that others made meanwhile
            self._standing = self.curation.standing
            self._read_statuses()
            return
        for decision in decisions:
            self._standing[decision["row"]] = decision
            index = self._index_by_id[decision["row"]]
            self._status_codes[index] = STATUS.index(self.status(index))

    def undo(self) -> TableLine | None:
        """Undo this author's newest decision about any row. Returns the row's new line; of several, the first one's."""
        row_ids = self.undo_batch()
        return self.line(self._index_by_id[row_ids[0]]) if row_ids else None

    def undo_batch(self) -> list[str]:
        """Undo this author's newest decision, and all that were made together with it. Returns the ids of the rows."""
        newest = self.curation.decisions.latest(self.curation.source_rows)
        if newest is None:
            return []
        row_ids = [newest["row"]]
        if self._batches and newest["id"] in self._batches[-1]:
            batch = set(self._batches.pop())
            row_ids = [row_id for row_id, decision in self.curation.standing.items() if decision["id"] in batch]
        self._note(self.curation.decide_all("undo", dict.fromkeys(row_ids, "")))
        return row_ids


def _shorten(text: str) -> str:
    return escape_invisible(" ".join(text[: 2 * EXCERPT_CHARACTERS].split()))[:EXCERPT_CHARACTERS]
