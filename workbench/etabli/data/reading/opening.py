"""Open a file of rows: compression, archives, byte order marks and encodings are removed as it is read.

The first bytes decide the kind of a file; its name decides only where they do not (CSV, TSV, text, Markdown).
"""

import codecs
import contextlib
import gzip
import io
import json
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from etabli.core import folders
from etabli.core.errors import OutsideFolder, Unreadable
from etabli.core.wording import count_of
from etabli.data.notes import Note, escape_invisible
from etabli.data.reading.unpacking import (
    DAMAGE_ERRORS,
    PEEK,
    LimitedStream,
    Utf8Stream,
    require_no_holes,
    require_proportion,
)

MAX_ROW_BYTES = 16 * 2**20  # a longer row is no conversation, and must not fill the memory

_UNREADABLE_KINDS = {
    b"BZh": "bzip2; unpack it first",
    b"\xfd7zXZ": "xz; unpack it first",
    b"\x28\xb5\x2f\xfd": "Zstandard; unpack it first",
    b"%PDF": "a PDF; take its text out first",
    b"SQLite format 3": "an SQLite database; export a table as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file; export it as CSV",
    b"\x89HDF": "HDF5; export it as Parquet",
    b"\x93NUMPY": "a NumPy array, not text",
    b"\x80\x04": "a pickle, which is never opened: it can run code. Export it as Parquet",
    b"GGUF": "model weights",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
}
_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_TABLES = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv"}
_TEXTS = {".txt": "text", ".text": "text", ".md": "markdown", ".markdown": "markdown"}


@dataclass
class DataFile:
    """A file ready to be read. ``kind``: jsonl, json, csv, tsv, text, markdown, parquet, arrow, arrow-stream.

    ``raw`` is the file on the disk: whoever has read the rows closes it.
    """

    path: Path
    kind: str
    stream: BinaryIO
    notes: list[Note] = field(default_factory=list)
    raw: BinaryIO = field(default_factory=io.BytesIO)


