"""Archives and tables that unpack to too much, or lead outside."""

import gzip
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

from strangers.folders import hostile, remove


def _rows(name: str, make: Callable[[Path, Path], object]) -> None:
    @hostile(f"rows in {name}", "data check", "data rows")
    def spoil(folder: Path) -> None:
        remove(folder / "home" / "rows.jsonl")
        make(folder, folder / "home" / "rows.jsonl")


def _line() -> bytes:
    return (
        json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}).encode()
        + b"\n"
    )


def _gzip(body: bytes, times: int) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=6) as file:
        for _ in range(times):
            file.write(body)
    return out.getvalue()


def _zip(path: Path, name: str, body: bytes, times: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w", force_zip64=True) as file:
        for _ in range(times):
            file.write(body)


def _parquet(folder: Path, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"prompt": pa.array(["a" * 20]).take(pa.array([0] * 400_000)), "completion": ["b"] * 400_000})
    with pq.ParquetWriter(path, table.schema, compression="zstd", use_dictionary=True) as writer:
        for _ in range(25):
            writer.write_table(table)


def _outside_zip(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../outside/made.jsonl", _line())
        archive.writestr("/outside/made.jsonl", _line())


def _linked_zip(folder: Path, path: Path) -> None:
    entry = zipfile.ZipInfo("rows.jsonl")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, str(folder / "outside" / "rows.jsonl"))


_rows("a gzip bomb", lambda folder, path: path.write_bytes(_gzip(b"\0" * 2**20, 256)))
_rows("a gzip bomb of rows", lambda folder, path: path.write_bytes(_gzip(_line() * 4096, 1000)))
_rows("a gzip within a gzip", lambda folder, path: path.write_bytes(_gzip(_gzip(b" " * 2**20, 256), 1)))
_rows("a zip bomb", lambda folder, path: _zip(path, "rows.jsonl", b" " * 2**20, 512))
_rows("a zip bomb of rows", lambda folder, path: _zip(path, "rows.jsonl", _line() * 4096, 1000))
_rows("a zip that leads outside", _outside_zip)
_rows("a zip of a link", _linked_zip)
_rows("a Parquet bomb", _parquet)
_rows(
    "forged Parquet",
    lambda folder, path: path.write_bytes(b"PAR1" + b"\xff" * 64 + struct.pack("<i", 2**31 - 1) + b"PAR1"),
)
_rows(
    "forged Arrow",
    lambda folder, path: path.write_bytes(b"ARROW1\0\0" + b"\xff\xff\xff\x7f" * 16 + b"ARROW1"),
)
_rows("one line without an end", lambda folder, path: path.write_bytes(b'{"prompt": "' + b"a" * 2**28))
_rows("many columns", lambda folder, path: path.write_bytes(b"," * 2**22 + b"\n" + b"a," * 2**20))
