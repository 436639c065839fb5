"""Read rows of tables: CSV and TSV, Parquet and Arrow, and tables in memory."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO

from etabli.core import confined
from etabli.core.errors import Unreadable
from etabli.data.notes import Note, escape_invisible, excerpt
from etabli.data.reading.class_labels import name_classes, read_class_names
from etabli.data.reading.jsonfiles import BROKEN, Record
from etabli.data.reading.opening import MAX_ROW_BYTES, DataFile, decode_line, read_lines
from etabli.data.reading.unpacking import FREE_BYTES, FREE_ROWS
from etabli.data.splits import split_name

if TYPE_CHECKING:
    from pyarrow import RecordBatch

BATCH = 64
TIMES = 200  # a table may hold so many bytes for each byte of its file
BYTES_PER_SECOND = 20e6  # of a table's file, that the confined process decodes on a slow machine


def read_separated(file: DataFile) -> Iterator[Record]:
    """Yield the rows of CSV or TSV; a CSV file's separator is the one that gives the most cells in its first line."""
    csv.field_size_limit(MAX_ROW_BYTES)
    texts = _Texts(file.stream)
    try:
        first = next((text for text in texts if text.strip()), "")
        separator_line = re.fullmatch(r'"?sep=(.)"?\s*', first)  # a spreadsheet's own first line
        first = next(texts, "") if separator_line else first
        delimiter = (
            separator_line[1]
            if separator_line
            else "\t"
            if file.kind == "tsv"
            else max(",;\t|", key=lambda mark: len(_cells(first, mark)))
        )
        header = [cell.strip() for cell in next(csv.reader(chain([first], texts), delimiter=delimiter), [])]
    except TooLong:
        raise Unreadable(
            "line-too-long", f"{file.path}: its first line has more than {MAX_ROW_BYTES // 2**20} MB.", 1
        ) from None
    except csv.Error as error:
        raise Unreadable("bad-csv", f"{file.path}: its header can't be read: {error}.", 1) from None
    _check_names(header, str(file.path), 1)
    reader, row = csv.reader(texts, delimiter=delimiter, strict=True), 0
    while True:
        start = texts.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except TooLong:
            yield Record(row, texts.number, BROKEN, (*texts.take_notes(), Note("line-too-long")))
            row += 1
            continue
        except csv.Error as error:
            yield Record(
                row, start, BROKEN, (*texts.take_notes(), Note("bad-csv", why=f"The quoting is broken: {error}."))
            )
            row += 1
            continue
        if cells:
            yield _separated_record(row, start, header, cells, texts.take_notes())
            row += 1


def _separated_record(row: int, line: int, header: list[str], cells: list[str], notes: list[Note]) -> Record:
    if len(cells) == len(header):
        return Record(row, line, dict(zip(header, cells)), tuple(notes))
    why = f"The row has {len(cells)} cells and the header {len(header)}: cells have shifted."
    cells_text = excerpt(" | ".join(cells))
    return Record(row, line, BROKEN, (*notes, Note("ragged-row", excerpt=cells_text, why=why)))


class TooLong(Exception):
    """A line has more than ``MAX_ROW_BYTES`` bytes."""


class _Texts:
    """An iterator over lines of text that counts them and collects their notes until ``take_notes``."""

    def __init__(self, stream: BinaryIO):
        self.inner, self.number = read_lines(stream), 0
        self.notes: list[Note] = []

    def __iter__(self) -> "_Texts":
        return self

    def __next__(self) -> str:
        self.number, line = next(self.inner)
        if line is None:
            raise TooLong
        text, notes = decode_line(line)
        self.notes += notes
        return text

    def take_notes(self) -> list[Note]:
        notes, self.notes = self.notes, []
        return notes


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]


def _check_names(names: Iterable[object], source: str, line: int | None = None) -> None:
    twice = [str(name) for name, count in Counter(names).items() if count > 1]
    if twice:
        raise Unreadable("duplicate-column", f"{source} has two columns called {escape_invisible(twice[0])!r}.", line)


def read_columnar(file: DataFile) -> Iterator[Record]:
    """Yield the rows of Parquet or Arrow, after the confined process has decoded the whole file once."""
    import pyarrow as pa

    _require_proportion(file)
    try:
        for row, item in enumerate(_batches(file)):
            yield Record(row, None, without_padding(item))
    except (pa.ArrowException, OSError, ValueError, OverflowError, SystemError) as error:
        reason = escape_invisible((str(error).splitlines() or [type(error).__name__])[0])
        raise Unreadable("unreadable", f"{file.path} can't be read as {file.kind.title()}: {reason}.") from None


def _require_proportion(file: DataFile) -> None:
    """Check a table's decoded size: its header may be false, and a few bytes may stand for a billion values.

    Raises:
        Unreadable: it holds far more than its file's size suggests, or is no such table.
    """
    size = file.path.stat().st_size
    limits = {"bytes": max(FREE_BYTES, TIMES * size), "rows": max(FREE_ROWS, size)}
    seconds = confined.SECONDS + size / BYTES_PER_SECOND
    try:
        with confined.process() as worker:
            worker.ask("measure", str(file.path.absolute()), seconds, jobs=[{"kind": file.kind, "most": limits}])
    except confined.LimitExceeded as error:
        raise Unreadable("out-of-proportion", f"{file.path} could not be read: {error}.") from None
    except confined.ConfinedError as error:
        code, _, why = str(error).rpartition("|")
        raise Unreadable(
            code or "unreadable", f"{file.path} can't be read as {file.kind.title()}: {escape_invisible(why)}."
        ) from None


