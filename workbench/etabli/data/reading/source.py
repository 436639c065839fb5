"""Open any source of rows and read its records as conversations.

A source is a file, an entry of a mapping file, a Hub data set, or a table in memory.
"""

import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import PurePath

from etabli.core import folders
from etabli.core.contracts import Row
from etabli.core.errors import BadData, BadRows, Unreadable
from etabli.core.progress import show_progress
from etabli.core.wording import choose_form, count_of
from etabli.data import licences
from etabli.data.catalogue import CODES
from etabli.data.notes import Note, escape_invisible, excerpt
from etabli.data.reading import columns as column_names
from etabli.data.reading import containers, exports, formats, order
from etabli.data.reading.formats import FORMATS
from etabli.data.reading.jsonfiles import BROKEN, Record, parse_record
from etabli.data.reading.layout import Layout
from etabli.data.reading.mapped_names import note_missing_names
from etabli.data.reading.opening import MAX_ROW_BYTES
from etabli.data.reading.outcome import Outcome
from etabli.data.reading.paths import has_value
from etabli.data.reading.records import Records, open_records
from etabli.data.reading.states import STATUS

MOST_SHOWN = 10
LOOKED_AT, LOOKED_FOR = 20, 1000  # a format is detected from so many readable rows among the first so many


_EMPTY = frozenset({"empty-answer", "empty-prompt"})
_NOT_UTF_8 = "not UTF-8"  # in what is said of such bytes
_UNREAD = _EMPTY | {"wrong-type", "missing-key", "not-text", "tool-call"}


@dataclass
class Source(Records):
    """An open source with its first rows, as ``exports.flatten`` gives them, and its lineage."""

    preview: list[object] = field(default_factory=list)
    about: dict[str, object] = field(default_factory=dict)


@folders.add_allow_outside
@show_progress("reading rows")
def read(
    source: object,
    /,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    without: Collection[int] = (),
    **lineage: str,
) -> list[Row]:
    """Return the conversations of a source; if any row has an error, nothing is returned.

    Args:
        source: a file (JSONL, JSON, CSV, TSV, Parquet, Arrow, text, Markdown; also in gzip), a folder or a glob of
            such files, an entry of a mapping file (``dataset_info.json#name``, an axolotl config), a pandas frame, an
            Arrow table, a data set of ``datasets``, a list of mappings, or the name of a Hub data set. A configuration
            of a folder or a Hub data set follows a number sign: ``owner/name#french``.
        format: one of ``FORMATS``; by default told by the keys of the first rows. ``preferred`` keeps the preferred
            answers of preference and feedback data.
        columns: the format's name -> the file's, for example ``{"prompt": "question", "completion": "reply"}``.
        without: numbers of rows to leave out, counted from 0, as in the findings of a check.
        lineage: ``licence``, ``source``, ``terms``, ``generator``, ``lang`` of all rows that do not have their own.
        allow_outside: a mapping file may name files that are not beside it.

    Raises:
        BadData: there is no such source, its format is unknown, or rows have errors: they are counted and the first
            ten named with their line. ``etabli data check`` names all.
    """
    return read_with_notes(source, format, columns, lineage, without).rows


def read_with_notes(
    source: object,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    lineage: Mapping[str, str] | None = None,
    without: Collection[int] = (),
) -> Outcome:
    """Return what ``read`` returns, with counts of what was left out, not used or doubtful."""
    opening = open_source(source, format, columns, lineage)
    layout = require_layout(opening)
    if FORMATS[layout.name].refused:
        raise BadData(f"{opening.name}: {_refusal_reason(layout, opening)}")
    outcome, problems, count = Outcome(), [], 0
    for record in opening.records:
        if record.row in without:
            continue
        count += record.row is not None
        row, notes = read_conversation(parse_record(record), layout, opening.about)
        wrong = [note for note in notes if CODES[note.code].severity == "error"]
        problems += [_problem(record, note) for note in wrong]
        if not wrong:
            outcome.add(row, notes)
    if problems:
        raise _refusal(opening.name, layout, problems, count)
    if not outcome.rows:
        raise BadData(
            f"{opening.name}: of {count_of(count, 'row')} none is left to read: "
            "all were rejected, or none has a thumb up."
        )
    outcome.add_source_notes(opening.notes)  # more notes come while files are read
    return outcome


def read_questions(source: object, /, columns: Mapping[str, str] | None = None) -> list[Row] | None:
    """Return prompts without answers, for an evaluation; None if the source is something else.

    Raises:
        BadData: a row without a prompt, with its line.
    """
    opening = open_source(source, columns=columns)
    if require_layout(opening).name != "prompt-only":
        return None
    rows, layout = [], Layout(formats.QUESTIONS, columns=columns or {})
    for record in map(parse_record, opening.records):
        row, notes = (
            (None, list(record.notes)) if record.value is BROKEN else formats.convert_row(record.value, layout, {})
        )
        wrong = [note for note in notes if CODES[note.code].severity == "error"]
        if wrong:
            raise BadData(f"{opening.name}: {' '.join(map(str, _problem(record, wrong[0])))}")
        if row is not None:
            rows.append(row)
    return rows


