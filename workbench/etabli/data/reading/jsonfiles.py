"""Read JSON rows with one object a line, and parse a record; ``jsonlists`` reads lists.

This is Python's own parser, which also reports what it would accept: duplicate keys, NaN, two objects on a line.
"""

import json
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import BinaryIO, NamedTuple

from etabli.core.parsing import DEEPEST, depth
from etabli.data.notes import Note, escape_invisible, excerpt
from etabli.data.reading.opening import decode_line, read_lines


class Record(NamedTuple):
    """One row of a source. ``value`` is bytes for a line of JSON that is not parsed yet; ``row`` None is the source.

    ``file`` is the row's file in a source of several files; ``split`` is what its file or the key above it says.
    """

    row: int | None
    line: int | None
    value: object
    notes: tuple[Note, ...] = ()
    file: str = ""
    split: str | None = None


class Broken(Enum):
    """The value of a row that can't be read; its notes say why. An Enum member is the same object in every process."""

    BROKEN = "broken"


BROKEN = Broken.BROKEN
_NOT_BLANK = re.compile(r"[^ \t\r\n]")


def skip_blanks(text: str, start: int) -> int:
    """Return the position of the first character from ``start`` on that is not blank, or the end of the text."""
    match = _NOT_BLANK.search(text, start)
    return match.start() if match else len(text)


class Parser:
    """``json.JSONDecoder`` that notes duplicate keys and NaN."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.decoder = json.JSONDecoder(object_pairs_hook=self._object, parse_constant=self._constant)

    def _object(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        record = dict(pairs)
        if len(record) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            self.notes.append(
                Note(
                    "duplicate-key",
                    escape_invisible(twice),
                    why=f"The key {escape_invisible(twice)!r} stands twice in one object.",
                )
            )
        return record

    def _constant(self, name: str) -> None:
        self.notes.append(Note("nan", excerpt=name))

    def take(self, text: str, start: int) -> tuple[object, int]:
        """Return the value that begins at ``start``, and where it ends.

        Raises:
            ValueError: it is not JSON.
            RecursionError: it is nested too deeply to be data.
        """
        self.notes = []
        value, end = self.decoder.raw_decode(text, start)
        if text.count("[", start, end) + text.count("{", start, end) > DEEPEST and depth(value) > DEEPEST:
            raise RecursionError
        return value, end


def parse_record(record: Record) -> Record:
    """Return the record with its line parsed, and with its split as a column unless the row has one."""
    parsed_record = _parse_line(record, record.value) if isinstance(record.value, bytes) else record
    value = parsed_record.value
    if record.split is None or not isinstance(value, Mapping) or value.get("split") is not None:
        return parsed_record._replace(notes=tuple(note for note in parsed_record.notes if note.code != "split-file"))
    return parsed_record._replace(value={**value, "split": record.split}, split=None)


def _parse_line(record: Record, line: bytes) -> Record:
    text, notes = decode_line(line)
    start = skip_blanks(text, 0)
    parser = Parser()
    try:
        value, end = parser.take(text, start)
    except (ValueError, RecursionError) as error:
        return record._replace(value=BROKEN, notes=(*record.notes, *notes, syntax_note(error, text, start)))
    rest = skip_blanks(text, end)
    notes += parser.notes
    if rest < len(text):
        notes.append(_more(text, rest))
    return record._replace(value=value, notes=(*record.notes, *notes))


def _more(text: str, place: int) -> Note:
    if text[place] in "{[":
        return Note("two-objects", excerpt=excerpt(text, place))
    return Note(
        "malformed-json",
        excerpt=excerpt(text, place),
        why=f"There is something after the object, at column {place + 1}.",
    )


def syntax_note(error: Exception, text: str, start: int) -> Note:
    """Return the note for a text that is not JSON."""
    if isinstance(error, RecursionError):
        return Note("too-deep", excerpt=excerpt(text, start))
    if isinstance(error, json.JSONDecodeError):
        why = f"This is not JSON: {error.msg.lower()} at column {error.colno}."
        return Note("malformed-json", excerpt=excerpt(text, error.pos), why=why)
    return Note("malformed-json", excerpt=excerpt(text, start), why=f"This is not JSON: {error}.")


def read_json_lines(stream: BinaryIO) -> Iterator[Record]:
    """Yield a record a line, not parsed, so that another process can parse it."""
    row = 0
    for number, line in read_lines(stream):
        if line is None:
            yield Record(row, number, BROKEN, (Note("line-too-long"),))
        elif line.strip():
            yield Record(row, number, line)
        else:
            continue
        row += 1
