"""JSON rows out of files of any size: an object a line, a list, or objects one after another.

Python's own parser, told to notice what it would let pass: keys that stand twice, NaN, two objects on a line.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from etabli.data.notes import Note, escaped, excerpt
from etabli.data.reading.opening import MOST, PEEK, decoded, lines


class Record(NamedTuple):
    """One row as it stands in its source. ``value`` is bytes for a line of JSON that is still to be parsed."""

    row: int
    line: int | None
    value: Any
    notes: tuple[Note, ...] = ()


class Broken:
    """Stands for the value of a row that can't be read; its notes say why."""


BROKEN = Broken()
_BLANK = re.compile(r"[ \t\r\n]*")


class _Parser:
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
        self.notes = []
        return self.decoder.raw_decode(text, at)


def parsed(record: Record) -> Record:
    """The record with its line parsed, if it was not yet."""
    if not isinstance(record.value, bytes):
        return record
    text, notes = decoded(record.value)
    start = _BLANK.match(text).end()
    parser = _Parser()
    try:
        value, end = parser.take(text, start)
    except (ValueError, RecursionError) as error:
        return record._replace(value=BROKEN, notes=(*record.notes, *notes, _broken(error, text, start)))
    rest = _BLANK.match(text, end).end()
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


def _broken(error: Exception, text: str, start: int) -> Note:
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


class _Feed:
    """Text read as needed, with the line of the place reached."""

    def __init__(self, stream: BinaryIO):
        self.stream, self.decoder = stream, codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.text, self.at, self.line, self.ended = "", 0, 1, False

    def more(self) -> bool:
        """Read on and forget what was passed; False once there is nothing more."""
        if self.ended:
            return False
        self.text, self.at = self.text[self.at :], 0
        data = self.stream.read(max(PEEK, len(self.text)))
        self.ended = not data
        self.text += self.decoder.decode(data, final=not data)
        return True

    def to(self, place: int) -> str:
        """Go to a place; what lies between."""
        passed = self.text[self.at : place]
        self.line += passed.count("\n")
        self.at = place
        return passed

    def next(self) -> str:
        """The next character that is not blank; empty at the end. The place is moved to it."""
        while True:
            self.to(_BLANK.match(self.text, self.at).end())
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""


def json_values(stream: BinaryIO) -> Iterator[Record]:
    """The items of a JSON list, or objects that follow each other over several lines.

    After something that is not JSON, reading goes on at the next object that begins as the others do.
    """
    return iter(_Values(stream))


class _Values:
    """Where the reading of a list, or of objects in a row, has come to."""

    def __init__(self, stream: BinaryIO):
        self.feed, self.parser = _Feed(stream), _Parser()
        self.in_list = self.feed.next() == "["
        self.comma = False  # does one have to come before the next item?
        self.wrong_line: int | None = None  # of a comma too many
        self.opening: re.Pattern | None = None  # how an object begins in this file: brace and first key
        self.feed.to(self.feed.at + self.in_list)

    def __iter__(self) -> Iterator[Record]:
        row = 0
        while True:
            notes, ended = self._between() if self.in_list else ([], not self.feed.next())
            if ended:
                if notes:
                    yield Record(row, self.wrong_line or self.feed.line, BROKEN, tuple(notes))
                return
            line = self.feed.line
            value, found, below = self._item()
            yield Record(row, line + below, value, (*notes, *found))
            row += 1
            self.comma = value is not BROKEN
            if value is BROKEN and not self._resume():
                return

    def _between(self) -> tuple[list[Note], bool]:
        """Pass the comma before an item and say what else is there. True at the end."""
        char = self.feed.next()
        if char == "]":
            return self._after(), True
        if not char:
            return [Note("malformed-json", why="The file ends before its list does: it was cut off.")], True
        if not self.comma:
            return [], False
        if char != ",":
            return [self._wrong("A comma is missing before this row.")], False
        line = self.feed.line
        self.feed.to(self.feed.at + 1)
        if self.feed.next() == "]":
            self.wrong_line = line
            return [self._wrong("There is a comma after the last row of the list."), *self._after()], True
        return [], False

    def _after(self) -> list[Note]:
        self.feed.to(self.feed.at + 1)
        return [self._wrong("There is something after the end of the list.")] if self.feed.next() else []

    def _wrong(self, why: str) -> Note:
        return Note("malformed-json", excerpt=excerpt(self.feed.text, self.feed.at), why=why)

    def _item(self) -> tuple[Any, list[Note], int]:
        """The next value, what was noticed, and for a broken one how many lines below its first the mistake is."""
        feed = self.feed
        while True:
            try:
                value, end = self.parser.take(feed.text, feed.at)
            except (ValueError, RecursionError) as error:
                if self._cut_off(error) and feed.more():
                    continue
                below = feed.text.count("\n", feed.at, getattr(error, "pos", feed.at))
                return BROKEN, [self._broken(error)], below
            if end == len(feed.text) and feed.more():
                continue  # a number may go on
            text = feed.to(end)
            self.opening = self.opening or _opening(text)
            return value, [*self.parser.notes, *_bytes(text)], 0

    def _cut_off(self, error: Exception) -> bool:
        """Could this be because the text read so far ends too early?"""
        if not isinstance(error, json.JSONDecodeError) or self._too_long():
            return False
        return error.msg.startswith("Unterminated") or error.pos > len(self.feed.text) - 64

    def _too_long(self) -> bool:
        return len(self.feed.text) - self.feed.at > MOST

    def _broken(self, error: Exception) -> Note:
        if self._too_long() and "Unterminated" in str(error):
            return Note("line-too-long")
        note = _broken(error, self.feed.text, self.feed.at)
        if isinstance(error, json.JSONDecodeError):
            column = error.pos - self.feed.text.rfind("\n", 0, error.pos)
            note = note._replace(why=f"This is not JSON: {error.msg.lower()} at column {column}.")
        return note

    def _resume(self) -> bool:
        """Go to the next object that begins like the others; False if there is none."""
        feed = self.feed
        opening = self.opening or _opening(feed.text[feed.at : feed.at + PEEK])
        feed.to(min(feed.at + 1, len(feed.text)))
        while opening is not None:
            if found := opening.search(feed.text, feed.at):
                feed.to(found.start())
                return True
            feed.to(max(feed.at, len(feed.text) - 1024))  # an opening may be cut in two
            if not feed.more():
                return False
        return False


def _bytes(text: str) -> list[Note]:
    """Bytes that were not UTF-8 came through as half characters."""
    wrong = re.search("[\udc80-\udcff]", text)
    return [Note("encoding", excerpt=excerpt(text, wrong.start()))] if wrong else []


def _opening(text: str) -> re.Pattern | None:
    found = re.match(r'\{\s*("[^"\\]*")\s*:', text)
    return re.compile(r"\{\s*" + re.escape(found[1]) + r"\s*:") if found else None
