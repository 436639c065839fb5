"""Plain text and Markdown: each paragraph or section is a row of text to go on with, not a conversation."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from etabli.data.notes import Note
from etabli.data.reading.jsonfiles import BROKEN, Record
from etabli.data.reading.opening import MOST, decoded, lines

_HEADING = re.compile(r"#{1,6}\s")


def stretches(stream: BinaryIO, kind: str) -> Iterator[Record]:
    """Paragraphs of a text, between blank lines; sections of Markdown, each with its heading. As ``{"text": ...}``."""
    row, start, held, notes, size = 0, 1, [], [], 0
    for number, text, new, found in _cut(stream, kind):
        if (new and "".join(held).strip()) or size > MOST:
            yield _stretch(row, start, held, notes, size)
            row, held, notes, size = row + 1, [], [], 0
        if not held and not text.strip():
            continue
        start = start if held else number
        held.append(text)
        notes += found
        size += len(text)
    if "".join(held).strip():
        yield _stretch(row, start, held, notes, size)


def _stretch(row: int, line: int, held: list[str], notes: list[Note], size: int) -> Record:
    if size > MOST:
        return Record(row, line, BROKEN, (*notes, Note("line-too-long")))
    return Record(row, line, {"text": "".join(held).strip("\r\n")}, tuple(notes))


def _cut(stream: BinaryIO, kind: str) -> Iterator[tuple[int, str, bool, list[Note]]]:
    """(line, text, does a new stretch begin here?, notes)."""
    fenced, after_blank = False, False
    for number, line in lines(stream):
        text, notes = decoded(line) if line is not None else ("\n", [Note("line-too-long")])
        if kind == "markdown":
            fenced ^= text.lstrip().startswith("```")
            new = not fenced and bool(_HEADING.match(text))
        else:
            new = after_blank and bool(text.strip())
            after_blank = not text.strip()
        yield number, text, new, notes
