"""Bytes that are packed or in another encoding, as they are needed, and never out of all proportion."""

import codecs
import io
import lzma
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from etabli.core.errors import Unreadable

PEEK = 2**16
# An honest text shrinks to a tenth, a repetitive one to a hundredth; a bomb to a thousandth and less. A row takes some
# bytes however it is packed. So little, and so few rows, go whatever their ratio.
RATIO, UNPACKED, ROWS = 120, 64 * 2**20, 20_000

# What Python raises on a damaged archive.
DAMAGED = (
    OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError,
    struct.error, UnicodeError,
)  # fmt: skip


def require_proportion(inner: BinaryIO, path: Path, packed: int) -> None:
    """Unpack everything once before a row is read, and keep nothing: a hundred times as fast as reading rows.

    Raises:
        Unreadable: it unpacks to more than ``RATIO`` times its bytes, or to more lines than it has bytes.
    """
    unpacked = lines = 0
    try:
        while data := inner.read(2**20):
            unpacked += len(data)
            lines += data.count(b"\n")
            if unpacked > max(UNPACKED, packed * RATIO) or lines > max(ROWS, packed):
                raise Unreadable("out-of-proportion", _too_much(path, packed, unpacked, lines))
    except DAMAGED:  # said when reading has come to that place
        return


def _too_much(path: Path, packed: int, unpacked: int, lines: int) -> str:
    return (
        f"{path} has {packed:,} bytes and unpacks to more than {unpacked:,} bytes in {lines:,} lines; {RATIO} times as "
        "many bytes, and as many lines as bytes, are the most. It was not read; unpack it yourself and look at it."
    )


def require_no_holes(path: Path) -> None:
    """Refuse a file that says it is large and of which next to nothing is on the disk."""
    facts = path.stat()
    on_disk = getattr(facts, "st_blocks", facts.st_size) * 512  # Windows does not say
    if facts.st_size > max(UNPACKED, on_disk * RATIO):
        raise Unreadable(
            "out-of-proportion", f"{path} says {facts.st_size:,} bytes, and {on_disk:,} are on the disk: it is empty."
        )


class Limited(io.RawIOBase):
    """Decompressed bytes, until they are out of all proportion."""

    def __init__(self, inner: BinaryIO, path: Path, packed: int):
        self.inner, self.path, self.allowed, self.given = inner, path, max(UNPACKED, packed * RATIO), 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer) -> int:
        """Fill a buffer; how many bytes it took."""
        try:
            data = self.inner.read(len(buffer))
        except DAMAGED as error:
            raise Unreadable("unreadable", f"{self.path} is damaged: {error}. What comes after was not read.") from None
        self.given += len(data)
        if self.given > self.allowed:
            raise Unreadable(
                "out-of-proportion",
                f"{self.path} unpacks to more than {self.allowed // 2**20} MB, over {RATIO} times its size. "
                "It was not read further; unpack it yourself and look at it.",
            )
        buffer[: len(data)] = data
        return len(data)


class Recoded(io.RawIOBase):
    """UTF-16 or UTF-32 as UTF-8."""

    def __init__(self, inner: BinaryIO, encoding: str, path: Path):
        self.inner, self.path, self.decoder, self.ready = inner, path, codecs.getincrementaldecoder(encoding)(), b""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer) -> int:
        """Fill a buffer; how many bytes it took."""
        while not self.ready:
            data = self.inner.read(PEEK)
            try:
                self.ready = self.decoder.decode(data, final=not data).encode("utf-8", "surrogatepass")
            except UnicodeDecodeError as error:
                raise Unreadable(
                    "encoding", f"{self.path} is not the {error.encoding} it says: {error.reason}."
                ) from None
            if not data:
                break
        given, self.ready = self.ready[: len(buffer)], self.ready[len(buffer) :]
        buffer[: len(given)] = given
        return len(given)
