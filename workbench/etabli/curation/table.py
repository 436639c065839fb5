"""What a table of rows shows: the part that is asked for, sorted and narrowed, and all there is to say of one row."""

from collections import Counter
from typing import Any

from etabli.core.contracts import Decision
from etabli.core.errors import BadInput
from etabli.curation.apply import Sifted
from etabli.curation.curation import Curation, last_said
from etabli.curation.diff import difference
from etabli.curation.texts import answer, said
from etabli.data.notes import escaped

SHORT = 160  # characters of a question or an answer in a line
LONGEST = 20_000  # characters of a text shown whole
SORTS = ("row", "length", "likeness", "finding", "source")
_DONE = {"keep": "kept", "fix": "fixed", "drop": "dropped"}
STATUS = ("stays", "rejected", "protected", *_DONE.values())


class Table:
    """Rows of a curation as lines. Filters are those of the moment it was made or ``refresh``ed; decisions are live."""

    def __init__(self, desk: Curation):
        self.desk = desk
        self._asked: dict[str, Any] = {}
        self.refresh()

    def refresh(self) -> int:
        """Apply the filters again, with all that was decided meanwhile; returns how many rows are shown."""
        self._view = self.desk.view  # looked up once: whether rows have changed is asked of each of them
        self._sifted: Sifted = self.desk.sifted
        self._standing = dict(self._sifted.decisions)
        self._low = [text.casefold() for text in self._view.said]
        self._at = {row["id"]: at for at, row in enumerate(self._sifted.rows)}
        self._counts = Counter(map(self.status, range(self.total)))
        return self.select(**self._asked)

    def __len__(self) -> int:
        return len(self._shown)

    @property
    def total(self) -> int:
        """How many rows there are."""
        return len(self._sifted.rows)

    def select(
        self, search: str = "", finding: str = "", status: str = "", source: str = "", sort: str = "row",
        descending: bool = False,
    ) -> int:  # fmt: skip
        """Choose which rows are shown and in which order; returns how many.

        Raises:
            BadInput: an unknown order or status.
        """
        if sort not in SORTS or (status and status not in STATUS):
            raise BadInput(f"Rows are sorted by {', '.join(SORTS)}, and their status is {', '.join(STATUS)}.")
        self._asked = {
            "search": search, "finding": finding, "status": status, "source": source, "sort": sort,
            "descending": descending,
        }  # fmt: skip
        needle, held = search.casefold(), self._sifted
        shown = [
            at
            for at in range(self.total)
            if (not needle or needle in self._low[at])
            and (not finding or finding in self._found(at))
            and (not status or self.status(at) == status)
            and (not source or str(held.rows[at].get("source")) == source)
        ]
        shown.sort(key=lambda at: self._key(at, sort), reverse=descending)
        self._shown = shown
        return len(shown)

    def _key(self, at: int, sort: str) -> Any:
        if sort == "length":
            return len(self._low[at])
        if sort == "likeness":
            held = self._sifted.reasons.get(at, ())
            return max((reason["value"] or 0.0 for reason in held if reason["like"]), default=-1.0)
        if sort == "finding":
            return (not (found := self._found(at)), found)
        return str(self._sifted.rows[at].get("source")) if sort == "source" else at

    def _found(self, at: int) -> list[str]:
        return list(dict.fromkeys(reason["filter"] for reason in self._sifted.reasons.get(at, ())))

    def status(self, at: int) -> str:
        """What becomes of a row: what a person said, else what the filters did."""
        decision = self._standing.get(self._sifted.rows[at]["id"])
        if decision:
            return _DONE[decision["do"]]
        return "rejected" if at in self._sifted.rejected else "protected" if at in self._sifted.protected else "stays"

    # --- what is shown ---------------------------------------------------------------------------------------

    def lines(self, start: int, stop: int) -> list[dict[str, Any]]:
        """The rows shown from one place to another, in short."""
        return [self.line(at) for at in self._shown[max(0, start) : stop]]

    def line(self, at: int) -> dict[str, Any]:
        """One row in short."""
        row = self._sifted.rows[at]
        return {
            "at": at, "id": row["id"], "asked": _short(self._view.asked[at]),
            "answer": _short(self._answer(at)), "length": len(self._low[at]), "source": row.get("source"),
            "found": self._found(at), "status": self.status(at),
        }  # fmt: skip

    def _answer(self, at: int) -> str:
        """The last answer, as somebody may just have rewritten it."""
        decision = self._standing.get(self._sifted.rows[at]["id"])
        return answer(decision) if decision and decision["do"] == "fix" else self._view.answers[at]

    def facets(self) -> dict[str, dict[str, int]]:
        """How many rows have each finding, status and source."""
        found = Counter(name for held in self._sifted.reasons.values() for name in {one["filter"] for one in held})
        sources = Counter(str(row.get("source")) for row in self._sifted.rows)
        return {"finding": dict(found), "status": self.statuses(), "source": dict(sources.most_common(50))}

    def statuses(self) -> dict[str, int]:
        """How many rows have each status now."""
        return {name: count for name, count in self._counts.items() if count}

    def detail(self, name: str) -> dict[str, Any]:
        """All there is to say of a row: turns, reasons, the row it is most like, what differs, what was decided."""
        at = self._where(name)
        row, reasons = self._sifted.rows[at], self._sifted.reasons.get(at, [])
        decision = self._standing.get(name)
        messages = (decision or {}).get("messages") or row["messages"]
        like = next((reason["like"] for reason in reasons if reason["like"]), None)
        return {
            "id": name, "status": self.status(at), "reasons": reasons, "decision": _told(decision),
            "messages": [{"role": turn["role"], "content": turn["content"][:LONGEST]} for turn in messages],
            "last": messages[last_said(messages)]["content"],
            "about": {key: row[key] for key in ("lang", "source", "licence", "generator", "template") if row.get(key)},
            "like": self._likeness(like, {**row, "messages": messages}) if like else None,
        }  # fmt: skip

    def _likeness(self, name: str, row: dict[str, Any]) -> dict[str, Any] | None:
        """The row another is like (of the training or the test rows), and what differs."""
        rows = self._sifted.rows
        other = rows[self._at[name]] if name in self._at else self.desk.tested(name)
        if other is None:
            return None
        pieces = difference(said(other)[:LONGEST], said(row)[:LONGEST])
        return {"id": name, "test": name not in self._at, "difference": pieces}

    def _where(self, name: str) -> int:
        self.desk.row(name)
        return self._at[name]

    # --- what is decided ---------------------------------------------------------------------------------------

    def decide(self, do: str, name: str, why: str = "", text: str | None = None) -> dict[str, Any]:
        """Write down what is done about a row; ``text`` is the last answer of a fix. Returns the row's new line."""
        at = self._where(name)
        messages = self.desk.rewritten(name, text) if do == "fix" else None
        before = self.status(at)
        made = self.desk.decide(do, name, why or self._why(at, do), messages)
        if do == "undo":
            self._standing = self.desk.standing
        else:
            self._standing[name] = made
        if do == "undo":  # with it comes what others decided meanwhile
            self._counts = Counter(map(self.status, range(self.total)))
        else:
            self._counts[before] -= 1
            self._counts[self.status(at)] += 1
        return self.line(at)

    def _why(self, at: int, do: str) -> str:
        """Dropping a row that filters found something in is for that reason, unless another is given."""
        return ", ".join(self._found(at)) if do == "drop" else ""

    def undo(self) -> dict[str, Any] | None:
        """Take the newest decision of this author back, whatever row it is about; returns the row's new line."""
        last = self.desk.decisions.last(self.desk.source)
        return self.decide("undo", last["row"]) if last else None


def _told(decision: Decision | None) -> dict[str, Any] | None:
    return {name: decision[name] for name in ("do", "by", "why", "t")} if decision else None


def _short(text: str) -> str:
    return escaped(" ".join(text[: 2 * SHORT].split()))[:SHORT]
