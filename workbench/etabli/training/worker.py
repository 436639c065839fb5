"""The child that trains. A person can run the very same:

    python -m etabli.training.worker runs/NAME [--force] [--own-recipe] [--allow-outside] [--trust-code]

``--trust-code`` says yes to the Python files that the recipe names; without it they are run if this user said yes to
them before. Whoever starts it from Python passes that on as ``--code=SHA256``.

It reads ``recipe.yaml`` from the folder, goes on from the newest whole checkpoint if there is one, and writes events.
SIGTERM, or a file called ``stop`` in the folder, makes it finish the step, save, and write ``end``.
"""

import contextlib
import os
import shlex
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etabli.core import folders, processes, storage, streams, trust
from etabli.core.contracts import ADAPTER, HEARTBEAT_SECONDS, LOCK, LOG, MANIFEST, PROCESS, RECIPE, STOP
from etabli.core.errors import BadInput, EtabliError
from etabli.data.dataset import Dataset
from etabli.runs import events, recipe_code
from etabli.runs.backup import without_new_mirror
from etabli.runs.events import EventLog, Silence
from etabli.runs.recipe import Recipe, read_run
from etabli.runs.run_data import open_rows_of_run


@dataclass(frozen=True)
class Agreed:
    """What the person who started this process agreed to; see ``main``."""

    force: bool
    own_recipe: bool
    trust_code: bool


def main(folder: str, force: bool = False, own_recipe: bool = False, trust_code: bool = False) -> int:
    """Train in a run folder; returns the exit code.

    Args:
        force: go on although what was promised has changed.
        own_recipe: the person handed over this recipe: its data and its mirror may lie anywhere. Otherwise see
            ``data.run_rows``.
        trust_code: say yes to the files that the recipe names.
    """
    streams.guard_standard_streams()
    agreed = Agreed(force, own_recipe, trust_code)
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")  # PEFT's, not the reader's
    run = Path(folder).absolute()
    caught: list[str] = []
    signal.signal(signal.SIGTERM, lambda *_: caught.append("SIGTERM"))  # at once: it may come while still loading
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that was closed is no reason to end
    folders.files_of(run)  # before anything is written: a log that is a link would be written where it leads
    if int(os.environ.get("RANK", "0")):  # the other processes of several devices: no lock, no events
        _train(run, Silence(), caught, [], agreed)
        return 0
    with storage.locked(run / LOCK, f"Run {run.name}"):
        log = EventLog(run)
        storage.write_json(run / PROCESS, identity(run))
        return _lead(run, log, caught, agreed)


def identity(run: Path, pid: int | None = None) -> dict[str, Any]:
    """What ``process.json`` holds: the process, and how many events there were before it."""
    return {**processes.identity(pid), "events_before": events.count(run)}


def _lead(run: Path, log: EventLog, caught: list[str], agreed: Agreed) -> int:
    """Train, and whatever happens end the log with why."""
    last: list[Callable] = []
    try:
        with _heartbeat(log), processes.owning_device(run):
            reason = _train(run, log, caught, last, agreed)
        log.write("end", state="stopped" if reason else "completed", why=reason or "all steps done")
        return 0
    except EtabliError as error:
        return _failed(log, str(error), 2)
    except BaseException as error:  # out of memory, a bug, an interrupt: the folder has to say so
        traceback.print_exc()
        return _failed(log, _named(error), 1)
    finally:
        for act in last:  # the mirror has the end of the log, too
            act()


def _named(error: BaseException) -> str:
    """What went wrong; where several processes train, the end of another one is known by its broken connection."""
    said = f"{type(error).__name__}: {error}"
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1 and isinstance(error, RuntimeError)  # gloo's and NCCL's
    broken = ("Connection closed", "Connection reset", "Broken pipe", "Timed out", "remote process", "NCCL")
    if several and any(word in said for word in broken):
        return f"Another process of this run is gone; see {LOG}. Resume goes on from the newest checkpoint. ({said})"
    return said


def _failed(log: EventLog, why: str, code: int) -> int:
    """Say why in the log, and in ``log.txt`` first: on a full disk the event may not fit."""
    print(why, file=sys.stderr, flush=True)
    with contextlib.suppress(EtabliError, OSError):
        log.write("end", state="failed", why=why)
    return code


def _train(run: Path, log: EventLog | Silence, caught: list[str], last: list[Callable], agreed: Agreed) -> str | None:
    """Train; returns why it stopped. ``last`` is to be done when the log has been ended."""
    keys, promised = read_run(run / RECIPE)
    if not {"model_hash", "data_hash", "recipe"} <= set(promised):  # what is left of a section promises nothing
        promised = {}
    recipe = Recipe(**keys)
    again = f"etabli resume {shlex.quote(str(run))} --trust-code"
    trust.require(recipe_code.code_of(recipe, run), agreed.trust_code, again)
    began = time.monotonic()
    if not agreed.own_recipe:
        recipe = without_new_mirror(run, recipe, promised, lambda what: log.write("warning", what=what))
    training = _prepare(run, recipe, promised, log, agreed.force, agreed.force or agreed.own_recipe)
    if training.mirror:
        last.append(training.mirror.close)
    reason = training.go(_asked_to_stop(run, recipe, began, caught))
    if reason is None:
        training.finish()
    return reason


