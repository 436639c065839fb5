"""The child process that trains. It can be started by hand too:

    python -m etabli.training.worker runs/NAME [--force] [--own-recipe] [--allow-outside] [--trust-code]

``--trust-code`` says yes to the Python files that the recipe names; without it they are run only if this user said yes
to them before. ``Run.start`` passes that yes on as ``--code=SHA256``.

The worker reads ``recipe.yaml`` from the folder, goes on from the newest whole checkpoint if there is one, and writes
events. SIGTERM, or a file called ``stop`` in the folder, makes it finish the step, save, and write ``end``.
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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core import folders, locks, processes, storage, streams, trust
from etabli.core.contracts import ADAPTER, HEARTBEAT_SECONDS, LOCK, LOG, MANIFEST, PROCESS, RECIPE, STOP, Fingerprint
from etabli.core.errors import BadInput, EtabliError
from etabli.data.dataset import Dataset
from etabli.runs import events, recipe_code
from etabli.runs.backup import without_unknown_backup
from etabli.runs.events import EventLog, SilentLog
from etabli.runs.recipe import Recipe, read_recipe
from etabli.runs.run_data import open_rows_of_run

if TYPE_CHECKING:
    from etabli.models.sources import Source
    from etabli.training.train_data import OpenRows, TrainData
    from etabli.training.trainer import Training


@dataclass(frozen=True)
class Consent:
    """What the person who started this process agreed to; see ``main``."""

    force: bool
    own_recipe: bool
    trust_code: bool


def main(folder: str, force: bool = False, own_recipe: bool = False, trust_code: bool = False) -> int:
    """Train in a run folder; returns the exit code.

    Args:
        force: go on although the run's fingerprint has changed.
        own_recipe: the person handed over this recipe: its data and its backup may lie anywhere. Otherwise see
            ``runs.run_data``.
        trust_code: say yes to the files that the recipe names.
    """
    streams.guard_standard_streams()
    consent = Consent(force, own_recipe, trust_code)
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")  # PEFT's, not the reader's
    run = Path(folder).absolute()
    signals: list[str] = []
    signal.signal(signal.SIGTERM, lambda *_: signals.append("SIGTERM"))  # at once: it may come while still loading
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # closing a terminal does not end the run
    folders.list_files(run)  # before anything is written: a log that is a link would be written where it leads
    if int(os.environ.get("RANK", "0")):  # the other processes of several devices: no lock, no events
        _train(run, SilentLog(), signals, [], consent)
        return 0
    with locks.lock_file(run / LOCK, f"Run {run.name}"), contextlib.closing(EventLog(run)) as log:
        storage.write_json(run / PROCESS, identity(run))
        return _train_and_log_end(run, log, signals, consent)


def identity(run: Path, pid: int | None = None) -> dict[str, object]:
    """Return what ``process.json`` holds: the process, and how many events there were before it."""
    return {**processes.identity(pid), "events_before": events.count_events(run)}


def _train_and_log_end(run: Path, log: EventLog, signals: list[str], consent: Consent) -> int:
    """Train; returns the exit code. However training ends, the last event says why."""
    at_exit: list[Callable[[], None]] = []
    try:
        with _heartbeat(log), processes.hold_device(run):
            reason = _train(run, log, signals, at_exit, consent)
        log.write("end", state="stopped" if reason else "completed", why=reason or "all steps done")
        return 0
    except EtabliError as error:
        return _log_failure(log, str(error), 2)
    except BaseException as error:  # out of memory, a bug, an interrupt: the folder has to say so
        traceback.print_exc()
        return _log_failure(log, _explain(error), 1)
    finally:
        for close in at_exit:  # the backup gets the end of the log, too
            close()


def _explain(error: BaseException) -> str:
    """Return what went wrong. If another process of the run has died, this one only sees its connection break."""
    text = f"{type(error).__name__}: {error}"
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1 and isinstance(error, RuntimeError)  # gloo's and NCCL's
    phrases = ("Connection closed", "Connection reset", "Broken pipe", "Timed out", "remote process", "NCCL")
    if several and any(phrase in text for phrase in phrases):
        return f"Another process of this run is gone; see {LOG}. Resume goes on from the newest checkpoint. ({text})"
    return text


def _log_failure(log: EventLog, why: str, code: int) -> int:
    """Write why to ``log.txt`` first, then to the events: on a full disk the event may not fit."""
    print(why, file=sys.stderr, flush=True)
    with contextlib.suppress(EtabliError, OSError):
        log.write("end", state="failed", why=why)
    return code


def _train(
    run: Path, log: EventLog | SilentLog, signals: list[str], at_exit: list[Callable[[], None]], consent: Consent
) -> str | None:
    """Train; returns why it stopped. Functions put into ``at_exit`` are called after the last event."""
    keys, frozen = read_recipe(run / RECIPE)
    if not {"model_hash", "data_hash", "recipe"} <= set(frozen):  # an incomplete section says nothing
        frozen = {}
    recipe = Recipe(**keys)
    command = f"etabli resume {shlex.quote(str(run))} --trust-code"
    trust.require(recipe_code.list_code(recipe, run), consent.trust_code, command)
    start_time = time.monotonic()
    if not consent.own_recipe:
        recipe = without_unknown_backup(run, recipe, frozen, lambda text: log.write("warning", what=text))
    training = _prepare(run, recipe, frozen, log, consent.force, consent.force or consent.own_recipe)
    if training.backup:
        at_exit.append(training.backup.close)
    reason = training.train(_stop_reason(run, recipe, start_time, signals))
    if reason is None:
        training.finish()
    return reason


def _prepare(
    run: Path, recipe: Recipe, frozen: Fingerprint, log: EventLog | SilentLog, force: bool, any_data: bool
) -> "Training":
    """Load everything, restore the newest checkpoint if there is one, and run the preflight.

    Raises:
        BadInput: the run's fingerprint has changed, or is lost, and ``force`` is not given.
    """
    import torch

    from etabli.core import machine
    from etabli.models import loading, lora_names, sources
    from etabli.rendering.render import set_thinking
    from etabli.runs import checkpoints, run_template
    from etabli.training import oom, train_data
    from etabli.training.preflight import run_preflight
    from etabli.training.trainer import Training

    if (run / ADAPTER).exists() and not (run / ADAPTER / MANIFEST).is_file():  # now, not after all the training
        raise BadInput(f"{run / ADAPTER} was not written by a run: move it away, the final adapter goes there.")
    torch.set_num_threads(recipe.threads or machine.threads())
    source = sources.resolve(recipe.model)
    lora_names.require_names(recipe.lora.peft_fields(), source.folder, source.name)
    template = run_template.read_run_template(recipe, run)
    tokenizer = loading.load_tokenizer(source, template)
    open_rows = Dataset.open if any_data else _open_rows_by_hash(recipe, frozen)
    data = train_data.load_train_data(recipe, tokenizer, run, open_rows=open_rows)
    dtype = _dtype(recipe, source, frozen)
    fingerprint = train_data.fingerprint(recipe, source, tokenizer, data, dtype)
    _check_fingerprint(run, recipe, frozen, fingerprint, log, force)
    with oom.measure_phase(log.write, "load"):
        loaded_model = loading.load(
            recipe.model, alongside=True, device=_device(), dtype=dtype, template=template, keep_dequantized=False
        )
    set_thinking(loaded_model.tokenizer, fingerprint["thinks"])
    training = Training(run, recipe, loaded_model, data, log)
    checkpoint = training.decide_together(lambda: checkpoints.find_newest_valid(run, training.warn))
    if checkpoint and not frozen and not force:
        raise BadInput(
            f"{run / RECIPE} has lost its section 'frozen', which says what this run began with: put it back from the "
            "backup or a copy, or go on with resume --force, which can promise nothing."
        )
    _log_start(log, training, data, fingerprint)
    run_preflight(training)
    if checkpoint:
        training.restore(checkpoint)
    if checkpoint or frozen:  # without a checkpoint it begins again, and what was written before is superseded
        log.write("resume", step=training.step)
    return training


def _check_fingerprint(
    run: Path,
    recipe: Recipe,
    frozen: Fingerprint,
    fingerprint: Fingerprint,
    log: EventLog | SilentLog,
    force: bool,
) -> None:
    """Compare the fingerprint with what the run began with; write it into the recipe if it is new or forced.

    Raises:
        BadInput: they differ, and ``force`` is not given.
    """
    differences = changes({"engine": 1, **frozen}, fingerprint) if frozen else ""
    if differences and not force:
        raise BadInput(
            f"This is no longer the same run: {differences}. Put it back, start a new run, or go on with "
            "resume --force."
        )
    if differences:
        text = f"Forced to go on. The weights will not be those of an unbroken run: {differences}."
        log.write("warning", what=text)
    if differences or not frozen:
        recipe.save(run / RECIPE, fingerprint)


def _open_rows_by_hash(recipe: Recipe, frozen: Fingerprint) -> "OpenRows":
    """Return a function that opens the recipe's data if they lie near the run or have the hash that it froze."""
    hashes = {recipe.eval_data: frozen.get("eval_data_hash"), recipe.data: frozen.get("data_hash")}
    return lambda name, run: open_rows_of_run(name, run or Path(), hashes[name])


