"""JSON rows, an object a line; what lists and lines have in common. Lists are in ``jsonlists``.

Python's own parser, told to notice what it would let pass: keys that stand twice, NaN, two objects on a line.
"""

import json
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, BinaryIO, NamedTuple

from etabli.core.parsing import DEEPEST, depth
from etabli.data.notes import Note, escaped, excerpt
from etabli.data.reading.opening import decoded, lines


class Record(NamedTuple):
    """One row as it stands in its source. ``value`` is bytes for a line of JSON that is still to be parsed."""

    row: int
    line: int | None
    value: Any
    notes: tuple[Note, ...] = ()


class Broken(Enum):
    """Stands for the value of a row that can't be read; its notes say why. An Enum is one in every process."""

    BROKEN = "broken"


BROKEN = Broken.BROKEN
BLANK = re.compile(r"[ \t\r\n]*")


class Parser:
    """``json.JSONDecoder`` that writes down what it met."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.decoder = json.JSONDecoder(object_pairs_hook=self._object, parse_constant=self._constant)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            self.notes.append(
                Note("duplicate-key", escaped(twice), why=f"The key {escaped(twice)!r} stands twice in one object.")
            )
        return made

    def _constant(self, name: str) -> None:
        self.notes.append(Note("nan", excerpt=name))

    def take(self, text: str, at: int) -> tuple[Any, int]:
        """The value that begins at a place, and where it ends.

        Raises:
            ValueError: it is not JSON; RecursionError: it is nested too deeply to be data.
        """
        self.notes = []
        value, end = self.decoder.raw_decode(text, at)
        if text.count("[", at, end) + text.count("{", at, end) > DEEPEST and depth(value) > DEEPEST:
            raise RecursionError
        return value, end


def parsed(record: Record) -> Record:
    """The record with its line parsed, if it was not yet."""
    if not isinstance(record.value, bytes):
        return record
    text, notes = decoded(record.value)
    start = BLANK.match(text).end()
    parser = Parser()
    try:
        value, end = parser.take(text, start)
    except (ValueError, RecursionError) as error:
        return record._replace(value=BROKEN, notes=(*record.notes, *notes, broken(error, text, start)))
    rest = BLANK.match(text, end).end()
    notes += parser.notes
    if rest < len(text):
        notes.append(_more(text, rest))
    return record._replace(value=value, notes=(*record.notes, *notes))


def _more(text: str, at: int) -> Note:
    if text[at] in "{[":
        return Note("two-objects", excerpt=excerpt(text, at))
    return Note(
        "malformed-json", excerpt=excerpt(text, at), why=f"There is something after the object, at column {at + 1}."
    )


def broken(error: Exception, text: str, start: int) -> Note:
    """What to say of text that is not JSON."""
    if isinstance(error, RecursionError):
        return Note("too-deep", excerpt=excerpt(text, start))
    if isinstance(error, json.JSONDecodeError):
        why = f"This is not JSON: {error.msg.lower()} at column {error.colno}."
        return Note("malformed-json", excerpt=excerpt(text, error.pos), why=why)
    return Note("malformed-json", excerpt=excerpt(text, start), why=f"This is not JSON: {error}.")


def json_lines(stream: BinaryIO) -> Iterator[Record]:
    """An object a line; unparsed, so that it can be parsed in another process."""
    row = 0
    for number, line in lines(stream):
        if line is None:
            yield Record(row, number, BROKEN, (Note("line-too-long"),))
        elif line.strip():
            yield Record(row, number, line)
        else:
            continue
        row += 1
