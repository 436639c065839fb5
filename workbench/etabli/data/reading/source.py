"""Any source of rows, opened the same way: its records, one after another, and how to read them.

A source is a file, an entry of a mapping file, a Hub data set, or a table in memory.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from etabli.core import folders
from etabli.core.contracts import ROWS, Row
from etabli.core.errors import BadData, Unreadable
from etabli.data import licences
from etabli.data.catalogue import CODES
from etabli.data.notes import Note, escaped, excerpt
from etabli.data.parquet_rows import HOME_COMMANDS, read_folder
from etabli.data.reading import formats, hub, mappings, order, tables, texts
from etabli.data.reading.formats import FORMATS
from etabli.data.reading.jsonfiles import BROKEN, Record, json_lines, parsed
from etabli.data.reading.jsonlists import json_values
from etabli.data.reading.layout import Layout
from etabli.data.reading.opening import MOST, is_there, opened
from etabli.data.samples import home_commands

MOST_SHOWN = 10
LONGEST_NAME = 4096  # a path on Linux; longer text is rows pasted by mistake
LOOKED_AT, LOOKED_FOR = 20, 1000  # rows that tell a format, out of the first so many


_EMPTY = frozenset({"empty-answer", "empty-prompt"})
_UNREAD = _EMPTY | {"wrong-type", "missing-key", "not-text", "tool-call"}


@dataclass
class Source:
    """Records that are still to be read, and what is known about them beforehand."""

    name: str
    records: Iterator[Record]
    layout: Layout | None
    notes: list[Note] = field(default_factory=list)
    preview: list[Any] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None


@folders.takes_allow_outside
def read(
    source: Any,
    /,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    **about: str,
) -> list[Row]:
    """Read a source of conversations; a source with any mistake is not half-read.

    Args:
        source: a file (JSONL, JSON, CSV, TSV, Parquet, Arrow, text, Markdown; also in gzip), an entry of a mapping
            file (``dataset_info.json#name``, an axolotl config), a pandas frame, an Arrow table, a data set of
            ``datasets``, a list of mappings, or the name of a Hub data set.
        format: one of ``FORMATS``; by default told by the keys of the first rows. ``preferred`` keeps the preferred
            answers of preference and feedback data.
        columns: the format's name -> the file's, for example ``{"prompt": "question", "completion": "reply"}``.
        about: ``licence``, ``source``, ``terms``, ``generator``, ``lang`` of all rows that do not say it themselves.
        allow_outside: a mapping file may name files that are not beside it.

    Raises:
        BadData: nothing there, an unknown format, or rows with errors: all of them are counted and the first ten
            named with their line. ``etabli data check`` names all.
    """
    opening = open_source(source, format, columns, about)
    layout = layout_of(opening)
    if FORMATS[layout.name].refused:
        code = CODES[FORMATS[layout.name].refused]
        raise BadData(f"{opening.name}: {code.why} {code.fix}")
    rows, problems, count = [], [], 0
    for record in opening.records:
        count += record.row is not None
        row, notes = conversation(parsed(record), layout, opening.about)
        wrong = [note for note in notes if CODES[note.code].severity == "error"]
        problems += [_problem(record, note) for note in wrong]
        if row is not None and not wrong:
            rows.append(row)
    if problems:
        raise _refusal(opening.name, layout, problems, count)
    if not rows:
        raise BadData(f"{opening.name}: of {count} rows none is left to read, since none has a thumb up.")
    return rows


def questions(source: Any, /) -> list[Row] | None:
    """Prompts without answers, to be asked in an evaluation; None if the source is something else.

    Raises:
        BadData: a row without a prompt, with its line.
    """
    opening = open_source(source)
    if layout_of(opening).name != "prompt-only":
        return None
    rows, layout = [], Layout(formats.QUESTIONS)
    for record in map(parsed, opening.records):
        row, notes = (None, list(record.notes)) if record.value is BROKEN else formats.convert(record.value, layout, {})
        wrong = [note for note in notes if CODES[note.code].severity == "error"]
        if wrong or row is None:
            raise BadData(f"{opening.name}: {' '.join(map(str, _problem(record, wrong[0])))}")
        rows.append(row)
    return rows


def conversation(record: Record, layout: Layout, about: Mapping[str, Any]) -> tuple[Row | None, list[Note]]:
    """A parsed record's conversation, and all that is wrong with its form."""
    if record.value is BROKEN:
        return None, list(record.notes)
    try:
        row, notes = formats.convert(record.value, layout, about)
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        why = f"No conversation can be made of this row: {type(error).__name__}: {escaped(str(error))[:100]}."
        return None, [*record.notes, Note("unreadable-row", excerpt=excerpt(record.value), why=why)]
    if row is not None:
        unread = _UNREAD.intersection(note.code for note in notes)  # then an empty turn is no news
        ordered = [note for note in order.check(row["messages"]) if not (unread and note.code in _EMPTY)]
        halves = order.unstorable(row["messages"], row.get("tools"))
        told = any(note.code == "encoding" for note in record.notes)  # half characters are those very bytes
        notes += [*ordered, *(note for note in halves if not (told and note.code == "lone-surrogate"))]
    return row, [*record.notes, *notes]


def _problem(record: Record, note: Note) -> tuple[str, str]:
    place = (
        f"line {record.line}" if record.line is not None else "the file" if record.row is None else f"row {record.row}"
    )
    return place, note.why or f"{note.field + ': ' if note.field else ''}{CODES[note.code].why}"


def _refusal(name: str, layout: Layout, problems: list[tuple[str, str]], count: int) -> BadData:
    shown = "\n  ".join(f"{place}: {why}" for place, why in problems[:MOST_SHOWN])
    more = f"\n  … and {len(problems) - MOST_SHOWN} more" if len(problems) > MOST_SHOWN else ""
    rows = len({place for place, _ in problems})
    return BadData(
        f"{name}: {rows} of {count} rows are not {layout.name}:\n  {shown}{more}\nAll of them: etabli data check {name}"
    )


def open_source(
    source: Any,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Source:
    """Open a source and tell its format; nothing but its first rows is read.

    Raises:
        Unreadable: nothing there, or nothing that can be read as rows; BadData: an unknown format was named.
    """
    if format is not None and format not in FORMATS:
        raise BadData(f"Unknown format {format!r}; known are {', '.join(FORMATS)}.")
    opening = _opened(source)
    opening.records = _to_the_end(opening.records)
    first = _look(opening)
    if first and first[0].row is None:
        raise Unreadable(first[0].notes[0].code, first[0].notes[0].why, first[0].line)
    if not first:
        raise Unreadable("empty-file", f"{opening.name} is empty: there are 0 rows in it.")
    opening.records = chain(first, opening.records)
    _require(columns, opening)
    said = opening.layout
    if format:
        opening.layout = Layout(
            format, columns={**(said.columns if said else {}), **(columns or {})}, tags=said and said.tags
        )
    elif said is None or columns:
        opening.layout = formats.guess(opening.preview, columns)
    opening.about = licences.lineage(opening.name, about or {})
    return opening


def _require(columns: Mapping[str, str] | None, opening: Source) -> None:
    """Columns that are named have to be there."""
    if columns is not None and not (isinstance(columns, Mapping) and all(isinstance(v, str) for v in columns.values())):
        raise BadData("columns maps the format's names to the file's, as in {'prompt': 'question'}.")
    for theirs in (columns or {}).values() if opening.preview else ():
        if not any(isinstance(item, Mapping) and theirs in item for item in opening.preview):
            raise BadData(f"{opening.name} has no column {escaped(theirs)!r} in its first rows.")


def _to_the_end(records: Iterator[Record]) -> Iterator[Record]:
    """The records; if reading ends before the source does, the last one, without a row, says why."""
    try:
        yield from records
    except Unreadable as error:
        why = f"{error} What comes after was not read."
        yield Record(None, error.line, BROKEN, (Note(error.code, why=escaped(why)),))


def _look(opening: Source) -> list[Record]:
    """The first records, until enough of them can be read; they are the preview."""
    first: list[Record] = []
    size = 0
    for record in islice(opening.records, LOOKED_FOR):
        first.append(record)
        size += len(record.value) if isinstance(record.value, bytes) else 0
        if (value := parsed(record).value) is not BROKEN:
            opening.preview.append(value)
        if len(opening.preview) == LOOKED_AT or size > MOST:
            break
    return first


def layout_of(opening: Source) -> Layout:
    """The source's layout.

    Raises:
        Unreadable: not one of its first rows can be parsed, or its columns fit no format.
    """
    if not opening.preview:
        record = parsed(next(opening.records))
        said = "; ".join(note.why or CODES[note.code].why for note in record.notes)
        raise Unreadable(
            record.notes[0].code, f"{opening.name}: no row can be read. Line {record.line}: {said}", record.line
        )
    if opening.layout is None:
        every = ", ".join(
            f"{name} ({', '.join(kind.keys)})" for name, kind in FORMATS.items() if kind.keys and not kind.refused
        )
        first = opening.preview[0]
        had = ", ".join(map(str, first)) if isinstance(first, Mapping) else type(first).__name__
        raise Unreadable(
            "unknown-format",
            f"{opening.name}: can't tell the format from the keys {escaped(had[:200])}. Known: {every}. "
            "Name the columns with columns={'prompt': 'question', ...} or --column prompt=question.",
        )
    return opening.layout


def _opened(source: Any) -> Source:
    if not isinstance(source, str | Path) or len(str(source)) > LONGEST_NAME:
        name, records = tables.in_memory(source)
        return Source(name, records, None)
    if str(source) == HOME_COMMANDS:
        return Source(HOME_COMMANDS, tables.in_memory(home_commands())[1], None)
    if is_there(Path(source) / ROWS):
        return Source(str(source), tables.in_memory(read_folder(Path(source))[0])[1], None)
    entry = mappings.mapped(source)
    target = entry.target if entry else str(source)
    opening = Source(target, hub.records(target), None) if hub.on_the_hub(target) else _file(Path(target))
    opening.layout = entry.layout if entry else None
    return opening


def _file(path: Path) -> Source:
    file = opened(path)
    if file.kind in ("csv", "tsv"):
        records = tables.separated(file)
    elif file.kind in ("parquet", "arrow", "arrow-stream"):
        records = tables.columnar(file)
    elif file.kind in ("text", "markdown"):
        records = texts.stretches(file.stream, file.kind)
    else:
        records = (json_lines if file.kind == "jsonl" else json_values)(file.stream)
    return Source(str(path), records, None, file.notes, path=path)