def read_conversation(record: Record, layout: Layout, lineage: Mapping[str, object]) -> tuple[Row | None, list[Note]]:
    """Return a parsed record's conversation (None if it can't be read), and all notes about its form."""
    if record.value is BROKEN:
        return None, list(record.notes)
    try:
        row, notes = formats.convert_row(record.value, layout, lineage)
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        why = f"No conversation can be made of this row: {type(error).__name__}: {escape_invisible(str(error))[:100]}."
        return None, [*record.notes, Note("unreadable-row", excerpt=excerpt(record.value), why=why)]
    if layout.columns.get("split") == column_names.NO_COLUMN:
        record = record._replace(notes=tuple(note for note in record.notes if note.code != "split-file"))
    if row is not None:
        unread = _UNREAD.intersection(note.code for note in notes)  # an empty turn is then a consequence
        order_notes = [note for note in order.check_order(row["messages"]) if not (unread and note.code in _EMPTY)]
        halves = order.unstorable_characters(row["messages"], row.get("tools"))
        has_encoding_note = any(
            note.code == "encoding" for note in record.notes
        )  # lone surrogates are then those bytes
        notes += [*order_notes, *(note for note in halves if not (has_encoding_note and note.code == "lone-surrogate"))]
    return row, [*record.notes, *notes]


def _refusal_reason(layout: Layout, opening: Source) -> str:
    """Return why the rows of a format are not read, and what to do."""
    code = FORMATS[layout.name].refused
    return column_names.refusal(code, opening.preview) or f"{CODES[code].why} {CODES[code].fix}"


def _problem(record: Record, note: Note) -> tuple[str, str]:
    place = (
        f"line {record.line}" if record.line is not None else "the file" if record.row is None else f"row {record.row}"
    )
    place = f"{record.file}, {place}" if record.file else place
    return place, note.why or f"{note.field + ': ' if note.field else ''}{CODES[note.code].why}"


def _shorten(problems: list[tuple[str, str]], name: str) -> list[tuple[str, str]]:
    """Return the problems with those about the file's encoding as one: they have one cause and one mend."""
    encoding = [problem for problem in problems if _NOT_UTF_8 in problem[1]]
    if len(encoding) < 2:
        return problems
    place, why = encoding[0]
    command = f"iconv -f WINDOWS-1252 -t UTF-8 {shlex.quote(name)} > new-{shlex.quote(PurePath(name).name)}"
    first = (place, f"{why} So do {len(encoding) - 1} more. If it comes from Windows: {command}")
    return [first, *(problem for problem in problems if problem not in encoding)]


def _refusal(name: str, layout: Layout, problems: list[tuple[str, str]], count: int) -> BadRows:
    shown_problems = _shorten(problems, name)
    examples = "\n  ".join(f"{place}: {why}" for place, why in shown_problems[:MOST_SHOWN])
    more = f"\n  … and {len(shown_problems) - MOST_SHOWN} more" if len(shown_problems) > MOST_SHOWN else ""
    rows = len({place for place, _ in problems})
    options = "".join(f" --column {shlex.quote(f'{new}={old}')}" for new, old in layout.columns.items())
    return BadRows(
        f"{name}: {rows} of {count_of(count, 'row')} {choose_form(rows, 'is', 'are')} not {layout.name}:"
        f"\n  {examples}{more}\n"
        f"All of them: etabli data check {shlex.quote(name)}{options}"
    )


def open_source(
    source: object,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    lineage: Mapping[str, object] | None = None,
) -> Source:
    """Open a source and detect its format from its first rows.

    Raises:
        Unreadable: there is no such source, or it has no rows that can be read.
        BadData: ``format`` is unknown.
    """
    if format is not None and format not in FORMATS:
        raise BadData(f"Unknown format {format!r}; known are {', '.join(FORMATS)}.")
    opening = Source(**vars(open_records(source)))
    opening.records = _to_the_end(opening.records)
    first = _look(opening)
    if first and first[0].row is None:
        raise Unreadable(first[0].notes[0].code, first[0].notes[0].why, first[0].line)
    if not first:
        raise Unreadable("empty-file", f"{opening.name} is empty: there are 0 rows in it.")
    entry_layout = opening.layout
    first = _unfold(first, opening, {**(entry_layout.columns if entry_layout else {}), **(columns or {})})
    opening.records = chain(first, opening.records)
    _require(columns, opening)
    if entry_layout and (format or columns):
        name, reason = (format, Layout.reason) if format else (entry_layout.name, entry_layout.reason)
        merged_columns = {**entry_layout.columns, **(columns or {})}
        opening.layout = replace(entry_layout, name=name, reason=reason, columns=merged_columns)
    elif format:
        opening.layout = Layout(format, columns=dict(columns or {}))
    elif entry_layout is None:
        opening.layout = formats.guess_layout(opening.preview, columns)
    if entry_layout:
        opening.notes += note_missing_names(entry_layout, opening.preview)
    if opening.layout:
        opening.layout = formats.add_what_rows_tell(opening.layout, opening.preview)
    column_names.require_names(columns or {}, formats.known_names(opening.layout), opening.name)
    opening.about = licences.lineage_of(opening.name, {**opening.about, **(lineage or {})})
    return opening