def _dtype(recipe: Recipe, source: "Source", frozen: Fingerprint) -> str:
    """Return the data type to compute in: the recipe's; else the one the run began with, if this device can.

    Otherwise the fastest one here. A run of an older version froze none; it went by the processor's flags.
    """
    from etabli.core import cpu_dtype, machine
    from etabli.models import loading

    name: str = recipe.dtype
    if name == "auto" and frozen:
        older = "auto" if machine.device() == "cuda" else cpu_dtype.by_flags(cpu_dtype.cpu_flags())
        name = str(frozen.get("dtype", older))
        name = "auto" if machine.dtype_refusal(name) else name
    threads = recipe.threads or machine.threads()
    dtype = machine.compute_dtype(name, loading.hidden_size(source.folder), threads)
    return str(dtype).removeprefix("torch.")


def _log_start(log: EventLog | SilentLog, training: "Training", data: "TrainData", fingerprint: Fingerprint) -> None:
    from etabli.training.plan_warnings import list_warnings

    for sentence in list_warnings(training.recipe, data, training.sampler.steps):
        log.write("warning", what=sentence)
    log.write(
        "start",
        steps=training.sampler.steps,
        rows=len(data.rows),
        held_out=len(data.held_out),
        trained_tokens_total=sum(row.trained_tokens for row in data.rows),
        probes=[messages[-1]["content"] for messages in data.sample_prompts],
        device=training.loaded.device,
        dtype=str(training.loaded.dtype).removeprefix("torch."),
        threads=fingerprint["threads"],
        processes=training.accelerator.num_processes,
        versions=fingerprint["versions"],
    )


