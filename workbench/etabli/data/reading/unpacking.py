"""Streams that unpack or recode bytes as they are read, and refuse files that unpack to far more than their size."""

import codecs
import io
import lzma
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from etabli.core.errors import Unreadable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PEEK = 2**16
# An honest text shrinks to a tenth, a repetitive one to a hundredth, a bomb to a thousandth or less. A row takes some
# bytes however it is packed. Up to FREE_BYTES and FREE_ROWS any ratio is accepted.
MAX_RATIO, FREE_BYTES, FREE_ROWS = 120, 64 * 2**20, 20_000

# The errors that Python raises on a damaged archive.
DAMAGE_ERRORS = (
    *(OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile),
    *(NotImplementedError, RuntimeError, ValueError, struct.error, UnicodeError),
)


def require_proportion(inner: IO[bytes] | io.BufferedIOBase, path: Path, packed: int) -> None:
    """Check the unpacked size of a file by unpacking it once, a hundred times as fast as reading its rows.

    Raises:
        Unreadable: it unpacks to more than ``RATIO`` times its bytes, or to more lines than it has bytes.
    """
    total = lines = 0
    try:
        while data := inner.read(2**20):
            total += len(data)
            lines += data.count(b"\n")
            if total > max(FREE_BYTES, packed * MAX_RATIO) or lines > max(FREE_ROWS, packed):
                raise Unreadable("out-of-proportion", _too_much(path, packed, total, lines))
    except DAMAGE_ERRORS:  # reported when reading comes to that place
        return


def _too_much(path: Path, packed: int, total: int, lines: int) -> str:
    return (
        f"{path} has {packed:,} bytes and unpacks to more than {total:,} bytes in {lines:,} lines; {MAX_RATIO} times "
        "as many bytes, and as many lines as bytes, are the most. It was not read; unpack it yourself and look at it."
    )


def require_no_holes(path: Path) -> None:
    """Refuse a sparse file: a large size with almost nothing on the disk."""
    facts = path.stat()
    on_disk = getattr(facts, "st_blocks", facts.st_size) * 512  # Windows does not say
    if facts.st_size > max(FREE_BYTES, on_disk * MAX_RATIO):
        raise Unreadable(
            "out-of-proportion", f"{path} says {facts.st_size:,} bytes, and {on_disk:,} are on the disk: it is empty."
        )


class LimitedStream(io.RawIOBase):
    """A stream of decompressed bytes that raises ``Unreadable`` when there are too many."""

    def __init__(self, inner: IO[bytes] | io.BufferedIOBase, path: Path, packed: int) -> None:
        self.inner, self.path = inner, path
        self.max_bytes, self.bytes_read = max(FREE_BYTES, packed * MAX_RATIO), 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill a buffer and return how many bytes it took."""
        view = memoryview(buffer)
        try:
            data = self.inner.read(len(view))
        except DAMAGE_ERRORS as error:
            raise Unreadable("unreadable", f"{self.path} is damaged: {error}. What comes after was not read.") from None
        self.bytes_read += len(data)
        if self.bytes_read > self.max_bytes:
            raise Unreadable(
                "out-of-proportion",
                f"{self.path} unpacks to more than {self.max_bytes // 2**20} MB, over {MAX_RATIO} times its size. "
                "It was not read further; unpack it yourself and look at it.",
            )
        view[: len(data)] = data
        return len(data)


class Utf8Stream(io.RawIOBase):
    """A stream that recodes UTF-16 or UTF-32 as UTF-8."""

    def __init__(self, inner: BinaryIO, encoding: str, path: Path) -> None:
        self.inner, self.path, self.decoder, self.ready = inner, path, codecs.getincrementaldecoder(encoding)(), b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill a buffer and return how many bytes it took."""
        view = memoryview(buffer)
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
        chunk, self.ready = self.ready[: len(view)], self.ready[len(view) :]
        view[: len(chunk)] = chunk
        return len(chunk)
