"""Read rows of a JSON list, or objects over several lines, without holding the whole file in memory."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from etabli.data.catalogue import CODES
from etabli.data.notes import Note, excerpt
from etabli.data.reading.jsonfiles import BROKEN, Parser, Record, skip_blanks, syntax_note
from etabli.data.reading.opening import MAX_ROW_BYTES
from etabli.data.reading.unpacking import PEEK


class _Feed:
    """Text that is read as needed, with the current position and its line."""

    def __init__(self, stream: BinaryIO):
        self.stream, self.decoder = stream, codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.text, self.at, self.line, self.ended = "", 0, 1, False

    def more(self) -> bool:
        """Read more text and forget old text; return False at the end of the stream."""
        if self.ended:
            return False
        first_kept = max(0, self.at - 200)  # some text before the position shows the line's indentation
        self.text, self.at = self.text[first_kept:], self.at - first_kept
        data = self.stream.read(max(PEEK, len(self.text) - self.at))
        self.ended = not data
        self.text += self.decoder.decode(data, final=not data)
        return True

    def move_to(self, place: int) -> str:
        """Move to a place and return the text in between."""
        text_between = self.text[self.at : place]
        self.line += text_between.count("\n")
        self.at = place
        return text_between

    def indent(self) -> str | None:
        """Return the blanks before the position, if there is nothing else before it on its line."""
        match = re.search(r"(?:\A|\n)([ \t]*)\Z", self.text[max(0, self.at - 200) : self.at])
        return match[1] if match and self.line > 1 else None

    def next(self) -> str:
        """Move to the next character that is not blank and return it; return an empty text at the end."""
        while True:
            self.move_to(skip_blanks(self.text, self.at))
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""


def read_json_values(stream: BinaryIO) -> Iterator[Record]:
    """Yield the items of a JSON list, or objects that follow each other over several lines.

    After something that is not JSON, reading continues at the next object that begins like the others.
    """
    return iter(_Values(stream))


class _Values:
    """The state of reading a list, or objects one after another."""

    def __init__(self, stream: BinaryIO):
        self.feed, self.parser = _Feed(stream), Parser()
        self.in_list = self.feed.next() == "["
        self.comma = False  # whether the next item needs a comma before it
        self.wrong_line: int | None = None  # the line of a superfluous comma
        self.opening: re.Pattern[str] | None = None  # how an object begins in this file: brace and first key
        self.feed.move_to(self.feed.at + self.in_list)

    def __iter__(self) -> Iterator[Record]:
        row = 0
        while True:
            notes, is_end = self._skip_comma() if self.in_list else ([], not self.feed.next())
            if is_end:
                if notes:
                    yield Record(row, self.wrong_line or self.feed.line, BROKEN, tuple(notes))
                return
            line = self.feed.line
            value, item_notes, line_offset = self._item()
            self.comma = value is not BROKEN
            more = value is not BROKEN or self._resume()
            if value is BROKEN:
                item_notes = [
                    note._replace(why=f"{note.why or CODES[note.code].why} {self._resume_sentence(more)}")
                    for note in item_notes
                ]
            yield Record(row, line + line_offset, value, (*notes, *item_notes))
            row += 1
            if not more:
                return

    def _skip_comma(self) -> tuple[list[Note], bool]:
        """Skip the comma before an item; return notes about mistakes, and whether the list ends here."""
        char = self.feed.next()
        if char == "]":
            return self._end_notes(), True
        if not char:
            return [Note("malformed-json", why="The file ends before its list does: it was cut off.")], True
        if not self.comma:
            return [], False
        if char != ",":
            return [self._wrong("A comma is missing before this row.")], False
        line = self.feed.line
        self.feed.move_to(self.feed.at + 1)
        if self.feed.next() == "]":
            self.wrong_line = line
            return [self._wrong("There is a comma after the last row of the list."), *self._end_notes()], True
        return [], False

    def _end_notes(self) -> list[Note]:
        self.feed.move_to(self.feed.at + 1)
        return [self._wrong("There is something after the end of the list.")] if self.feed.next() else []

    def _wrong(self, why: str) -> Note:
        return Note("malformed-json", excerpt=excerpt(self.feed.text, self.feed.at), why=why)

    def _item(self) -> tuple[object, list[Note], int]:
        """Return the next value, its notes, and how many lines below its first line a mistake is."""
        feed = self.feed
        while True:
            try:
                value, end = self.parser.take(feed.text, feed.at)
            except (ValueError, RecursionError) as error:
                if self._cut_off(error) and feed.more():
                    continue
                line_offset = feed.text.count("\n", feed.at, getattr(error, "pos", feed.at))
                return BROKEN, [self._broken(error)], line_offset
            if end == len(feed.text) and feed.more():
                continue  # a number may go on
            indent = feed.indent()
            text = feed.move_to(end)
            self.opening = self.opening or _opening(text, indent)
            return value, [*self.parser.notes, *_bytes(text)], 0

    def _cut_off(self, error: Exception) -> bool:
        """Return whether the error may come from text that is not read yet."""
        if not isinstance(error, json.JSONDecodeError) or self._too_long():
            return False
        return error.msg.startswith("Unterminated") or error.pos > len(self.feed.text) - 64

    def _too_long(self) -> bool:
        return len(self.feed.text) - self.feed.at > MAX_ROW_BYTES

    def _broken(self, error: Exception) -> Note:
        if self._too_long() and "Unterminated" in str(error):
            return Note("line-too-long")
        note = syntax_note(error, self.feed.text, self.feed.at)
        if isinstance(error, json.JSONDecodeError):
            column = error.pos - self.feed.text.rfind("\n", 0, error.pos)
            note = note._replace(why=f"This is not JSON: {error.msg.lower()} at column {column}.")
        return note

    def _resume_sentence(self, more: bool) -> str:
        """Return a sentence about where reading continues after a broken row."""
        return f"Reading goes on at line {self.feed.line}." if more else "No row that begins as the others do follows."

    def _resume(self) -> bool:
        """Move to the next row that begins like the others; return False if there is none."""
        feed = self.feed
        opening = self.opening or _ANY_OPENING  # no row was read yet
        feed.move_to(min(feed.at + 1, len(feed.text)))
        while True:
            if match := opening.search(feed.text, feed.at):
                feed.move_to(match.start("row"))
                return True
            feed.move_to(max(feed.at, len(feed.text) - 1024))  # an opening may be cut in two
            if not feed.more():
                return False


def _bytes(text: str) -> list[Note]:
    """Return a note if there are lone surrogates: bytes that were not UTF-8."""
    wrong = re.search("[\udc80-\udcff]", text)
    return [Note("encoding", excerpt=excerpt(text, wrong.start()))] if wrong else []


_ANY_OPENING = re.compile(r"(?:[}\]]\s*,|\n)\s*(?P<row>[\[{])")


def _opening(text: str, indent: str | None) -> re.Pattern[str]:
    """Return a pattern of how rows begin: by this indentation, or brackets and first key, or after a comma."""
    if indent is not None:
        return re.compile(r"\n" + re.escape(indent) + r"(?P<row>[\[{])")
    match = re.match(r'(?P<row>[\[{][\s\[{]*)("[^"\\]*")\s*:', text)
    if match:
        brackets = r"\s*".join(re.escape(mark) for mark in match["row"] if not mark.isspace())
        return re.compile(rf"(?P<row>{brackets}\s*{re.escape(match[2])}\s*:)")
    return _ANY_OPENING
