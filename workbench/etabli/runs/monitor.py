"""Follow a run folder with a widget.

A thread reads the folder at most four times a second. It needs no running cell: it goes on while other cells run, and
after the cell that showed the widget has ended.
"""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from etabli.core.contracts import END_STATES
from etabli.runs.events import Event

if TYPE_CHECKING:
    from etabli_widgets import RunMonitor

EVERY_SECONDS = 0.25
# A run that has stopped may be resumed from elsewhere: it is read this often, for this long.
ENDED_EVERY_SECONDS, ENDED_SECONDS = 2.0, 600.0


class FollowedRun(Protocol):
    """What is needed of a ``Run``, which imports this module."""

    @property
    def name(self) -> str:
        """As ``Run.name``."""

    @property
    def state(self) -> str:
        """As ``Run.state``."""

    @property
    def why(self) -> str:
        """As ``Run.why``."""

    def events(self) -> list[Event]:
        """As ``Run.events``."""

    def notes(self) -> list[str]:
        """As ``Run.notes``."""

    def stop(self, wait: bool = True) -> object:
        """As ``Run.stop``."""

    def resume(self) -> object:
        """As ``Run.resume``."""


class HasError(Protocol):
    """A widget that shows an error."""

    error: str


def follow(run: FollowedRun, reader: FollowedRun, earlier: FollowedRun | None = None) -> "RunMonitor":
    """Return a ``RunMonitor`` that is fed from a run's folder; a run that ended early can be resumed there.

    Args:
        run: is stopped and resumed. reader: another view of the same folder, for the thread alone.
        earlier: a run whose losses are laid under this one's.
    """
    from etabli_widgets import RunMonitor

    def resume() -> None:
        if run.state in END_STATES:  # otherwise it was resumed from elsewhere already
            run.resume()
        watch(feed, monitor)

    def feed() -> str:
        state = reader.state
        monitor.feed(reader.events(), state, reader.why if state in END_STATES else "", reader.notes())
        return state

    under = (earlier.name, earlier.events()) if earlier else None
    monitor = RunMonitor(name=run.name, stop=lambda: run.stop(wait=False), resume=resume, earlier=under)
    if feed() != "completed":
        watch(feed, monitor)
    return monitor


def watch(feed: Callable[[], str], widget: HasError, every: float = EVERY_SECONDS) -> None:
    """Call ``feed`` in a thread until the state that it returns is ``completed``, or the run has long ended."""

    def loop() -> None:
        last_alive = time.monotonic()
        try:
            while (state := feed()) != "completed" and time.monotonic() - last_alive < ENDED_SECONDS:
                is_over = state in END_STATES
                last_alive = last_alive if is_over else time.monotonic()
                time.sleep(max(every, ENDED_EVERY_SECONDS) if is_over else every)
        except Exception as error:  # an exception in a thread is only visible if the widget shows it
            widget.error = f"{type(error).__name__}: {error}"

    threading.Thread(target=loop, daemon=True).start()
