"""What people decided about rows, in a journal: nothing that was decided is lost."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from etabli.core import journal
from etabli.core.contracts import DOINGS, ROLES, Decision, Message, Row
from etabli.core.errors import BadInput
from etabli.data.catalogue import CODES
from etabli.data.notes import Note
from etabli.data.reading import order
from etabli.rendering.render import spans_fit


class Decisions:
    """The decisions in a file, oldest first; ``standing`` are those that count."""

    def __init__(self, path: str | Path, author: str | None = None):
        self.file = journal.Journal(path, _whole)
        self.author = journal.author(author)

    @property
    def path(self) -> Path:
        """The file."""
        return self.file.path

    @property
    def passed_over(self) -> int:
        """Lines that are no decision."""
        return self.file.passed_over

    def all(self) -> list[Decision]:
        """Every decision, oldest first; what others added since is read too."""
        return self.file.all()

    def standing(self) -> dict[str, Decision]:
        """The newest decision of each row that was not undone."""
        found = self.all()
        undone = {decision.get("undoes") for decision in found if decision["do"] == "undo"}
        return {one["row"]: one for one in found if one["do"] != "undo" and one["id"] not in undone}

    def of(self, rows: Iterable[Row]) -> dict[str, Decision]:
        """The standing decisions about these rows as they are now; by row id."""
        held = self.standing()
        return {row["id"]: held[row["id"]] for row in rows if row["id"] in held and held[row["id"]]["was"] == said(row)}

    def add(self, do: str, row: Row, why: str = "", messages: list[Message] | None = None) -> Decision:
        """Write down what is done about a row: keep, drop, fix (with new ``messages``) or undo.

        Raises:
            BadInput: something else; a fix without messages; nothing to undo. NoSpace: the disk is full.
        """
        made: Decision = {
            **journal.stamp(), "do": do, "row": row["id"], "was": said(row), "by": self.author, "why": why,
        }  # fmt: skip
        if do not in DOINGS or not isinstance(why, str):
            raise BadInput(f"A decision is one of {', '.join(DOINGS)}, and its reason a text: not {do!r}, {why!r}.")
        if do == "fix":
            _check(messages)
            made["messages"] = messages
        if do == "undo":
            made["undoes"] = self._last(row)["id"]
        self.file.add(made)
        return made

    def _last(self, row: Row) -> Decision:
        held = self.standing().get(row["id"])
        if held is None:
            raise BadInput(f"Nothing was decided about row {row['id']} that could be undone.")
        return held

    def last(self, rows: Iterable[Row]) -> Decision | None:
        """The newest standing decision of this author about one of these rows as they are now."""
        mine = [one for one in self.of(rows).values() if one["by"] == self.author]
        order = {one["id"]: at for at, one in enumerate(self.all())}
        return max(mine, key=lambda one: order[one["id"]], default=None)


def said(row: Row) -> str:
    """Hash of what a row says."""
    held = [row["messages"], row.get("tools")]
    return hashlib.sha256(json.dumps(held, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _whole(line: dict) -> bool:
    texts = all(isinstance(line.get(name), str) for name in ("id", "row", "was", "by", "why", "do"))
    return texts and line["do"] in DOINGS and (line["do"] != "fix" or _messages(line.get("messages")))


def _messages(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(turn, dict) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)
            for turn in value
        )
    )


def _check(messages: list[Message] | None) -> None:
    if not _messages(messages):
        raise BadInput("A fix needs the row's new messages, each with a role and a content that are text.")
    wrong = [note for note in [*order.check(messages), *order.unstorable(messages, None)] if _severe(note)]
    odd = [turn["role"] for turn in messages if turn["role"] not in ROLES or not spans_fit(turn)]
    if wrong or odd or not {"assistant", "text"} & {turn["role"] for turn in messages}:
        said = "; ".join(f"{note.field}: {note.why or CODES[note.code].why}" for note in wrong)
        why = said or (f"What of {', '.join(odd)}?" if odd else "It has no answer.")
        raise BadInput(f"This is no row that could be trained. {why}")


def _severe(note: Note) -> bool:
    return CODES[note.code].severity == "error"