def _prepare(run: Path, recipe: Recipe, promised: dict[str, Any], log: EventLog, force: bool, any_data: bool) -> Any:
    """Load everything, begin or go on, and say what is about to happen."""
    import torch

    from etabli.core import machine
    from etabli.models import loading, sources
    from etabli.runs import checkpoints
    from etabli.training import oom, train_data
    from etabli.training.preflight import rehearse
    from etabli.training.trainer import Training

    if (run / ADAPTER).exists() and not (run / ADAPTER / MANIFEST).is_file():  # now, not after all the training
        raise BadInput(f"{run / ADAPTER} was not written by a run: move it away, the final adapter goes there.")
    torch.set_num_threads(recipe.threads or machine.threads())
    source = sources.resolve(recipe.model)
    tokenizer = loading.tokenizer(source)
    made = train_data.gather(recipe, tokenizer, run, open_rows=Dataset.open if any_data else _of_run(recipe, promised))
    dtype = _dtype(recipe, source, promised)
    facts = train_data.frozen(recipe, source, tokenizer, made, dtype)
    said = changes({"engine": 1} | promised, facts) if promised else ""
    if said and not force:
        raise BadInput(
            f"This is no longer the same run: {said}. Put it back, start a new run, or go on with resume --force."
        )
    if said:
        log.write("warning", what=f"Forced to go on. The weights will not be those of an unbroken run: {said}.")
    if said or not promised:
        recipe.save(run / RECIPE, facts)
    with oom.measured(log.write, "load"):
        loaded = loading.load(recipe.model, alongside=True, device=_device(), dtype=dtype)
    training = Training(run, recipe, loaded, made, log)
    checkpoint = training.agreed(lambda: checkpoints.newest_whole(run, lambda said: log.write("warning", what=said)))
    if checkpoint and not promised and not force:
        raise BadInput(
            f"{run / RECIPE} has lost its section 'frozen', which says what this run began with: put it back from the "
            "mirror or a copy, or go on with resume --force, which can promise nothing."
        )
    _start(log, training, made, facts)
    rehearse(training)
    if checkpoint:
        training.restore(checkpoint)
    if checkpoint or promised:  # without a checkpoint it begins again, and what was written before is superseded
        log.write("resume", step=training.step)
    return training


def _of_run(recipe: Recipe, promised: dict[str, Any]) -> Callable[[str, Path], Dataset]:
    """Open what a run's own recipe names, where it is allowed to lie; by the hashes that the run froze."""
    hashes = {recipe.eval_data: promised.get("eval_data_hash"), recipe.data: promised.get("data_hash")}
    return lambda name, run: open_rows_of_run(name, run, hashes[name])


def _dtype(recipe: Recipe, source: Any, promised: dict[str, Any]) -> str:
    """What the run computes in: what its recipe names, what it began with if this device can, else what is fastest.

    A run of an older version froze none; it went by the processor's flags.
    """
    from etabli.core import cpu_dtype, machine
    from etabli.models import loading

    wanted = recipe.dtype
    if wanted == "auto" and promised:
        older = "auto" if machine.device() == "cuda" else cpu_dtype.by_flags(cpu_dtype.cpu_flags())
        began = promised.get("dtype", older)
        wanted = "auto" if machine.dtype_refusal(began) else began
    threads = recipe.threads or machine.threads()
    chosen = machine.compute_dtype(wanted, loading.hidden_size(source.folder), threads)
    return str(chosen).removeprefix("torch.")


def _start(log: EventLog, training: Any, made: Any, facts: dict[str, Any]) -> None:
    for name, count in made.found.items():
        log.write("warning", what=f"Your rule {name} found {count} rows; what a filter finds is left out.")
    if made.untrainable:
        log.write("warning", what=f"{len(made.untrainable)} rows train nothing once cut at max_length; left out.")
    log.write(
        "start",
        steps=training.schedule.steps,
        rows=len(made.rows),
        held_out=len(made.held_out),
        trained_tokens_total=sum(row.trained for row in made.rows),
        probes=[talk[-1]["content"] for talk in made.probes],
        device=training.loaded.device,
        dtype=str(training.loaded.dtype).removeprefix("torch."),
        threads=facts["threads"],
        processes=training.accelerator.num_processes,
        versions=facts["versions"],
    )


def changes(promised: dict[str, Any], now: dict[str, Any], path: str = "") -> str:
    """Every field in which a run differs from what it began with, in words; nothing if none does."""
    said = []
    for name in [name for name in now if name in promised and promised[name] != now[name]]:
        one, other = promised[name], now[name]
        nested = isinstance(one, dict) and isinstance(other, dict)
        said.append(changes(one, other, f"{path}{name}.") if nested else f"{path}{name} was {one!r}, is {other!r}")
    return "; ".join(filter(None, said))


def _device() -> str | None:
    """The device of this process, when a launcher started several."""
    import torch

    local = os.environ.get("LOCAL_RANK")
    return f"cuda:{local}" if local is not None and torch.cuda.is_available() else None


def _asked_to_stop(run: Path, recipe: Recipe, began: float, caught: list[str]) -> Callable[[], str | None]:
    """A function that says why to stop, or None: SIGTERM, the file ``stop``, or the minutes allowed."""

    def asked() -> str | None:
        if caught:
            return "stopped by signal"
        if (run / STOP).exists():
            return "stopped on request"
        if recipe.max_minutes and time.monotonic() - began > recipe.max_minutes * 60:
            return f"max_minutes ({recipe.max_minutes:g}) reached"
        return None

    return asked


@contextlib.contextmanager
def _heartbeat(log: EventLog) -> Iterator[None]:
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(EtabliError, OSError):  # a full disk is told by whoever writes what matters
                log.write("heartbeat")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


if __name__ == "__main__":
    trust.allow_here(word.removeprefix("--code=") for word in sys.argv[2:] if word.startswith("--code="))
    with folders.outside_allowed("--allow-outside" in sys.argv[2:]):
        sys.exit(main(sys.argv[1], *(f"--{name}" in sys.argv[2:] for name in ("force", "own-recipe", "trust-code"))))
