"""Progress in one line: what is done, how much of it is done, and for how long.

The line is rewritten in place on a terminal and in a notebook. Whatever may take longer than two seconds is a block
``with show_progress(...)``, or a function under it; what ends sooner shows nothing.
"""

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etabli.core.terminal import in_cell, in_notebook, say, set_line_width, to_printable

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

EVERY_SECONDS = 15.0  # where the line can't be rewritten
SHOWN_AFTER = 1.5  # seconds: what ends sooner shows nothing
REFRESHED_EVERY = 1.0  # seconds


@dataclass
class Task:
    """What a block of work does, and how much of it is done. The block sets ``done``."""

    what: str
    total: int | None = None
    done: int | None = None

    def report(self, done: int, total: int | None = None) -> None:
        """Set how much is done; a function that takes a callback ``progress`` can take this method."""
        self.done, self.total = done, total or self.total

    def __str__(self) -> str:
        if self.done is None:
            return self.what
        return f"{self.what}: {self.done:,}" + (f" of {self.total:,}" if self.total else "")


@contextlib.contextmanager
def show_progress(what: str, total: int | None = None, after: float = SHOWN_AFTER) -> Iterator[Task]:
    """Show a line while the block runs, if it takes longer than ``after`` seconds; also a decorator of a function.

    The line says what is done, how much of it, and the seconds since the block began; a block within another one adds
    to that line. It goes to stderr, or is an output of the cell; where it could not be rewritten, nothing is shown. It
    ends with the block, also when that raises an error or is interrupted.

    >>> with show_progress("reading rows", total=2) as task:
    ...     for number in (1, 2):
    ...         task.report(number)
    """
    task, outer = Task(what, total), _current.get()
    if outer is not None:
        outer.tasks.append(task)
        try:
            yield task
        finally:
            outer.tasks.remove(task)
        return
    display = _Display([task], after)
    token = _current.set(display)
    word = "stopped"
    try:
        yield task
        word = "done"
    finally:
        _current.reset(token)
        display.close(word)


@dataclass
class _Display:
    """The line of the outermost block, which a thread refreshes."""

    tasks: list[Task]
    after: float
    line: "ProgressLine" = field(default_factory=lambda: ProgressLine())
    began: float = field(default_factory=time.monotonic)
    ended: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    what: str = field(init=False)  # what the outermost block was said to do at its beginning

    def __post_init__(self) -> None:
        self.what = self.tasks[0].what
        if self.line.is_rewritten:
            self.thread = threading.Thread(target=self._follow, daemon=True)
            self.thread.start()

    def _follow(self) -> None:
        wait = self.after
        while not self.ended.wait(wait):
            parts = dict.fromkeys(map(str, [*self.tasks]))
            self.line.show(" · ".join([*parts, self._seconds()]), urgent=True)
            wait = REFRESHED_EVERY

    def _seconds(self) -> str:
        return f"{time.monotonic() - self.began:.0f} s"

    def close(self, word: str) -> None:
        """End the line; if it was shown, it says how long the block took."""
        self.ended.set()
        if self.thread is not None:
            self.thread.join()
        if self.line.is_shown:
            self.line.show(f"{self.what}: {word} in {self._seconds()}", urgent=True)
            self.line.close()


_current: ContextVar[_Display | None] = ContextVar("progress", default=None)


class ProgressLine:
    """One line of progress, shown at most twice a second.

    A notebook's output is updated in place: with carriage returns the saved notebook would hold every line there ever
    was. Elsewhere the line goes to stderr, so that stdout holds only what ``--json`` prints.
    """

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self._notebook = in_notebook()
        self._terminal = not self._notebook and sys.stderr.isatty()
        self._output: DisplayHandle | None = None
        self._last_time = 0.0
        self._last_text = ""
        self._shown_warnings: set[str] = set()

    @property
    def is_rewritten(self) -> bool:
        """Whether the line is rewritten in place: on a terminal, and in a notebook's cell."""
        return self._terminal or (self._notebook and in_cell())

    @property
    def is_shown(self) -> bool:
        """Whether the line stands somewhere."""
        return bool(self._last_text)

    def add_warnings(self, warnings: Sequence[str]) -> None:
        """Print each warning that was not printed yet, on a line of its own."""
        new = [text for text in warnings if text not in self._shown_warnings and not self.quiet]
        self._shown_warnings.update(new)
        if new:
            self.close()
            self._last_text = ""  # the line is shown again, below the warnings
            say(*(f"Warning: {text}" for text in new))

    def show(self, text: str, urgent: bool = False) -> None:
        """Show a text if it is new, and if enough time has passed or it is urgent."""
        text = to_printable(text)
        interval = 0.5 if self._notebook or self._terminal else EVERY_SECONDS
        too_soon = not urgent and time.monotonic() - self._last_time <= interval
        if self.quiet or text == self._last_text or too_soon:
            return
        self._last_time, self._last_text = time.monotonic(), text
        if self._notebook:
            self._update_output(text)
        elif self._terminal:
            width = shutil.get_terminal_size().columns - 1  # a longer line would stay when the next one is written
            set_line_width(width)
            print(f"\r{text[:width]:<{width}}", end="", file=sys.stderr, flush=True)
        else:
            say(text)

    def _update_output(self, text: str) -> None:
        from IPython.display import display

        if self._output is None:
            self._output = display({"text/plain": text}, raw=True, display_id=True)
        else:
            self._output.update({"text/plain": text}, raw=True)

    def close(self) -> None:
        """End the line."""
        if self._terminal and self._last_text and not self.quiet:
            print(file=sys.stderr, flush=True)
            set_line_width(0)
