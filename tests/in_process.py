"""Train a run in the process of the tests: the same worker without the six seconds that a child takes to import torch.

A test that kills, signals or stops a child, or reads what a child printed, keeps the child.
"""

import contextlib
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from etabli.core.contracts import LOG, STOP
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run
from etabli.training import worker


@contextlib.contextmanager
def in_process() -> Iterator[None]:
    """Inside, ``Run.start`` and ``Run.resume`` of a run on one device train here, and return when the run has ended."""
    start_child = Run._spawn

    def start(run: Run, recipe: Recipe, hashes: Sequence[str] = (), options: Sequence[str] = ()) -> Run:
        if recipe.devices > 1:
            return start_child(run, recipe, hashes, options)
        (run.folder / STOP).unlink(missing_ok=True)
        train(run, force="--force" in options, own_recipe="--own-recipe" in options)
        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "_spawn", start)
        yield


def train(run: Run, force: bool, own_recipe: bool) -> None:
    """Call the worker on a run folder. What a child keeps to itself is put back afterwards."""
    import torch
    from accelerate.state import AcceleratorState

    threads = torch.get_num_threads()
    AcceleratorState._reset_state(reset_partial_state=True)  # it keeps one precision a process, each run has its own
    with contextlib.ExitStack() as stack:
        for number in (signal.SIGTERM, signal.SIGHUP):
            stack.callback(signal.signal, number, signal.getsignal(number))
        stack.callback(torch.set_num_threads, threads)
        stack.enter_context(torch.random.fork_rng())
        log = stack.enter_context((run.folder / LOG).open("a", encoding="utf-8"))
        stack.enter_context(contextlib.redirect_stdout(log))
        stack.enter_context(contextlib.redirect_stderr(log))
        worker.main(str(run.folder), force, own_recipe)


def dies_after(step: int, folder: Path, once_there_is: Path | None = None) -> str:
    """Write callbacks that kill their own process once, after a step (and, if asked, once a file is there)."""
    file, alive = folder / "dies.py", folder / "not-yet-killed"
    alive.touch()
    file.write_text(
        "import os, pathlib, signal, time\n"
        f"alive, awaited = pathlib.Path({str(alive)!r}), pathlib.Path({str(once_there_is or alive)!r})\n"
        "def on_step(event):\n"
        f"    if event['step'] == {step} and alive.exists():\n"
        "        while not awaited.exists():\n"
        "            time.sleep(0.01)\n"
        "        alive.unlink()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    return str(file)
