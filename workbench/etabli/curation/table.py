"""The rows of a curation as a table: searched, sorted, and with the details of one row."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TypedDict

from etabli.core.contracts import Decision, Reason, Row
from etabli.core.errors import BadInput
from etabli.curation.curation import Curation, find_last_answer, fixed_messages
from etabli.curation.diff import compare_words
from etabli.curation.texts import last_answer, row_text
from etabli.data.notes import escape_invisible

EXCERPT_CHARACTERS = 160  # of a question or an answer in a line
MAX_CHARACTERS = 20_000  # of a message shown in the details
SORTS = ("row", "length", "likeness", "finding", "source")
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


class SimilarRow(TypedDict):
    """The row that another is similar to; ``difference``: as ``compare_words`` returns."""

    id: str
    test: bool  # an evaluation row
    difference: list[tuple[str, str]]


class RowDetail(TypedDict):
    """Everything known about one row."""

    id: str
    status: str
    reasons: list[Reason]
    decision: Mapping[str, object] | None
    messages: list[dict[str, str]]  # role, content
    last: str  # the content that a fix rewrites
    about: dict[str, object]
    like: SimilarRow | None


class Table:
    """Rows of a curation as lines. Filters are applied when it is made or ``refresh``ed; decisions show at once."""

    def __init__(self, curation: Curation):
        self.curation = curation
        self._selection: _Selection = {}
        self.refresh()

    def refresh(self) -> int:
        """Apply the filters again, with all decisions made meanwhile. Returns how many rows are shown."""
        self._features = self.curation.features  # read once: each read compares every row
        self._result = self.curation.result
        self._standing = dict(self._result.decisions)
        self._search_texts = [text.casefold() for text in self._features.texts]
        self._index_by_id = {row["id"]: index for index, row in enumerate(self._result.rows)}
        self._count_statuses()
        return self.select(**self._selection)

    def _count_statuses(self) -> None:
        self._status_counts = Counter(map(self.status, range(self.total)))

    def __len__(self) -> int:
        return len(self._shown_rows)

    @property
    def total(self) -> int:
        """How many rows there are."""
        return len(self._result.rows)

    def select(
        self,
        search: str = "",
        finding: str = "",
        status: str = "",
        source: str = "",
        sort: str = "row",
        descending: bool = False,
    ) -> int:
        """Choose which rows are shown and in which order. Returns how many are shown.

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
        }
        needle = search.casefold()
        self._shown_rows = [
            index
            for index in range(self.total)
            if (not needle or needle in self._search_texts[index])
            and (not finding or finding in self._finding_names(index))
            and (not status or self.status(index) == status)
            and (not source or str(self._result.rows[index].get("source")) == source)
        ]
        self._shown_rows.sort(key=self._sort_key(sort), reverse=descending)
        return len(self._shown_rows)

    def _sort_key(self, sort: str) -> Callable[[int], int | float | str | tuple[bool, list[str]]]:
        keys: dict[str, Callable[[int], int | float | str | tuple[bool, list[str]]]] = {
            "row": lambda index: index,
            "length": lambda index: len(self._search_texts[index]),
            "likeness": self._highest_similarity,
            "finding": lambda index: (not self._finding_names(index), self._finding_names(index)),
            "source": lambda index: str(self._result.rows[index].get("source")),
        }
        return keys[sort]

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
        return [self.line(index) for index in self._shown_rows[max(0, start) : stop]]

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
            "length": len(self._search_texts[index]),
            "source": row.get("source"),
            "found": self._finding_names(index),
            "status": self.status(index),
        }

    def facets(self) -> dict[str, dict[str, int]]:
        """Return how many rows have each finding, status and source."""
        findings = Counter(name for index in self._result.reasons for name in self._finding_names(index))
        sources = Counter(str(row.get("source")) for row in self._result.rows)
        return {"finding": dict(findings), "status": self.statuses(), "source": dict(sources.most_common(50))}

    def statuses(self) -> dict[str, int]:
        """Return how many rows have each status now."""
        return {name: count for name, count in self._status_counts.items() if count}

    def detail(self, row_id: str) -> RowDetail:
        """Return everything about a row: turns, reasons, the most similar row with the differences, the decision."""
        index = self._find_index(row_id)
        row, reasons = self._result.rows[index], self._result.reasons.get(index, [])
        decision = self._standing.get(row_id)
        messages = fixed_messages(row, decision)
        similar_id = next((reason["like"] for reason in reasons if reason["like"]), None)
        fields = dict(row)
        about_keys = ("lang", "source", "licence", "generator", "template")
        return {
            "id": row_id,
            "status": self.status(index),
            "reasons": reasons,
            "decision": {key: decision[key] for key in ("do", "by", "why", "t")} if decision else None,
            "messages": [{"role": turn["role"], "content": turn["content"][:MAX_CHARACTERS]} for turn in messages],
            "last": messages[find_last_answer(messages)]["content"],
            "about": {key: fields[key] for key in about_keys if fields.get(key)},
            "like": self._similar_row(similar_id, {**row, "messages": messages}) if similar_id else None,
        }

    def _similar_row(self, row_id: str, row: Row) -> SimilarRow | None:
        """Return the similar training or evaluation row, with its differences from ``row``."""
        is_training_row = row_id in self._index_by_id
        other = (
            self._result.rows[self._index_by_id[row_id]] if is_training_row else self.curation.evaluation_row(row_id)
        )
        if other is None:
            return None
        segments = compare_words(row_text(other)[:MAX_CHARACTERS], row_text(row)[:MAX_CHARACTERS])
        return {"id": row_id, "test": not is_training_row, "difference": segments}

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
        old_status = self.status(index)
        if do == "drop" and not why:
            why = ", ".join(self._finding_names(index))
        decision = self.curation.decide(do, row_id, why, messages)
        if do == "undo":  # this reads the decisions again, with those that others made meanwhile
            self._standing = self.curation.standing
            self._count_statuses()
        else:
            self._standing[row_id] = decision
            self._status_counts[old_status] -= 1
            self._status_counts[self.status(index)] += 1
        return self.line(index)

    def undo(self) -> TableLine | None:
        """Undo this author's newest decision about any row. Returns the row's new line."""
        decision: Decision | None = self.curation.decisions.latest(self.curation.source_rows)
        return self.decide("undo", decision["row"]) if decision else None


def _shorten(text: str) -> str:
    return escape_invisible(" ".join(text[: 2 * EXCERPT_CHARACTERS].split()))[:EXCERPT_CHARACTERS]
