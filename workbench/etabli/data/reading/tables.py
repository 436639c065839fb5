"""Rows out of tables: CSV and TSV, Parquet and Arrow, and tables that are in memory already."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, BinaryIO

from etabli.core import confined
from etabli.core.confined_worker import texts_of
from etabli.core.errors import Unreadable
from etabli.data.notes import Note, escaped, excerpt
from etabli.data.reading.jsonfiles import BROKEN, Record
from etabli.data.reading.opening import MOST, Opened, decoded, lines
from etabli.data.reading.unpacking import ROWS, UNPACKED

BATCH = 64
TIMES = 200  # bytes that a table may hold for each byte of its file
BYTES_PER_SECOND = 20e6  # of a table's file, that the confined process decodes on a slow machine


def separated(file: Opened) -> Iterator[Record]:
    """CSV or TSV. The separator of a CSV file is the one that cuts its first line into most cells."""
    csv.field_size_limit(MOST)
    texts = _Texts(file.stream)
    try:
        first = next((text for text in texts if text.strip()), "")
        said = re.fullmatch(r'"?sep=(.)"?\s*', first)  # a spreadsheet's own first line
        first = next(texts, "") if said else first
        delimiter = (
            said[1] if said else "\t" if file.kind == "tsv" else max(",;\t|", key=lambda mark: len(_cells(first, mark)))
        )
        header = [cell.strip() for cell in next(csv.reader(chain([first], texts), delimiter=delimiter), [])]
    except TooLong:
        raise Unreadable("line-too-long", f"{file.path}: its first line has more than {MOST // 2**20} MB.", 1) from None
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
            yield Record(row, texts.number, BROKEN, (*texts.taken(), Note("line-too-long")))
            row += 1
            continue
        except csv.Error as error:
            yield Record(row, start, BROKEN, (*texts.taken(), Note("bad-csv", why=f"The quoting is broken: {error}.")))
            row += 1
            continue
        if cells:
            yield _separated(row, start, header, cells, texts.taken())
            row += 1


def _separated(row: int, line: int, header: list[str], cells: list[str], notes: list[Note]) -> Record:
    if len(cells) == len(header):
        return Record(row, line, dict(zip(header, cells)), tuple(notes))
    why = f"The row has {len(cells)} cells and the header {len(header)}: cells have shifted."
    said = excerpt(" | ".join(cells))
    return Record(row, line, BROKEN, (*notes, Note("ragged-row", excerpt=said, why=why)))


class TooLong(Exception):
    """A line that is no row."""


class _Texts:
    """Lines as text, counted; what was noticed about them is kept until it is asked for."""

    def __init__(self, stream: BinaryIO):
        self.inner, self.number, self.notes = lines(stream), 0, []

    def __iter__(self) -> "_Texts":
        return self

    def __next__(self) -> str:
        self.number, line = next(self.inner)
        if line is None:
            raise TooLong
        text, notes = decoded(line)
        self.notes += notes
        return text

    def taken(self) -> list[Note]:
        notes, self.notes = self.notes, []
        return notes


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]


def _check_names(names: Iterable[Any], source: str, line: int | None = None) -> None:
    twice = [str(name) for name, count in Counter(names).items() if count > 1]
    if twice:
        raise Unreadable("duplicate-column", f"{source} has two columns called {escaped(twice[0])!r}.", line)


def columnar(file: Opened) -> Iterator[Record]:
    """Parquet or Arrow, some rows at a time, after the confined process has read all of it once."""
    import pyarrow as pa

    _require_proportion(file)
    try:
        for row, item in enumerate(_batches(file)):
            yield Record(row, None, item)
    except (pa.ArrowException, OSError, ValueError, OverflowError, SystemError) as error:
        said = escaped((str(error).splitlines() or [type(error).__name__])[0])
        raise Unreadable("unreadable", f"{file.path} can't be read as {file.kind.title()}: {said}.") from None


def _require_proportion(file: Opened) -> None:
    """Sizes in a table's header may be false, and a few bytes may stand for a billion values: decode, and count.

    Raises:
        Unreadable: it holds more than its size can honestly hold, or is no such table.
    """
    size = file.path.stat().st_size
    most = {"bytes": max(UNPACKED, TIMES * size), "rows": max(ROWS, size)}
    seconds = confined.SECONDS + size / BYTES_PER_SECOND
    try:
        job = {"kind": file.kind, "most": most}
        confined.ask("measure", str(file.path.absolute()), seconds, jobs=[job])
    except confined.Ended as error:
        raise Unreadable("out-of-proportion", f"{file.path} could not be read: {error}.") from None
    except confined.Refused as error:
        code, _, why = str(error).rpartition("|")
        raise Unreadable(
            code or "unreadable", f"{file.path} can't be read as {file.kind.title()}: {escaped(why)}."
        ) from None


def _batches(file: Opened) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.kind != "parquet":
        reader = (pa.ipc.open_file if file.kind == "arrow" else pa.ipc.open_stream)(file.stream)
        _check_names(reader.schema.names, str(file.path))
        whole = file.kind == "arrow"
        for batch in (reader.get_batch(at) for at in range(reader.num_record_batches)) if whole else reader:
            yield from _sliced(batch)
        return
    table = pq.ParquetFile(file.stream)
    _check_names(table.schema_arrow.names, str(file.path))
    table = pq.ParquetFile(file.stream, read_dictionary=texts_of(table.metadata.schema), buffer_size=2**20)
    for batch in table.iter_batches(batch_size=BATCH):
        yield from batch.to_pylist()


def _sliced(batch: Any) -> Iterator[dict[str, Any]]:
    for start in range(0, batch.num_rows, BATCH):
        yield from batch.slice(start, BATCH).to_pylist()


def in_memory(source: Any) -> tuple[str, Iterator[Record]]:
    """A pandas frame, an Arrow table, a data set of ``datasets``, or any iterable of mappings; and what it is called.

    Of a ``DatasetDict`` the part ``train`` is taken, or its only one.

    Raises:
        Unreadable: it is none of these.
    """
    name = type(source).__name__
    if isinstance(source, dict):
        if not source or not all(hasattr(part, "column_names") for part in source.values()):
            raise Unreadable("unreadable", f"A {name} is no table of rows: pass a list of rows.")
        part = "train" if "train" in source else next(iter(source))
        if part != "train" and len(source) > 1:
            raise Unreadable("unreadable", f"This {name} has the parts {', '.join(source)}: pass one of them.")
        return f"{name}[{part!r}]", in_memory(source[part])[1]
    return name, _counted(_items(source, name), name)


def _counted(items: Iterable[Any], name: str) -> Iterator[Record]:
    row = 0
    try:
        for row, item in enumerate(items):
            try:
                yield Record(row, None, plain(item))
            except RecursionError:
                yield Record(row, None, BROKEN, (Note("too-deep"),))
    except Unreadable:
        raise
    except Exception as error:  # an iterable may raise anything
        raise Unreadable("unreadable", f"The {name} ended with {type(error).__name__}: {error}.") from error


def _items(source: Any, name: str) -> Iterable[Any]:
    if hasattr(source, "to_dict") and hasattr(source, "columns"):
        return _frame(source)
    if hasattr(source, "to_batches"):
        return (item for batch in source.to_batches(max_chunksize=BATCH) for item in batch.to_pylist())
    if hasattr(source, "rows") and not callable(source.rows):
        return source.rows
    if isinstance(source, str | bytes) or not isinstance(source, Iterable):
        raise Unreadable(
            "unreadable", f"A {name} is no table of rows: pass a path, a list of rows, a frame or a data set."
        )
    return source


def _frame(frame: Any) -> Iterator[dict[str, Any]]:
    """A frame's rows; what pandas calls missing is None, arrays are lists."""
    _check_names(frame.columns, "The frame")
    for start in range(0, len(frame), 1000):
        part = frame.iloc[start : start + 1000].astype(object)
        yield from part.where(part.notna(), None).to_dict("records")


def plain(value: Any) -> Any:
    """Arrays and their numbers as Python has them, however deep; what pandas calls missing is None; keys are text."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return None if type(value).__name__ in ("NAType", "NaTType") else value
