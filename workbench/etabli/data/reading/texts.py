"""Plain text and Markdown: each paragraph or section is a row of text to go on with, not a conversation.

Paragraphs lie between blank lines; in a text that begins without any, each line is one.
"""

import io
import re
from collections.abc import Iterator

from etabli.data.notes import Note
from etabli.data.reading.jsonfiles import BROKEN, Record
from etabli.data.reading.opening import MOST, decoded, lines
from etabli.data.reading.unpacking import PEEK

_BLANK_LINE = re.compile(rb"\n[ \t\r]*\n")
_HEADING = re.compile(r"#{1,6}\s")


def stretches(stream: io.BufferedReader, kind: str) -> Iterator[Record]:
    """Paragraphs of a text, between blank lines; sections of Markdown, each with its heading. As ``{"text": ...}``."""
    row, start, held, notes, size = 0, 1, [], [], 0
    for number, text, new, found in _cut(stream, kind):
        if text is None:
            if "".join(held).strip():
                yield _stretch(row, start, held, notes, size)
                row += 1
            yield Record(row, number, BROKEN, (Note("line-too-long"),))
            row, held, notes, size = row + 1, [], [], 0
            continue
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


def _cut(stream: io.BufferedReader, kind: str) -> Iterator[tuple[int, str | None, bool, list[Note]]]:
    """(line, text or None if it is too long, does a new stretch begin here?, notes)."""
    fenced, after_blank = False, False
    by_line = kind == "text" and not _BLANK_LINE.search(stream.peek(PEEK)[:PEEK])
    for number, line in lines(stream):
        if line is None:
            yield number, None, False, []
            continue
        text, notes = decoded(line)
        if kind == "markdown":
            fenced ^= text.lstrip().startswith("```")
            new = not fenced and bool(_HEADING.match(text))
        else:
            new = (after_blank or by_line) and bool(text.strip())
            after_blank = not text.strip()
        yield number, text, new, notes
