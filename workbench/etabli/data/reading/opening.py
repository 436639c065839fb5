"""A file's bytes, whatever it is packed in: compression, archives, byte order marks, encodings; never more than asked.

What a file is, is told by its first bytes; its name only decides where these don't (CSV, TSV, text, Markdown).
"""

import codecs
import gzip
import io
import json
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from etabli.core import folders
from etabli.core.errors import Unreadable
from etabli.data.notes import Note, escaped
from etabli.data.reading.unpacking import (
    DAMAGED,
    PEEK,
    Limited,
    Recoded,
    require_no_holes,
    require_proportion,
)

MOST = 16 * 2**20  # bytes of one row: a longer one is no conversation, and must not fill the memory

_OTHERS = {
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
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_TABLES = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv"}
_TEXTS = {".txt": "text", ".text": "text", ".md": "markdown", ".markdown": "markdown"}


@dataclass
class Opened:
    """A file ready to be read. ``kind``: jsonl, json, csv, tsv, text, markdown, parquet, arrow, arrow-stream."""

    path: Path
    kind: str
    stream: BinaryIO
    notes: list[Note] = field(default_factory=list)


def opened(path: str | Path) -> Opened:
    """Open a data file.

    Raises:
        Unreadable: it is not there, is empty, or is no kind of file that holds rows.
    """
    path = Path(path)
    if is_there(path) and not path.is_dir() and not path.is_file():
        raise Unreadable("unreadable", f"{path} is no ordinary file.")  # a pipe would be waited for
    try:
        stream: BinaryIO = path.open("rb", buffering=PEEK)
    except FileNotFoundError:
        raise Unreadable("no-file", f"There is no file {path}.") from None
    except IsADirectoryError:
        raise Unreadable("unreadable", f"{path} is a folder; name a file in it.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        said = str(getattr(error, "strerror", None) or error).lower()
        raise Unreadable("unreadable", f"{path} can't be read: {said}.") from None
    require_no_holes(path)
    return _unpacked(path, path.name, stream, path.stat().st_size)


def is_there(path: str | Path) -> bool:
    """Is there such a file or folder? A name that none can have is no error."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def _unpacked(path: Path, name: str, stream: BinaryIO, size: int) -> Opened:
    head = stream.read(16)
    stream.seek(0)
    if not head:
        raise Unreadable("empty-file", f"{path} is empty: there are 0 rows in it.")
    if head.startswith(b"\x1f\x8b"):
        require_proportion(gzip.GzipFile(fileobj=stream), path, size)
        stream.seek(0)
        inside = _text(path, name.removesuffix(".gz"), Limited(gzip.GzipFile(fileobj=stream), path, size))
        inside.notes += (
            [] if name.endswith((".gz", ".gzip")) else [Note("compressed", why="It is gzip, and is not named so.")]
        )
        return inside
    if head.startswith(b"PK\x03\x04"):
        return _member(path, stream)
    for magic, kind in ((b"PAR1", "parquet"), (b"ARROW1", "arrow"), (b"\xff\xff\xff\xff", "arrow-stream")):
        if head.startswith(magic):
            return Opened(path, kind, stream)
    for magic, said in _OTHERS.items():
        if head.startswith(magic):
            raise Unreadable("unreadable", f"{path} is {said}.")
    return _text(path, name, stream)


def _member(path: Path, stream: BinaryIO) -> Opened:
    """The only data file of a zip archive."""
    try:
        archive = zipfile.ZipFile(stream)
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        if len(names) != 1:
            some = ", ".join(names[:5])
            sheet = "; export the sheet as CSV" if any(name.startswith("xl/") for name in names) else ""
            raise Unreadable(
                "unreadable", f"{path} is a zip archive of {len(names)} files ({some}…), not of one{sheet}."
            )
        member = archive.getinfo(names[0])
        _require_plain_member(path, member)
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Unreadable("unreadable", f"{path} is packed in a way that is not read; pack it as usual (deflate).")
        packed = min(max(1, member.compress_size), path.stat().st_size)  # the archive's own word may be false
        require_proportion(archive.open(names[0]), path, packed)
        inside = _text(path, names[0], Limited(archive.open(names[0]), path, packed))
    except DAMAGED as error:
        raise Unreadable("unreadable", f"{path} can't be unpacked: {error}.") from None
    if path.suffix != ".zip":
        inside.notes.append(Note("compressed", why=f"It is a zip archive; {escaped(names[0])} was read."))
    return inside


def _require_plain_member(path: Path, member: zipfile.ZipInfo) -> None:
    """An ordinary file with a name within the archive: nothing is unpacked to disk, and nothing else is honest."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    try:
        folders.require_plain_name(member.filename)
    except folders.OutsideFolder as error:
        raise Unreadable("unreadable", f"{path} holds a file of an odd name. {escaped(str(error))}") from None
    if kind not in (0, stat.S_IFREG):
        raise Unreadable("unreadable", f"{path} holds {escaped(member.filename)}, a link or a device, not a file.")


def _text(path: Path, name: str, stream: BinaryIO | io.RawIOBase) -> Opened:
    """A text file: its byte order mark is taken off and its kind told."""
    notes = []
    buffered = io.BufferedReader(stream, PEEK) if isinstance(stream, io.RawIOBase) else stream
    head = buffered.peek(PEEK)
    encoding = next((encoding for bom, encoding in _BOMS if head.startswith(bom)), None) or _without_bom(head)
    if encoding:
        notes.append(Note("utf-16", why=f"It is {encoding.upper()}; most readers expect UTF-8."))
        buffered = io.BufferedReader(Recoded(buffered, encoding, path), PEEK)
    elif head.startswith(codecs.BOM_UTF8):
        notes.append(Note("bom"))
        buffered.read(3)
    if not buffered.peek(PEEK):
        raise Unreadable("empty-file", f"{path} is empty: there are 0 rows in it.")
    return Opened(path, _kind(path, name, buffered.peek(PEEK)), buffered, notes)


def _without_bom(head: bytes) -> str | None:
    """UTF-16 that does not say so: every second byte of Latin text is zero."""
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = head[start:200:2], head[1 - start : 200 : 2]
        if len(zeros) >= 8 and not any(zeros) and all(others):
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
    """Is the first value one that goes over several lines?"""
    try:
        value, _ = json.JSONDecoder().raw_decode(head.decode("utf-8", "surrogateescape").lstrip())
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) or _rows(value)


def _first_line(head: bytes) -> tuple[object, bool]:
    """The first line's JSON value, if it is one, and whether nothing comes after it."""
    line, _, rest = head.lstrip().partition(b"\n")
    try:
        return json.loads(line), not rest.strip() and len(head) < PEEK
    except (ValueError, RecursionError):
        return None, False


def lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """(number from 1, bytes) of every line; None for one that is too long, which is passed over."""
    number = 0
    while line := stream.readline(MOST):
        number += 1
        if len(line) < MOST or line.endswith(b"\n"):
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(2**20)
        yield number, None


def decoded(line: bytes) -> tuple[str, list[Note]]:
    """A line's text. Bytes that are not UTF-8 become half characters, and are said."""
    try:
        return line.decode(), []
    except UnicodeDecodeError as error:
        text = line.decode("utf-8", "surrogateescape")
        said = f"Byte {error.start + 1} of the line is {line[error.start]:#04x}, which is not UTF-8."
        return text, [
            Note(
                "encoding",
                excerpt=line[max(0, error.start - 20) : error.start + 20]
                .decode("latin-1")
                .encode("ascii", "backslashreplace")
                .decode(),
                why=said,
            )
        ]
