"""Decisions of people about rows, in a journal that is only added to."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeGuard, cast

from etabli.core import journal
from etabli.core.contracts import DECISION_KINDS, ROLES, Decision, Message, Row
from etabli.core.errors import BadInput
from etabli.data.catalogue import CODES
from etabli.data.reading import order
from etabli.rendering.masks import has_valid_spans


class Decisions:
    """The decisions in a file, oldest first; ``standing`` returns those that count."""

    def __init__(self, path: str | Path, author: str | None = None):
        self.file = journal.Journal(path, _is_decision)
        self.author = journal.author_name(author)

    @property
    def path(self) -> Path:
        """The file."""
        return self.file.path

    @property
    def skipped_lines(self) -> int:
        """How many lines are no decision."""
        return self.file.skipped_lines

    def all(self) -> list[Decision]:
        """Return every decision, oldest first; lines that others added since are read too."""
        return cast(list[Decision], self.file.all())

    def standing(self) -> dict[str, Decision]:
        """Return the newest decision about each row that was not undone, by row id."""
        decisions = self.all()
        undone_ids = {decision.get("undoes") for decision in decisions if decision["do"] == "undo"}
        return {
            decision["row"]: decision
            for decision in decisions
            if decision["do"] != "undo" and decision["id"] not in undone_ids
        }

    def standing_for(self, rows: Iterable[Row]) -> dict[str, Decision]:
        """Return the standing decisions about these rows, by row id; not those about an earlier text of a row."""
        standing = self.standing()
        current = {row["id"]: hash_row(row) for row in rows if row["id"] in standing}
        return {row_id: standing[row_id] for row_id, digest in current.items() if standing[row_id]["was"] == digest}

    def add(self, do: str, row: Row, why: str = "", messages: list[Message] | None = None) -> Decision:
        """Write a decision about a row: keep, drop, fix (with new ``messages``) or undo. It is on the disk on return.

        Raises:
            BadInput: another word; a fix without messages that could be trained; nothing to undo.
            NoSpace: the disk is full.
        """
        return self.add_all(do, [(row, why)], messages)[0]

    def add_all(
        self, do: str, rows: Sequence[tuple[Row, str]], messages: list[Message] | None = None
    ) -> list[Decision]:
        """Write the same decision about several rows, each with its reason: all of them or none. As ``add``."""
        if do not in DECISION_KINDS or not all(isinstance(why, str) for _, why in rows):
            reasons = [why for _, why in rows[:1]]
            raise BadInput(
                f"A decision is one of {', '.join(DECISION_KINDS)}, and its reason a text: not {do!r}, {reasons!r}."
            )
        if do == "fix":
            _require_trainable(messages)
        standing = self.standing() if do == "undo" else {}
        entries = [self._make_entry(do, row, why, messages, standing) for row, why in rows]
        self.file.add(*entries)
        return cast(list[Decision], entries)

    def _make_entry(
        self, do: str, row: Row, why: str, messages: list[Message] | None, standing: Mapping[str, Decision]
    ) -> dict[str, object]:
        entry = {**journal.new_entry(), "do": do, "row": row["id"], "was": hash_row(row), "by": self.author, "why": why}
        if do == "fix":
            entry["messages"] = messages
        if do == "undo":
            if row["id"] not in standing:
                raise BadInput(f"Nothing was decided about row {row['id']} that could be undone.")
            entry["undoes"] = standing[row["id"]]["id"]
        return entry

    def latest(self, rows: Iterable[Row]) -> Decision | None:
        """Return this author's newest standing decision about one of these rows."""
        own_decisions = [item for item in self.standing_for(rows).values() if item["by"] == self.author]
        positions = {decision["id"]: position for position, decision in enumerate(self.all())}
        return max(own_decisions, key=lambda decision: positions[decision["id"]], default=None)


def hash_row(row: Row) -> str:
    """Return a hash of a row's messages and tools: 16 hexadecimal digits."""
    content = [row["messages"], row.get("tools")]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _is_decision(line: Mapping[str, object]) -> bool:
    has_texts = all(isinstance(line.get(key), str) for key in ("id", "row", "was", "by", "why", "do"))
    return has_texts and line["do"] in DECISION_KINDS and (line["do"] != "fix" or _are_messages(line.get("messages")))


def _are_messages(value: object) -> TypeGuard[list[Message]]:
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(turn, dict) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)
            for turn in value
        )
    )


def _require_trainable(messages: list[Message] | None) -> None:
    if not _are_messages(messages):
        raise BadInput("A fix needs the row's new messages, each with a role and a content that are text.")
    notes = [*order.check_order(messages), *order.unstorable_characters(messages, None)]
    problems = [
        f"{note.field}: {note.why or CODES[note.code].why}" for note in notes if CODES[note.code].severity == "error"
    ]
    roles = [turn["role"] for turn in messages]
    problems += [f"Role {role} is unknown; use {', '.join(ROLES)}." for role in roles if role not in ROLES]
    if not all(map(has_valid_spans, messages)):
        problems.append("Spans go beyond the content of their message.")
    if not {"assistant", "text"} & set(roles):
        problems.append("It has no answer.")
    if problems:
        raise BadInput(f"This row cannot be trained: {'; '.join(problems)}")
