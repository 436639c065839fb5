"""``RowReader``: read the rows of findings again from their source, with the part that each finding is about."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from etabli.checks.row import Settings, check_again
from etabli.core import folders
from etabli.core.contracts import Finding, Message, Row
from etabli.core.errors import BadInput
from etabli.core.secrets import cover_secrets
from etabli.data.notes import Note
from etabli.data.reading.jsonfiles import BROKEN, Record, parse_record
from etabli.data.reading.source import open_source

MOST_TURNS = 4  # of a row: the last of them is the one after that which a finding is about
MOST_CHARACTERS = 1500  # of a text; where a part is marked, around it
_OTHER_ROW = re.compile(r"\b[Rr]ow (\d+)\b")  # in the reason of a finding that compares two rows
_COMPARING = ("duplicate-row", "conflicting-answers")
MOST_COLUMNS = 8
_TURN = re.compile(r"messages\[(\d+)\]\.(content|reasoning|tool_calls|name)")


class RowText(TypedDict):
    """One text of a row. ``span``: start and end of the part that a finding is about, or None."""

    name: str  # user, assistant, …, or the name of a column
    text: str
    span: list[int] | None
    is_meant: bool  # whether the finding is about this text


@dataclass
class RowReader:
    """What ``check`` was asked to read, so that rows can be read again. A large file is read up to the last row."""

    source: object
    format: str | None
    columns: Mapping[str, str] | None
    about: Mapping[str, object]
    settings: Settings
    is_outside_allowed: bool = field(default_factory=folders.is_outside_allowed)
    stamp: tuple[int, int] | None = field(init=False)

    def __post_init__(self) -> None:
        self.stamp = _stamp(self.source)

    def read(self, findings: Sequence[Finding]) -> list[list[RowText]]:
        """Return the texts of each finding's row, secrets covered; an empty list for a finding without a row.

        Raises:
            BadInput: the file was changed since the check, or is gone.
        """
        if _stamp(self.source) != self.stamp:
            raise BadInput(f"{self.source} was changed since the check: check it again.")
        rows = {finding.row for finding in findings} | {_other_row(finding) for finding in findings}
        records = self._records({row for row in rows if row is not None})
        return [
            [*self._texts(finding, records.get(finding.row)), *self._answer(records.get(_other_row(finding)))]
            for finding in findings
        ]

    def _records(self, rows: set[int]) -> dict[int | None, Record]:
        records: dict[int | None, Record] = {}
        with folders.outside_allowed(self.is_outside_allowed):
            opening = open_source(self.source, self.format, self.columns, self.about) if rows else None
            for record in opening.records if opening else ():
                if record.row in rows:
                    records[record.row] = record
                    if len(records) == len(rows):
                        break
        return records

    def _texts(self, finding: Finding, raw: Record | None) -> list[RowText]:
        if raw is None:
            return []
        record = parse_record(raw)
        row, notes = check_again(record, self.settings)
        span = next((note.span for note in notes if _is_same(note, finding)), None)
        if row is not None and (not finding.field or finding.field.startswith(("messages", "tools"))):
            return _conversation(row, finding.field, span)
        return _cells(raw if record.value is BROKEN else record, finding, self.settings.layout.columns)

    def _answer(self, raw: Record | None) -> list[RowText]:
        """Return the last answer of the other row, with which a row is compared."""
        row = check_again(parse_record(raw), self.settings)[0] if raw else None
        return [_row_text(f"row {raw.row}", row["messages"][-1]["content"], None, False)] if raw and row else []


def _is_same(note: Note, finding: Finding) -> bool:
    return (note.code, note.field, note.excerpt) == (finding.code, finding.field, finding.excerpt)


def _stamp(source: object) -> tuple[int, int] | None:
    """Return size and time of a file, None for another source; (-1, 0) if it is gone."""
    if not isinstance(source, str | Path) or not Path(source).is_file():
        return None
    status = Path(source).stat()
    return status.st_size, status.st_mtime_ns


def _conversation(row: Row, place: str, span: tuple[int, int] | None) -> list[RowText]:
    """Return the turns around the one that a finding is about; the first turns if it is about none."""
    match = _TURN.match(place)
    meant, key = (int(match[1]), match[2]) if match else (None, "content")
    if place == "tools":
        return [_row_text("tools", _to_text(row.get("tools")), span, True)]
    first = 0 if meant is None else max(0, meant - MOST_TURNS + 2)
    return [
        text
        for number, message in enumerate(row["messages"][first : first + MOST_TURNS], first)
        for text in _turn(message, key if number == meant else None, span)
    ]


def _turn(message: Message, meant_key: str | None, span: tuple[int, int] | None) -> Iterator[RowText]:
    """Yield the content of a turn, and what else it has that a finding is about."""
    role = message["role"]
    yield _row_text(role, message["content"], span if meant_key == "content" else None, meant_key == "content")
    if meant_key and meant_key != "content":
        yield _row_text(f"{role}: {meant_key}", _to_text(dict(message).get(meant_key)), span, True)


def _other_row(finding: Finding) -> int | None:
    match = _OTHER_ROW.search(finding.why) if finding.code in _COMPARING else None
    return int(match[1]) if match else None


def _cells(record: Record, finding: Finding, columns: Mapping[str, str]) -> list[RowText]:
    """Return the columns of a record that is no conversation, or its text where it could not be parsed."""
    if record.value is BROKEN:  # of a table, whose reader keeps only the excerpt
        return []
    if not isinstance(record.value, Mapping):
        return [_marked_excerpt("the record", record.value, finding)]
    meant = columns.get(finding.field, finding.field)
    names = sorted(record.value, key=lambda name: name != meant)[:MOST_COLUMNS]
    return [
        _marked_excerpt(str(name), record.value[name], finding)
        if name == meant
        else _row_text(str(name), _to_text(record.value[name]), None, meant not in record.value)
        for name in names
    ]


def _marked_excerpt(name: str, value: object, finding: Finding) -> RowText:
    """Return a text in which the finding's excerpt, which is a part of it, is what is marked."""
    text, excerpt = _to_text(value), finding.excerpt.strip("…")
    start = text.find(excerpt) if excerpt else -1
    is_part = start >= 0 and len(excerpt) < len(text)
    return _row_text(name, text, (start, start + len(excerpt)) if is_part else None, True)


def _to_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1, default=str)


def _row_text(name: str, text: str, span: tuple[int, int] | None, is_meant: bool) -> RowText:
    """Return a text with secrets covered, which keeps its length; a long one is cut around its marked part."""
    covered = cover_secrets(text)
    first = max(0, span[0] - MOST_CHARACTERS // 2) if span and len(text) > MOST_CHARACTERS else 0
    part = covered[first : first + MOST_CHARACTERS]
    before, after = "…" if first else "", "…" if first + MOST_CHARACTERS < len(text) else ""
    moved = [min(len(part), place - first) + len(before) for place in span] if span else None
    return {"name": name, "text": before + part + after, "span": moved, "is_meant": is_meant}
