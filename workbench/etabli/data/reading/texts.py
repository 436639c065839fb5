"""Read plain text and Markdown: each paragraph or section is a row of plain text, not a conversation.

Blank lines separate paragraphs; in a text that begins without any, each line is a paragraph.
"""

import io
import re
from collections.abc import Iterator

from etabli.data.notes import Note
from etabli.data.reading.jsonfiles import BROKEN, Record
from etabli.data.reading.opening import MAX_ROW_BYTES, decode_line, read_lines
from etabli.data.reading.unpacking import PEEK

_BLANK_LINE = re.compile(rb"\n[ \t\r]*\n")
_HEADING = re.compile(r"#{1,6}\s")


def read_passages(stream: io.BufferedReader, kind: str) -> Iterator[Record]:
    """Yield the paragraphs of a text, or the sections of Markdown with their headings, as ``{"text": ...}``."""
    passage: list[str] = []
    notes: list[Note] = []
    row, start, size = 0, 1, 0
    for number, text, new, line_notes in _cut_lines(stream, kind):
        if text is None:
            if "".join(passage).strip():
                yield _stretch(row, start, passage, notes, size)
                row += 1
            yield Record(row, number, BROKEN, (Note("line-too-long"),))
            row, passage, notes, size = row + 1, [], [], 0
            continue
        if (new and "".join(passage).strip()) or size > MAX_ROW_BYTES:
            yield _stretch(row, start, passage, notes, size)
            row, passage, notes, size = row + 1, [], [], 0
        if not passage and not text.strip():
            continue
        start = start if passage else number
        passage.append(text)
        notes += line_notes
        size += len(text)
    if "".join(passage).strip():
        yield _stretch(row, start, passage, notes, size)


def _stretch(row: int, line: int, passage: list[str], notes: list[Note], size: int) -> Record:
    if size > MAX_ROW_BYTES:
        return Record(row, line, BROKEN, (*notes, Note("line-too-long")))
    return Record(row, line, {"text": "".join(passage).strip("\r\n")}, tuple(notes))


def _cut_lines(stream: io.BufferedReader, kind: str) -> Iterator[tuple[int, str | None, bool, list[Note]]]:
    """Yield (line, text or None if it is too long, whether a new passage begins here, notes)."""
    in_code, after_blank = False, False
    by_line = kind == "text" and not _BLANK_LINE.search(stream.peek(PEEK)[:PEEK])
    for number, line in read_lines(stream):
        if line is None:
            yield number, None, False, []
            continue
        text, notes = decode_line(line)
        if kind == "markdown":
            in_code ^= text.lstrip().startswith("```")
            new = not in_code and bool(_HEADING.match(text))
        else:
            new = (after_blank or by_line) and bool(text.strip())
            after_blank = not text.strip()
        yield number, text, new, notes