def _batches(file: DataFile) -> Iterator[dict[str, object]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from etabli.core.confined_tables import text_columns

    if file.kind != "parquet":
        reader = (pa.ipc.open_file if file.kind == "arrow" else pa.ipc.open_stream)(file.stream)
        _check_names(reader.schema.names, str(file.path))
        whole, names = file.kind == "arrow", read_class_names(reader.schema)
        for batch in (reader.get_batch(number) for number in range(reader.num_record_batches)) if whole else reader:
            yield from (name_classes(row, names) for row in _slices(batch))
        return
    table = pq.ParquetFile(file.stream)
    _check_names(table.schema_arrow.names, str(file.path))
    table = pq.ParquetFile(file.stream, read_dictionary=text_columns(table.metadata.schema), buffer_size=2**20)
    names = read_class_names(table.schema_arrow)
    for batch in table.iter_batches(batch_size=BATCH):
        yield from (name_classes(row, names) for row in batch.to_pylist())


def _slices(batch: "RecordBatch") -> Iterator[dict[str, object]]:
    for start in range(0, batch.num_rows, BATCH):
        yield from batch.slice(start, BATCH).to_pylist()


def read_in_memory(source: object) -> tuple[str, Iterator[Record]]:
    """Return name and rows of a pandas frame, an Arrow table, a ``datasets`` data set or an iterable of mappings.

    Raises:
        Unreadable: it is none of these.
    """
    name = type(source).__name__
    if isinstance(source, dict):
        raise Unreadable("unreadable", f"A {name} is no table of rows: pass a list of rows.")
    return name, _numbered_records(_items(source, name), name)


def read_parts(parts: Mapping[str, object], name: str, notes: list[Note]) -> Iterator[Record]:
    """Yield the rows of a data set's parts, each with the split that the name of its part means.

    Parts whose names mean no split are read only where they are the only one; else they are added to ``notes``.

    Raises:
        Unreadable: there are several parts, and none of them is a split.
    """
    splits = {part: split_name(part) for part in parts}
    if len(parts) > 1 and not any(splits.values()):
        raise Unreadable("unreadable", f"This {name} has the parts {', '.join(parts)}: pass one of them.")
    others = [part for part in parts if splits[part] is None] if len(parts) > 1 else []
    if others:
        notes.append(Note("left-out-parts", why=f"Parts that are no split are not read: {', '.join(others)}."))
    row = 0
    for part in (part for part in parts if part not in others):
        for record in _numbered_records(_items(parts[part], name), name):
            yield record._replace(row=row, split=splits[part])
            row += 1


def _numbered_records(items: Iterable[object], name: str) -> Iterator[Record]:
    row = 0
    try:
        for row, item in enumerate(items):
            try:
                yield Record(row, None, to_python(item))
            except RecursionError:
                yield Record(row, None, BROKEN, (Note("too-deep"),))
    except Unreadable:
        raise
    except Exception as error:  # an iterable may raise anything
        raise Unreadable("unreadable", f"The {name} ended with {type(error).__name__}: {error}.") from error


def _items(source: object, name: str) -> Iterable[object]:
    if hasattr(source, "to_dict") and hasattr(source, "columns"):
        return _frame(source)
    if hasattr(source, "to_batches"):
        batches = source.to_batches(max_chunksize=BATCH)
        return (without_padding(item) for batch in batches for item in batch.to_pylist())
    if hasattr(source, "column_names") and isinstance(source, Iterable):  # of datasets, whose rows come from Arrow
        return map(without_padding, source)
    if hasattr(source, "rows") and not callable(source.rows):
        rows: Iterable[object] = source.rows
        return rows
    if isinstance(source, str | bytes) or not isinstance(source, Iterable):
        raise Unreadable(
            "unreadable", f"A {name} is no table of rows: pass a path, a list of rows, a frame or a data set."
        )
    return source


def _frame(frame: Any) -> Iterator[dict[str, object]]:
    """Yield a frame's rows; missing values become None."""
    _check_names(frame.columns, "The frame")
    for start in range(0, len(frame), 1000):
        part = frame.iloc[start : start + 1000].astype(object)
        yield from part.where(part.notna(), None).to_dict("records")


def without_padding(row: dict[str, object]) -> dict[str, object]:
    """Return a row of Arrow without the nulls that it pads into structs: all structs of a column have the same keys."""
    return {name: _without_nulls(value) for name, value in row.items()}


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def to_python(value: object) -> object:
    """Return a value with arrays as lists at every depth, pandas' missing values as None, and keys as text.

    An array that holds structs came from Arrow: the nulls that are padded into them are left out.
    """
    if hasattr(value, "tolist"):
        value = _without_nulls(to_python(value.tolist()))
    if isinstance(value, dict):
        return {str(name): to_python(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_python(inner) for inner in value]
    return None if type(value).__name__ in ("NAType", "NaTType") else value
