"""The child's standard streams, as a terminal would be."""

import io
import os
import sys
from pathlib import Path


class Terminal:
    """The child's standard streams as files that say they are a terminal, so that nothing is taken off on the way."""

    def __init__(self, folder: Path):
        self.folder = folder

    def begin(self, stdin: str) -> None:
        """Point the streams at new files."""
        (self.folder / "stdin").write_text(stdin, encoding="utf-8")
        _point(0, os.open(self.folder / "stdin", os.O_RDONLY))
        for number, name in ((1, "stdout"), (2, "stderr")):
            _point(number, os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))
            setattr(sys, name, _Tty(os.fdopen(os.dup(number), "wb"), encoding="utf-8", errors="backslashreplace"))
        sys.stdin = os.fdopen(os.dup(0), encoding="utf-8")

    def end(self) -> tuple[bytes, bytes]:
        """What was shown, on both."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        return (self.folder / "stdout").read_bytes(), (self.folder / "stderr").read_bytes()


class _Tty(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def _point(number: int, handle: int) -> None:
    os.dup2(handle, number)
    os.close(handle)
