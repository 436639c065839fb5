"""Runs jobs in children forked from one warm process, as many at once as there are cores."""

import contextlib
import json
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import signal
import time
from collections.abc import Iterable, Iterator
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from strangers.watch import Hole, Job, work

CORES = max(1, len(os.sched_getaffinity(0)))
Shown = tuple[str, str, int, float, str]  # attack, step, exit code, seconds, last line of stderr


def run(jobs: Iterable[Job]) -> Iterator[tuple[Job, list[Hole], list[Shown]]]:
    """Each job with what got through and what each step showed, in the order in which they end."""
    context = _warm()
    waiting, active = iter(jobs), {}
    while True:
        while len(active) < CORES and (job := next(waiting, None)) is not None:
            child = context.Process(target=work, args=(job, str(Path(job.folder) / "results.json")), daemon=False)
            child.start()
            active[child] = (job, time.monotonic())
        if not active:
            return
        multiprocessing.connection.wait([child.sentinel for child in active], timeout=0.2)
        for child in list(active):
            job, began = active[child]
            late = time.monotonic() - began > job.deadline
            if late or not child.is_alive():
                del active[child]
                yield job, *_ended(child, job, late)


def _warm() -> ForkServerContext:
    """The server that children are forked from. It looks for ``strangers`` by PYTHONPATH alone (Python 3.11)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["strangers.warm"])
    path = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), path]))
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        os.environ["PYTHONPATH"] = path
    return context


def _ended(child: BaseProcess, job: Job, late: bool) -> tuple[list[Hole], list[Shown]]:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)  # whatever it started, too
    child.join(10)
    results = Path(job.folder) / "results.json"
    if results.is_file():
        told = json.loads(results.read_text())
        return [Hole(**hole) for hole in told["holes"]], [tuple(line) for line in told["shown"]]
    how = f"not done after {job.deadline:.0f} s" if late else f"ended by {child.exitcode}"
    return [Hole("hung", job.name, job.steps[0].name, how)], []
