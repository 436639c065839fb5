"""The one place that a process's output passes: standard output and error that cover secrets and obey nobody.

Covered is what Python prints: results, errors, tracebacks, warnings, libraries' progress bars. What a library in C or a
program that somebody's own code starts writes straight to the file descriptor is not.
"""

import atexit
import contextlib
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from etabli.core import secret_values
from etabli.core.secrets import COVER, cover_secrets
from etabli.core.terminal import escape_controls

_CONTEXT = 4096  # characters of a line without an end that are remembered, and of a word without an end that wait
_BEGIN, _END = re.compile("-----BEGIN [A-Z ]*PRIVATE KEY"), re.compile("-----END [A-Z ]*PRIVATE KEY")
_UP = re.compile(r"(?:\x1b\[A)+")  # how a progress bar goes back to the line above: not followed, and not shown


class GuardedStream:
    """A text stream that passes on each line without its secrets and with control characters written out.

    What is not yet a line waits for its end. ``flush`` passes on all but the last word, which might be the beginning of
    a secret; ``end`` passes on that, too.

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
        """Pass on what has become whole lines; returns the number of characters, as streams do."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._lock:
            if not _UP.fullmatch(text):
                self._take(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """As ``write``."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Pass on what waits, but for a last word that may go on."""
        with self._lock:
            self._pass(self._safe())
            self._stream.flush()

    def end(self) -> None:
        """Pass on all that waits."""
        with self._lock:
            self._pass(len(self._line))
            self._stream.flush()

    @property
    def buffer(self) -> "_Bytes":
        """The same for bytes."""
        return _Bytes(self)

    def __getattr__(self, name: str) -> Any:
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
        """What follows a carriage return. It may write over nothing but a line that began with one, too."""
        if not self._rewriting:
            return "\n" * bool(self._line) + text
        if self._line and not self._progress:
            return "\r" + text
        self._pass(len(self._line))
        self._put("\r")
        self._line, self._passed, self._progress = "", 0, True
        return text.removesuffix("\r")

    def _end_line(self) -> None:
        self._pass(len(self._line))
        self._put("\n")
        line, self._line, self._passed, self._progress = self._line, "", 0, False
        self._in_key = bool(_BEGIN.search(line) or self._in_key) and not _END.search(line)

    def _pass(self, end: int) -> None:
        """Pass the line on up to there. All of it is looked at: a name that was passed makes what follows a secret."""
        if end > self._passed:
            covered = COVER * 3 if self._in_key else cover_secrets(self._line)[self._passed : end]
            self._put(escape_controls(covered))
            self._passed = end

    def _put(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:  # a terminal that has no such signs
            encoding = self._stream.encoding or "ascii"
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def _safe(self) -> int:
        """How much of the line can't be part of a secret that has not ended."""
        if self._progress:  # a bar that will be written over is whole
            return len(self._line)
        blank = max(self._line.rfind(" "), self._line.rfind("\t")) + 1
        long = secret_values.longest()
        return max(min(blank, len(self._line) - long) if long else blank, len(self._line) - _CONTEXT)

    def _forget_passed(self) -> None:
        """Keep a line that never ends from growing: what was passed on long ago is no part of what comes."""
        if len(self._line) > 4 * _CONTEXT:
            self._pass(self._safe())
            gone = max(0, self._passed - _CONTEXT)
            self._line, self._passed = self._line[gone:], self._passed - gone


class _Bytes:
    """The bytes' side of a guarded stream."""

    def __init__(self, text: GuardedStream):
        self._text = text

    def write(self, data: bytes) -> int:
        """Decode and pass on."""
        self._text.write(bytes(data).decode("utf-8", "backslashreplace"))
        return len(data)

    def flush(self) -> None:
        """As the text's."""
        self._text.flush()


class _Present:
    """The standard stream of the moment: a library's logger keeps the stream of the command that imported it."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(sys, self._name), name)


def guard_standard_streams() -> None:
    """Cover what this process prints until it ends, tracebacks too: for a child whose output goes to a file."""
    sys.stdout, sys.stderr = GuardedStream(sys.stdout), GuardedStream(sys.stderr)
    atexit.register(_end, (sys.stdout, sys.stderr))


@contextlib.contextmanager
def guarded_streams() -> Iterator[None]:
    """Cover what is printed within: for a command."""
    before = sys.stdout, sys.stderr
    inside = [
        GuardedStream(stream, stream.isatty()) for stream in before if stream is not None
    ]  # None: no console at all
    sys.stdout, sys.stderr = inside if len(inside) == len(before) else before
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        _end(inside)
        for stream, name in zip(inside, ("stdout", "stderr")):
            stream._stream = _Present(name)


def _end(streams: Iterable[GuardedStream]) -> None:
    for stream in streams:
        with contextlib.suppress(OSError, ValueError):  # closed before
            stream.end()
