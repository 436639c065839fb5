"""A monitor that follows a run folder. A thread reads at most four times a second; nothing is captured or polled by
the cell, so it goes on while other cells run and after the cell that showed it is long done."""

import threading
import time

from etabli.contracts import ENDED

EVERY_SECONDS = 0.25


def follow(run):
    """A ``RunMonitor`` fed from a run's folder until the run ends; a run that has ended is offered for resume."""
    from etabli.training.run import Run
    from etabli_widgets import RunMonitor

    eyes = Run.attach(run.folder)  # eyes of its own: the cell may read the same run meanwhile
    monitor = RunMonitor(name=run.name, stop=lambda: run.stop(wait=False), resume=lambda: _again(run, eyes, monitor))
    if _look(eyes, monitor) not in ENDED:
        _watch(eyes, monitor)
    return monitor


def _again(run, eyes, monitor) -> None:
    run.resume()
    _watch(eyes, monitor)


def _watch(eyes, monitor) -> None:
    threading.Thread(target=_until_end, args=(eyes, monitor), daemon=True).start()


def _until_end(eyes, monitor) -> None:
    try:
        while _look(eyes, monitor) not in ENDED:
            time.sleep(EVERY_SECONDS)
    except Exception as error:  # a thread's exception is seen by nobody unless the widget shows it
        monitor.error = f"{type(error).__name__}: {error}"


def _look(eyes, monitor) -> str:
    state = eyes.state
    monitor.feed(eyes.events(), state, eyes.why if state in ENDED else "", eyes.notes())
    return state
