"""Standard output and error that cover secrets and write control characters out.

This works for everything that Python prints: results, errors, tracebacks, warnings, progress bars. It does not work for
what a library in C, or a program that somebody's own code starts, writes to the file descriptor itself.
"""

import atexit
import contextlib
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import TextIO, cast

from etabli.core import secret_values
from etabli.core.secrets import COVER, cover_secrets
from etabli.core.terminal import escape_controls

_CONTEXT = 4096  # characters of a line without an end that are remembered, and of a word without an end that wait
_BEGIN, _END = re.compile("-----BEGIN [A-Z ]*PRIVATE KEY"), re.compile("-----END [A-Z ]*PRIVATE KEY")
_CURSOR_UP = re.compile(r"(?:\x1b\[A)+")  # how a progress bar goes back to the line above: not followed, and not shown


class GuardedStream:
    """A text stream that passes on each line with secrets covered and control characters written out.

    An incomplete line waits for its end. ``flush`` passes on everything except the last word, which may be the
    beginning of a secret; ``end`` passes on the last word too.

    Args:
        stream: where it goes.
        rewriting: a terminal, on which progress bars may write over themselves. Elsewhere each state is a line.
    """

    def __init__(self, stream: TextIO, rewriting: bool = False):
        self._stream, self._rewriting = stream, rewriting
        self._line, self._passed = "", 0  # the line that has not ended, and how much of it was passed on
        self._in_key = self._progress = False
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        """Pass on the lines that are complete, and return the number of characters, as streams do."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._lock:
            if not _CURSOR_UP.fullmatch(text):
                self._take(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts, as ``write`` does."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Pass on the waiting text, except a last word that may be incomplete."""
        with self._lock:
            self._pass(self._safe())
            self._stream.flush()

    def end(self) -> None:
        """Pass on all of the waiting text."""
        with self._lock:
            self._pass(len(self._line))
            self._stream.flush()

    @property
    def buffer(self) -> "_Bytes":
        """Return the stream for bytes."""
        return _Bytes(self)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def _take(self, text: str) -> None:
        text = text.replace("\r\n", "\n")
        if text.startswith("\r"):
            text = self._begun_again(text[1:])
        *lines, rest = text.split("\n")
        for line in lines:
            self._line += line
            self._end_line()
        self._line += rest
        self._forget_passed()

    def _begun_again(self, text: str) -> str:
        """Handle a carriage return: it may overwrite only a line that itself began with a carriage return."""
        if not self._rewriting:
            return "\n" * bool(self._line) + text
        if self._line and not self._progress:
            return "\r" + text
        self._pass(len(self._line))
        self._write_text("\r")
        self._line, self._passed, self._progress = "", 0, True
        return text.removesuffix("\r")

    def _end_line(self) -> None:
        self._pass(len(self._line))
        self._write_text("\n")
        line, self._line, self._passed, self._progress = self._line, "", 0, False
        self._in_key = bool(_BEGIN.search(line) or self._in_key) and not _END.search(line)

    def _pass(self, end: int) -> None:
        """Pass on the line up to ``end``. The search covers the whole line: "key=" may make the next word a secret."""
        if end > self._passed:
            text = COVER * 3 if self._in_key else cover_secrets(self._line)[self._passed : end]
            self._write_text(escape_controls(text))
            self._passed = end

    def _write_text(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:  # a terminal that has no such signs
            encoding = self._stream.encoding or "ascii"
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def _safe(self) -> int:
        """Return how many characters of the line can't be part of an unfinished secret."""
        if self._progress:  # a bar that will be written over is whole
            return len(self._line)
        blank = max(self._line.rfind(" "), self._line.rfind("\t")) + 1
        long = secret_values.longest()
        return max(min(blank, len(self._line) - long) if long else blank, len(self._line) - _CONTEXT)

    def _forget_passed(self) -> None:
        """Cut the beginning of a very long line that was passed on long ago, so that memory does not grow."""
        if len(self._line) > 4 * _CONTEXT:
            self._pass(self._safe())
            dropped_length = max(0, self._passed - _CONTEXT)
            self._line, self._passed = self._line[dropped_length:], self._passed - dropped_length


class _Bytes:
    """The ``buffer`` of a guarded stream."""

    def __init__(self, text: GuardedStream):
        self._text = text

    def write(self, data: bytes) -> int:
        """Decode and pass on."""
        self._text.write(bytes(data).decode("utf-8", "backslashreplace"))
        return len(data)

    def flush(self) -> None:
        """Flush the text stream."""
        self._text.flush()


class _Present:
    """Forwards to the current standard stream: a logger may keep the stream of the command that imported it."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, name: str) -> object:
        return getattr(getattr(sys, self._name), name)


def guard_standard_streams() -> None:
    """Cover secrets in what this process prints until it ends, also in tracebacks. A child's output goes to a file."""
    sys.stdout, sys.stderr = GuardedStream(sys.stdout), GuardedStream(sys.stderr)
    atexit.register(_end, (sys.stdout, sys.stderr))


@contextlib.contextmanager
def guarded_streams() -> Iterator[None]:
    """Cover secrets in what a command prints within this context."""
    original = sys.stdout, sys.stderr
    streams = [
        GuardedStream(stream, stream.isatty()) for stream in original if stream is not None
    ]  # None: no console at all
    sys.stdout, sys.stderr = streams if len(streams) == len(original) else original
    try:
        yield
    finally:
        sys.stdout, sys.stderr = original
        _end(streams)
        for stream, name in zip(streams, ("stdout", "stderr")):
            stream._stream = cast(TextIO, _Present(name))


def _end(streams: Iterable[GuardedStream]) -> None:
    for stream in streams:
        with contextlib.suppress(OSError, ValueError):  # closed before
            stream.end()
