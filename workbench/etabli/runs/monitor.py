"""Watching a run folder. A thread reads at most four times a second; nothing is captured or polled by the cell, so it
goes on while other cells run and after the cell that showed it is long done."""

import threading
import time
from collections.abc import Callable
from typing import Any

from etabli.core.contracts import ENDED

EVERY_SECONDS = 0.25
AFTERWARDS, PATIENCE = 2.0, 600.0  # a run that has stopped may be resumed from elsewhere: looked for so often, so long


def follow(run):
    """A ``RunMonitor`` fed from a run's folder; a run that has ended without being complete is offered for resume."""
    from etabli_widgets import RunMonitor

    eyes = type(run).attach(run.folder)  # eyes of its own: the cell may read the same run meanwhile
    monitor = RunMonitor(name=run.name, stop=lambda: run.stop(wait=False), resume=lambda: _again(run, watch_it))

    def watch_it() -> None:
        watch(lambda: _look(eyes, monitor), monitor)

    if _look(eyes, monitor) != "completed":
        watch_it()
    return monitor


def _again(run, watch_it: Callable[[], None]) -> None:
    if run.state in ENDED:  # else somebody has resumed it elsewhere, and it is there to be seen
        run.resume()
    watch_it()


def watch(look: Callable[[], str], widget: Any, every: float = EVERY_SECONDS) -> None:
    """Call ``look``, which gives the run's state, in a thread until the run is complete, or has long been over."""
    threading.Thread(target=_watching, args=(look, widget, every), daemon=True).start()


def _watching(look: Callable[[], str], widget: Any, every: float) -> None:
    seen_alive = time.monotonic()
    try:
        while (state := look()) != "completed" and time.monotonic() - seen_alive < PATIENCE:
            over = state in ENDED
            seen_alive = seen_alive if over else time.monotonic()
            time.sleep(max(every, AFTERWARDS) if over else every)
    except Exception as error:  # a thread's exception is seen by nobody unless the widget shows it
        widget.error = f"{type(error).__name__}: {error}"


def _look(eyes, monitor) -> str:
    state = eyes.state
    monitor.feed(eyes.events(), state, eyes.why if state in ENDED else "", eyes.notes())
    return state