def changes(old_facts: Mapping[str, object], now: Mapping[str, object], path: str = "") -> str:
    """Return every field that differs, in words; empty if none does. Fields that ``old_facts`` lacks do not count."""
    sentences = []
    for name in [name for name in now if name in old_facts and old_facts[name] != now[name]]:
        old, new = old_facts[name], now[name]
        if isinstance(old, dict) and isinstance(new, dict):
            sentences.append(changes(old, new, f"{path}{name}."))
        else:
            sentences.append(f"{path}{name} was {old!r}, is {new!r}")
    return "; ".join(filter(None, sentences))


def _device() -> str | None:
    """Return the device of this process, if a launcher started several."""
    import torch

    local = os.environ.get("LOCAL_RANK")
    return f"cuda:{local}" if local is not None and torch.cuda.is_available() else None


def _stop_reason(run: Path, recipe: Recipe, start_time: float, signals: list[str]) -> Callable[[], str | None]:
    """Return a function that says why to stop, or None: SIGTERM, the file ``stop``, or the minutes allowed."""

    def stop_reason() -> str | None:
        if signals:
            return "stopped by signal"
        if (run / STOP).exists():
            return "stopped on request"
        if recipe.max_minutes and time.monotonic() - start_time > recipe.max_minutes * 60:
            return f"max_minutes ({recipe.max_minutes:g}) reached"
        return None

    return stop_reason


@contextlib.contextmanager
def _heartbeat(log: EventLog) -> Iterator[None]:
    """Write a ``heartbeat`` event every ``HEARTBEAT_SECONDS``, in a thread."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(EtabliError, OSError):  # on a full disk the next real event says so
                log.write("heartbeat")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


if __name__ == "__main__":
    trust.trust_hashes(word.removeprefix("--code=") for word in sys.argv[2:] if word.startswith("--code="))
    with folders.outside_allowed("--allow-outside" in sys.argv[2:]):
        sys.exit(main(sys.argv[1], *(f"--{name}" in sys.argv[2:] for name in ("force", "own-recipe", "trust-code"))))