def open_file(path: str | Path) -> DataFile:
    """Open a data file.

    Raises:
        Unreadable: the file does not exist, is empty, or is no kind of file that holds rows.
    """
    path = Path(path)
    if path_exists(path) and not path.is_dir() and not path.is_file():
        raise Unreadable("unreadable", f"{path} is no ordinary file.")  # reading a pipe would wait for ever
    try:
        stream: BinaryIO = path.open("rb", buffering=PEEK)
    except FileNotFoundError:
        raise Unreadable("no-file", f"There is no file {path}.") from None
    except IsADirectoryError:
        raise Unreadable("unreadable", f"{path} is a folder; name a file in it.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = str(getattr(error, "strerror", None) or error).lower()
        raise Unreadable("unreadable", f"{path} can't be read: {reason}.") from None
    with contextlib.ExitStack() as open_files:
        open_files.enter_context(stream)
        require_no_holes(path)
        file = _detect_kind(path, path.name, stream, path.stat().st_size)
        file.raw = stream
        open_files.pop_all()
    return file


def path_exists(path: str | Path) -> bool:
    """Return whether there is such a file or folder; False for a name that no file can have."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def _detect_kind(path: Path, name: str, stream: BinaryIO, size: int) -> DataFile:
    head = stream.read(16)
    stream.seek(0)
    if not head:
        raise Unreadable("empty-file", f"{path} is empty: there are 0 rows in it.")
    if head.startswith(b"\x1f\x8b"):
        require_proportion(gzip.GzipFile(fileobj=stream), path, size)
        stream.seek(0)
        data_file = _text(path, name.removesuffix(".gz"), LimitedStream(gzip.GzipFile(fileobj=stream), path, size))
        data_file.notes += (
            [] if name.endswith((".gz", ".gzip")) else [Note("compressed", why="It is gzip, and is not named so.")]
        )
        return data_file
    if head.startswith(b"PK\x03\x04"):
        return _member(path, stream)
    for magic, kind in ((b"PAR1", "parquet"), (b"ARROW1", "arrow"), (b"\xff\xff\xff\xff", "arrow-stream")):
        if head.startswith(magic):
            return DataFile(path, kind, stream)
    for magic, description in _UNREADABLE_KINDS.items():
        if head.startswith(magic):
            raise Unreadable("unreadable", f"{path} is {description}.")
    return _text(path, name, stream)


def _member(path: Path, stream: BinaryIO) -> DataFile:
    """Open the only data file of a zip archive."""
    try:
        archive = zipfile.ZipFile(stream)
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        if len(names) != 1:
            examples = ", ".join(names[:5])
            unpack_hint = ": unpack it and name the folder"
            sheet = "; export the sheet as CSV" if any(name.startswith("xl/") for name in names) else ""
            raise Unreadable(
                "unreadable",
                f"{path} is a zip archive of {count_of(len(names), 'file')} ({examples}…), "
                f"not of one{sheet or unpack_hint}.",
            )
        member = archive.getinfo(names[0])
        _require_plain_member(path, member)
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Unreadable("unreadable", f"{path} is packed in a way that is not read; pack it as usual (deflate).")
        packed = min(max(1, member.compress_size), path.stat().st_size)  # the size in the archive may be false
        require_proportion(archive.open(names[0]), path, packed)
        data_file = _text(path, names[0], LimitedStream(archive.open(names[0]), path, packed))
    except DAMAGE_ERRORS as error:
        raise Unreadable("unreadable", f"{path} can't be unpacked: {error}.") from None
    if path.suffix != ".zip":
        data_file.notes.append(Note("compressed", why=f"It is a zip archive; {escape_invisible(names[0])} was read."))
    return data_file


def _require_plain_member(path: Path, member: zipfile.ZipInfo) -> None:
    """An ordinary file with a name within the archive: nothing is unpacked to disk, and nothing else is honest."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    try:
        folders.require_plain_name(member.filename)
    except OutsideFolder as error:
        raise Unreadable("unreadable", f"{path} holds a file of an odd name. {escape_invisible(str(error))}") from None
    if kind not in (0, stat.S_IFREG):
        raise Unreadable(
            "unreadable", f"{path} holds {escape_invisible(member.filename)}, a link or a device, not a file."
        )


def _text(path: Path, name: str, stream: BinaryIO | io.RawIOBase) -> DataFile:
    """Open a text file: remove its byte order mark and detect its kind."""
    notes = []
    # A file that was opened in binary mode is a BufferedReader.
    raw = isinstance(stream, io.RawIOBase)
    reader = cast(io.BufferedReader, io.BufferedReader(stream, PEEK) if raw else stream)
    head = reader.peek(PEEK)
    encoding = next((encoding for bom, encoding in _BOMS.items() if head.startswith(bom)), None) or _without_bom(head)
    if encoding:
        notes.append(Note("utf-16", why=f"It is {encoding.upper()}; most readers expect UTF-8."))
        reader = cast(io.BufferedReader, io.BufferedReader(Utf8Stream(reader, encoding, path), PEEK))
    elif head.startswith(codecs.BOM_UTF8):
        notes.append(Note("bom"))
        reader.read(3)
    if not reader.peek(PEEK):
        raise Unreadable("empty-file", f"{path} is empty: there are 0 rows in it.")
    return DataFile(path, _kind(path, name, reader.peek(PEEK)), reader, notes)


def _without_bom(head: bytes) -> str | None:
    """Return the encoding of UTF-16 without a byte order mark: every second byte of Latin text is zero."""
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, letters = head[start:200:2], head[1 - start : 200 : 2]
        if len(zeros) >= 8 and not any(zeros) and all(letters):
            return encoding
    return None


def _kind(path: Path, name: str, head: bytes) -> str:
    suffix = Path(name).suffix.lower()
    start = head.lstrip()[:1]
    first, whole = _first_line(head)
    if suffix in _TABLES and not isinstance(first, dict):
        return _TABLES[suffix]
    runs_on = first is None and start in (b"{", b"[") and _runs_on(head)
    if suffix in _TEXTS and not isinstance(first, dict) and not runs_on and not _rows(first):
        return _TEXTS[suffix]
    if start == b"[":
        return "jsonl" if isinstance(first, list) and not whole else "json"
    if start == b"{":
        bare = first is None and head.lstrip().split(b"\n")[0].strip() == b"{"
        return "json" if runs_on or bare else "jsonl"
    if b"\0" in head or suffix not in (".json", ".jsonl", ".ndjson"):
        raise Unreadable(
            "unreadable", f"{path} is no file of rows that établi knows: JSON, CSV, TSV, Parquet, text or Markdown."
        )
    return "jsonl"


def _rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _runs_on(head: bytes) -> bool:
    """Return whether the first value is a row or a list of rows that takes several lines."""
    try:
        value, _ = json.JSONDecoder().raw_decode(head.decode("utf-8", "surrogateescape").lstrip())
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) or _rows(value)


def _first_line(head: bytes) -> tuple[object, bool]:
    """Return the first line's JSON value (None if it is none), and whether nothing comes after it."""
    line, _, rest = head.lstrip().partition(b"\n")
    try:
        return json.loads(line), not rest.strip() and len(head) < PEEK
    except (ValueError, RecursionError):
        return None, False


def read_lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Yield (number from 1, bytes) of every line; the bytes of a line that is too long are None, and are skipped."""
    number = 0
    while line := stream.readline(MAX_ROW_BYTES):
        number += 1
        if len(line) < MAX_ROW_BYTES or line.endswith(b"\n"):
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(2**20)
        yield number, None


def decode_line(line: bytes) -> tuple[str, list[Note]]:
    """Return a line's text and notes; bytes that are not UTF-8 become lone surrogates, with a note."""
    try:
        return line.decode(), []
    except UnicodeDecodeError as error:
        text = line.decode("utf-8", "surrogateescape")
        why = f"Byte {error.start + 1} of the line is {line[error.start]:#04x}, which is not UTF-8."
        return text, [
            Note(
                "encoding",
                excerpt=line[max(0, error.start - 20) : error.start + 20]
                .decode("latin-1")
                .encode("ascii", "backslashreplace")
                .decode(),
                why=why,
            )
        ]
