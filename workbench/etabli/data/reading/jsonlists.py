"""Rows out of JSON lists of any size, or objects one after another over several lines; nothing whole is in memory."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from etabli.data.catalogue import CODES
from etabli.data.notes import Note, excerpt
from etabli.data.reading.jsonfiles import BLANK, BROKEN, Parser, Record, broken
from etabli.data.reading.opening import MOST
from etabli.data.reading.unpacking import PEEK


class _Feed:
    """Text read as needed, with the line of the place reached."""

    def __init__(self, stream: BinaryIO):
        self.stream, self.decoder = stream, codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.text, self.at, self.line, self.ended = "", 0, 1, False

    def more(self) -> bool:
        """Read on and forget what was passed; False once there is nothing more."""
        if self.ended:
            return False
        kept = max(0, self.at - 200)  # a little of what was passed tells how this line is indented
        self.text, self.at = self.text[kept:], self.at - kept
        data = self.stream.read(max(PEEK, len(self.text) - self.at))
        self.ended = not data
        self.text += self.decoder.decode(data, final=not data)
        return True

    def to(self, place: int) -> str:
        """Go to a place; what lies between."""
        passed = self.text[self.at : place]
        self.line += passed.count("\n")
        self.at = place
        return passed

    def indent(self) -> str | None:
        """The blanks before the place, if nothing else stands before it on its line."""
        before = re.search(r"(?:\A|\n)([ \t]*)\Z", self.text[max(0, self.at - 200) : self.at])
        return before[1] if before and self.line > 1 else None

    def next(self) -> str:
        """The next character that is not blank; empty at the end. The place is moved to it."""
        while True:
            self.to(BLANK.match(self.text, self.at).end())
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
        self.feed, self.parser = _Feed(stream), Parser()
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
            self.comma = value is not BROKEN
            more = value is not BROKEN or self._resume()
            if value is BROKEN:
                found = [
                    note._replace(why=f"{note.why or CODES[note.code].why} {self._passed(more)}") for note in found
                ]
            yield Record(row, line + below, value, (*notes, *found))
            row += 1
            if not more:
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
            indent = feed.indent()
            text = feed.to(end)
            self.opening = self.opening or _opening(text, indent)
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
        note = broken(error, self.feed.text, self.feed.at)
        if isinstance(error, json.JSONDecodeError):
            column = error.pos - self.feed.text.rfind("\n", 0, error.pos)
            note = note._replace(why=f"This is not JSON: {error.msg.lower()} at column {column}.")
        return note

    def _passed(self, more: bool) -> str:
        """What became of the text after a broken row: nothing is left out without a word."""
        return f"Reading goes on at line {self.feed.line}." if more else "No row that begins as the others do follows."

    def _resume(self) -> bool:
        """Go to the next row that begins like the others, or as this one does; False if there is none."""
        feed = self.feed
        opening = self.opening or _ANY  # nothing to go by yet
        feed.to(min(feed.at + 1, len(feed.text)))
        while True:
            if found := opening.search(feed.text, feed.at):
                feed.to(found.start("row"))
                return True
            feed.to(max(feed.at, len(feed.text) - 1024))  # an opening may be cut in two
            if not feed.more():
                return False


def _bytes(text: str) -> list[Note]:
    """Bytes that were not UTF-8 came through as half characters."""
    wrong = re.search("[\udc80-\udcff]", text)
    return [Note("encoding", excerpt=excerpt(text, wrong.start()))] if wrong else []


_ANY = re.compile(r"(?:[}\]]\s*,|\n)\s*(?P<row>[\[{])")


def _opening(text: str, indent: str | None) -> re.Pattern:
    """How a row begins in this file: at this indentation, else by its brackets and first key, else after a comma."""
    if indent is not None:
        return re.compile(r"\n" + re.escape(indent) + r"(?P<row>[\[{])")
    found = re.match(r'(?P<row>[\[{][\s\[{]*)("[^"\\]*")\s*:', text)
    if found:
        brackets = r"\s*".join(re.escape(mark) for mark in found["row"] if not mark.isspace())
        return re.compile(rf"(?P<row>{brackets}\s*{re.escape(found[2])}\s*:)")
    return _ANY
