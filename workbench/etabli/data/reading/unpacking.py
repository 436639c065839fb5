"""Bytes that are packed or in another encoding, as they are needed, and never out of all proportion."""

import codecs
import io
import lzma
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from etabli.errors import Unreadable

PEEK = 2**16
# An honest text shrinks to a tenth, a repetitive one to a hundredth; a bomb to a thousandth and less.
RATIO, UNPACKED = 200, 64 * 2**20

# What Python raises on a damaged archive.
DAMAGED = (
    OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError,
    struct.error, UnicodeError,
)  # fmt: skip


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
