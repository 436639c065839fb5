"""Measure a stranger's table by decoding it. It runs in the confined process, which it may fill or crash."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def text_columns(schema: pq.ParquetSchema) -> list[str]:
    """Return the paths of a Parquet schema's texts. Read as dictionaries, a repeated value is in memory once."""
    columns = [schema.column(number) for number in range(len(schema))]
    return [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]


def count_rows(path: str, kind: str, limits: dict[str, int]) -> int:
    """Decode a table, keep nothing of it, and return its number of rows.

    Args:
        kind: ``parquet``, ``arrow`` (a file), or any other name for an Arrow stream; limits: of ``rows`` and ``bytes``.

    Raises:
        ValueError: it holds more.
    """
    rows = size = 0
    if kind == "parquet":
        _require_within(*_footer_size(path), limits)
    for batch in _record_batches(path, kind):
        batch.validate(full=True)  # wrong offsets would crash the process later
        rows += batch.num_rows
        size += sum(map(_expanded_size, batch.columns))
        _require_within(rows, size, limits)
    return rows


def _footer_size(path: str) -> tuple[int, int]:
    """Return rows and bytes as the file's footer states them: quick to read, but it may be false."""
    metadata = pq.ParquetFile(path).metadata
    return metadata.num_rows, sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))


def _require_within(rows: int, size: int, limits: dict[str, int]) -> None:
    if rows > limits["rows"] or size > limits["bytes"]:
        raise ValueError(f"out-of-proportion|it holds more than {limits['rows']:,} rows or {limits['bytes']:,} bytes")


def _record_batches(path: str, kind: str) -> Iterator[pa.RecordBatch]:
    pa.set_cpu_count(1)  # the limit counts the processor time of all threads
    if kind == "parquet":
        texts = text_columns(pq.ParquetFile(path).metadata.schema)
        yield from pq.ParquetFile(path, read_dictionary=texts, buffer_size=2**20).iter_batches(batch_size=64)
    elif kind == "arrow":
        reader = pa.ipc.open_file(path)
        yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        yield from pa.ipc.open_stream(path)


def _expanded_size(column: pa.Array) -> int:
    """Return the bytes of a column with every value written out."""
    kind, pointers = column.type, 8 * len(column)
    if pa.types.is_dictionary(kind):
        if not _is_text(kind.value_type):
            return _expanded_size(column.dictionary_decode())
        return pointers + (pc.sum(pc.take(pc.binary_length(column.dictionary), column.indices)).as_py() or 0)
    if str(kind) in ("string_view", "binary_view"):  # many of them may be views of the same bytes
        return _expanded_size(column.cast(pa.large_binary()))
    if pa.types.is_run_end_encoded(kind):
        return _expanded_size(pc.run_end_decode(column))
    if isinstance(kind, pa.BaseExtensionType):
        return _expanded_size(column.storage)
    if pa.types.is_map(kind):
        return pointers + _expanded_size(column.keys) + _expanded_size(column.items)
    if pa.types.is_nested(kind) and hasattr(column, "flatten"):
        inner = column.flatten()
        return pointers + sum(map(_expanded_size, inner if isinstance(inner, list) else [inner]))
    characters = (pc.sum(pc.binary_length(column)).as_py() or 0) if _is_text(kind) else 0
    return max(int(column.nbytes), pointers, int(characters))


def _is_text(kind: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in tests)