def _require(columns: Mapping[str, str] | None, opening: Source) -> None:
    """Check that the named columns exist."""
    if columns is not None and not (isinstance(columns, Mapping) and all(isinstance(v, str) for v in columns.values())):
        raise BadData("columns maps the format's names to the file's, as in {'prompt': 'question'}.")
    for ours, theirs in (columns or {}).items() if opening.preview else ():
        if theirs == column_names.NO_COLUMN and ours in ("split", STATUS):
            continue
        if not any(isinstance(item, Mapping) and has_value(item, theirs) for item in opening.preview):
            raise BadData(f"{opening.name} has no column {escape_invisible(theirs)!r} in its first rows.")


def _to_the_end(records: Iterator[Record]) -> Iterator[Record]:
    """Yield the records; if reading fails midway, a last record without a row has the reason."""
    try:
        yield from records
    except Unreadable as error:
        why = f"{error} What comes after was not read."
        yield Record(None, error.line, BROKEN, (Note(error.code, why=escape_invisible(why)),))


def _look(opening: Source) -> list[Record]:
    """Return the first records until enough of them can be parsed; the parsed values are the preview."""
    first: list[Record] = []
    size = 0
    for record in islice(opening.records, LOOKED_FOR):
        first.append(record)
        size += len(record.value) if isinstance(record.value, bytes) else 0
        value = parse_record(record).value
        if value is not BROKEN and ((row := exports.flatten(value)[0]) is not None or value is None):
            opening.preview.append(row)
        if len(opening.preview) == LOOKED_AT or size > MAX_ROW_BYTES:
            break
    return first


def _unfold(first: list[Record], opening: Source, columns: Mapping[str, str]) -> list[Record]:
    """Return the first records; where one object is all that a file holds, those of the rows within it."""
    if len(first) > 1:
        return first
    record = parse_record(first[0])
    unfolded = containers.unfold(record.value, lambda value: formats.is_row(value, columns))
    if unfolded is None:
        return first
    opening.notes.append(Note("unfolded", why=unfolded.why))
    if unfolded.cut:
        why = f"{count_of(unfolded.cut, 'row is', 'rows are')} left out: the data server cut cells (truncated_cells)."
        opening.notes.append(Note("left-out-parts", why=why))
    opening.about |= unfolded.facts
    opening.records = (
        Record(row, record.line, value, (), record.file, split or record.split)
        for row, (value, split) in enumerate(unfolded.rows)
    )
    opening.preview.clear()
    return _look(opening)


def require_layout(opening: Source) -> Layout:
    """Return the source's layout.

    Raises:
        Unreadable: none of its first rows can be parsed, or its columns fit no format.
    """
    if not opening.preview:
        record = parse_record(next(opening.records))
        if not record.notes:
            raise Unreadable("unreadable", f"{opening.name}: its first rows were all rejected by annotators.")
        reasons = "; ".join(note.why or CODES[note.code].why for note in record.notes)
        raise Unreadable(
            record.notes[0].code, f"{opening.name}: no row can be read. Line {record.line}: {reasons}", record.line
        )
    if opening.layout is None:
        every = ", ".join(
            f"{name} ({', '.join(kind.keys)})" for name, kind in FORMATS.items() if kind.keys and not kind.refused
        )
        first = opening.preview[0]
        keys = ", ".join(map(str, first)) if isinstance(first, Mapping) else type(first).__name__
        command = column_names.command(opening.preview)
        options = command or "--column prompt=question"
        left_out = column_names.name_left_out(opening.preview, options) if command else ""
        raise Unreadable(
            "unknown-format",
            f"{opening.name}: can't tell the format from the keys {escape_invisible(keys[:200])}. Known: {every}. "
            f"Name the columns: {options} (columns={{'prompt': 'question', ...}} in Python).{left_out}",
        )
    return opening.layout
