"""A run is a folder that a detached child writes and any process can read.

runs/NAME/
  recipe.yaml     frozen, with hashes of data, model and template
  lock            held by the child while it lives
  process.json    pid, start time, host
  events.jsonl    append-only, one JSON object a line
  log.txt         everything the child printed
  checkpoints/    step-000050/ …, whole or absent
  adapter/        the final adapter
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etabli.core import folders, machine, parsing, processes, storage, terminal, trust
from etabli.core.contracts import (
    ADAPTER,
    ENDED,
    EVENTS,
    HEARTBEAT_SECONDS,
    LOCK,
    LOG,
    PROCESS,
    RECIPE,
    STOP,
    Continuity,
)
from etabli.core.errors import BadInput, EtabliError
from etabli.runs import checkpoints, continuity, events, recipe_code
from etabli.runs.recipe import Recipe, read_run

LETTING_GO = 5.0  # seconds
# Options of the child: the person handed over this recipe, so it may name any data; and what --allow-outside means.
OWN_RECIPE, ALLOW_OUTSIDE = "--own-recipe", "--allow-outside"


class Run:
    """A view of a run folder: start, attach, wait, stop, resume. It owns nothing; the folder is the truth."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder).absolute()
        self._events: list[dict[str, Any]] = []
        self._offset = 0
        self._child: subprocess.Popen | None = None
        self._monitor: Any = None

    @classmethod
    @folders.takes_allow_outside
    def start(cls, recipe: Recipe, folder: str | Path, trust_code: bool = False) -> "Run":
        """Freeze the recipe into a new folder and start the child.

        Args:
            trust_code: say yes to the Python files that the recipe names. Who hands over a recipe of theirs need not;
                it is asked for where recipe or files lie in a run's folder, which may be anybody's.
            allow_outside: data that a mapping file names may lie outside of its folder.

        Raises:
            BadInput: the folder has a run already, or the recipe names what is not there; DeviceBusy: another run
            owns the device; UntrustedCode: that yes is missing; OutsideFolder: a link in the folder leads out of it.
        """
        run = cls(folder)
        folders.files_of(run.folder)
        hashes = recipe_code.agree_to_train(recipe, run.folder, trust_code, "Run.start(..., trust_code=True)")
        if (run.folder / RECIPE).exists() and not run._set_aside():
            raise BadInput(
                f"{folder} already holds a run ({run.state}). Use Run.attach({str(folder)!r}) to look at it, "
                ".resume() to go on, or choose another folder."
            )
        _check(recipe)
        processes.refuse_if_owned(f"Training {run.folder.name} can't begin")
        with storage.disk_errors(run.folder):
            recipe.save(run.folder / RECIPE)
            return run._spawn(recipe, hashes, [OWN_RECIPE])

    def _set_aside(self) -> bool:
        """Rename a run that failed before its first step, so that a mended recipe can take its place."""
        if self.state not in ("failed", "lost") or events.of(self._events, "step"):
            return False
        aside = self.folder.with_name(f"{self.folder.name}.failed-{time.strftime('%Y%m%d-%H%M%S')}")
        self.folder.replace(aside)
        self._events, self._offset = [], 0
        return True

    @classmethod
    def attach(cls, folder: "Run | str | Path") -> "Run":
        """Look at a run that is there, alive or not; a Run is given back as it is.

        Raises:
            BadInput: no run in that folder; OutsideFolder: a link in it leads outside, or a pipe or a device is there.
        """
        if isinstance(folder, Run):
            return folder
        run = cls(folder)
        if not os.path.lexists(run.folder / RECIPE):
            raise BadInput(f"{folder} holds no run: it has no {RECIPE}.")
        folders.files_of(run.folder)
        return run

    @classmethod
    def ensure(cls, recipe: Recipe, folder: str | Path, trust_code: bool = False) -> "Run":
        """Start a run, or attach to it if the folder holds it already: what a notebook cell that is run twice needs.

        Raises:
            BadInput: the folder holds a run of another recipe; otherwise as ``start``.
        """
        if not (Path(folder) / RECIPE).exists():
            return cls.start(recipe, folder, trust_code)
        run = cls.attach(folder)
        was, now = run.recipe.keys(), recipe.keys()
        changed = [f"{key} {was[key]!r} -> {now[key]!r}" for key in now if was[key] != now[key]]
        if changed:
            raise BadInput(f"{folder} holds a run of another recipe ({'; '.join(changed)}). Choose another folder.")
        return run

    @folders.takes_allow_outside
    def resume(self, force: bool = False, trust_code: bool = False) -> "Run":
        """Go on from the newest whole checkpoint.

        Args:
            force: also with other data, another model, template, processor or number of threads than it began with;
                a warning in the log says what can no longer be promised.
            trust_code: say yes to the Python files that the run's recipe names; those that you trained with here have
                it already.
            allow_outside: also on data from outside of the run's project that are not what it began with, and with a
                mirror that holds no copy of this run.

        Raises:
            BadInput: it still runs, or is complete; DeviceBusy: another run owns the device; RunLocked: its process has
            written its end and is not gone yet; UntrustedCode: the recipe names code that needs your yes.
        """
        if self.state not in ENDED:
            raise BadInput(f"Run {self.name} is {self.state}: there is nothing to resume.")
        if self.state == "completed":
            raise BadInput(f"Run {self.name} is complete. Start a new run to train further.")
        recipe = self.recipe
        codes = recipe_code.code_of(recipe, self.folder)
        trust.require(codes, trust_code, f"Run.attach({str(self.folder)!r}).resume(trust_code=True)")
        processes.refuse_if_owned(f"Resuming {self.name} can't begin")
        # A process that was killed lets go a moment after it is gone; one that has ended may be busy with the mirror.
        with storage.locked(self.folder / LOCK, f"Run {self.name}", patience=LETTING_GO):
            pass
        return self._spawn(recipe, [code.sha256 for code in codes], ["--force"] * force)

    def _spawn(self, recipe: Recipe, hashes: Sequence[str] = (), options: Sequence[str] = ()) -> "Run":
        """Start the child in a session of its own: interrupting a cell or ending the kernel does not reach it.

        ``hashes``: the sha256 of the files that it may run; it compares them with the bytes it runs.
        """
        (self.folder / STOP).unlink(missing_ok=True)
        threads = str(recipe.threads or machine.threads())
        options = [*options, *[ALLOW_OUTSIDE] * folders.is_outside_allowed()]
        arguments = [str(self.folder), *options, *(f"--code={sha256}" for sha256 in hashes)]
        with (self.folder / LOG).open("ab") as log:
            child = subprocess.Popen(
                [*_launcher(recipe.devices), "-m", "etabli.training.worker", *arguments],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=processes.child_environment(OMP_NUM_THREADS=threads, PYTHONUNBUFFERED="1"),
            )
        # The child writes the same of itself; until it has, whoever looks should see that something is coming.
        before = {"events_before": events.count(self.folder)}
        storage.write_json(self.folder / PROCESS, processes.identity(child.pid) | before)
        processes.own_device(self.folder, child.pid)  # from now on, not from when it has loaded its libraries
        self._child = child
        return self

    # --- looking ----------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def recipe(self) -> Recipe:
        """The recipe it was started with."""
        return Recipe(**read_run(self.folder / RECIPE)[0]).read_from(self.folder / RECIPE)

    @property
    def frozen(self) -> dict[str, Any]:
        """Hashes, threads and versions that the run promises."""
        return read_run(self.folder / RECIPE)[1]

    @property
    def dtype(self) -> str:
        """What the run computes in; ``auto`` before it has begun, and where this device can't compute in it."""
        name = self.frozen.get("dtype", self.recipe.dtype)
        return "auto" if machine.dtype_refusal(name) else name

    @property
    def adapter(self) -> Path:
        """The final adapter, or the newest whole checkpoint's of a run that has not ended.

        Raises:
            BadInput: nothing has been saved yet.
        """
        if (self.folder / ADAPTER).is_dir():
            return self.folder / ADAPTER
        newest = checkpoints.newest_whole(self.folder)
        if newest is None:
            raise BadInput(f"Run {self.name} ({self.state}) has saved no adapter yet.")
        return newest

    def events(self) -> list[dict[str, Any]]:
        """Everything the child has written so far, superseded records left out."""
        fresh, self._offset = events.read(self.folder / EVENTS, self._offset)
        self._events += fresh
        return events.current(self._events)

    def frame(self, kind: str | None = "step"):
        """The events of one kind, or of all, as a pandas frame."""
        import pandas as pd

        return pd.DataFrame(events.of(self.events(), kind) if kind else self.events())

    @property
    def state(self) -> str:
        """One of ``contracts.STATES``."""
        self.events()
        owner = self._process()
        ends = [at for at, event in enumerate(self._events) if event.get("kind") == "end"]
        before = owner.get("events_before", 0)
        if ends and ends[-1] >= before:  # an older end is an earlier process's
            return self._events[ends[-1]]["state"]
        if not self._alive(owner):
            return "lost"
        if (self.folder / STOP).exists():
            return "stopping"
        return "running" if events.of(self._events[before:], "step") else "starting"

    def _process(self) -> dict[str, Any]:
        try:
            said = parsing.read_json(self.folder / PROCESS, parsing.LARGEST_CONFIG)
        except (OSError, ValueError):
            return {}
        return said if isinstance(said, dict) else {}

    def _alive(self, owner: dict[str, Any]) -> bool:
        if self._child is not None:
            self._child.poll()  # a child that has ended is a zombie until its parent has asked
        return processes.alive(owner) or self._beats(owner)

    def _beats(self, owner: dict[str, Any]) -> bool:
        """A run on another machine can only be told by its heartbeat."""
        elsewhere = owner.get("host") not in (None, socket.gethostname())
        latest = self._events[-1].get("t", 0) if self._events else 0
        return elsewhere and time.time() - latest < 6 * HEARTBEAT_SECONDS

    def progress(self) -> dict[str, Any]:
        """Where it is: run, state, step, steps, loss, tokens_per_s, seconds_left, memory_bytes."""
        seen = self.events()
        steps = events.of(seen, "step")
        now = steps[-1] if steps else {}
        total = events.last(seen, "start").get("steps")
        return {
            "run": str(self.folder),
            "state": self.state,
            "step": now.get("step", 0),
            "steps": total,
            "loss": now.get("loss"),
            "tokens_per_s": _recent_speed(steps),
            "seconds_left": _seconds_left(steps, total),
            "memory_bytes": now.get("memory_bytes"),
            "continuity": self.continuity(),
        }

    def continuity(self) -> list[Continuity]:
        """For each time the run went on: are the steps that it did twice the same, to the last bit?"""
        self.events()
        return continuity.proofs(self._events)

    def notes(self) -> list[str]:
        """What a person has to know of the run: its warnings, and whether it went on as the same run."""
        warnings = [str(event.get("what", "")) for event in events.of(self.events(), "warning")]
        return [*map(continuity.said, self.continuity()), *warnings]

    # --- acting -----------------------------------------------------------------------------------------------------

    def wait(self, quiet: bool = False) -> "Run":
        """Wait for the end, saying where it is. Interrupting ends the waiting, not the run.

        On Colab and Kaggle a cell that waits is also what keeps the runtime from looking idle.

        Raises:
            EtabliError: the run failed; the message is the child's.
        """
        from etabli.runs.progress import Line, describe

        line = Line(quiet)
        try:
            while (state := self.state) not in ENDED:
                line.show(describe(self.progress()))
                time.sleep(0.5)
        except KeyboardInterrupt:
            line.close()
            terminal.say(f"Stopped waiting; run {self.name!r} goes on. .stop() ends it, .wait() waits again.")
            return self
        line.show(describe(self.progress()), urgent=True)
        line.close()
        self._refresh_twin()
        if state in ("failed", "lost"):
            raise EtabliError(f"Run {self.name} {state}: {self.why} See {self.folder / LOG}.")
        return self

    def _refresh_twin(self) -> None:
        """The HTML twin of a monitor was frozen when it was shown; bring it to the end."""
        if self._monitor is not None:
            self._monitor.feed(self.events(), self.state, self.why, self.notes())
            self._monitor.refresh()

    @property
    def why(self) -> str:
        """Why it ended, in the child's words."""
        seen, before = self.events(), self._process().get("events_before", 0)
        ended = any(event.get("kind") == "end" for event in self._events[before:])  # an older end is another process's
        said = events.last(seen, "end").get("why") if ended else None
        return said or self._last_printed() or "its process is gone without a word. .resume() goes on."

    def _last_printed(self) -> str:
        try:
            told = (self.folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            return ""
        lines = [line for line in told if "Warning:" not in line and "warnings.warn" not in line]
        return f"killed or out of memory? The last it printed: {lines[-1]}" if lines else ""

    def stop(self, wait: bool = True) -> "Run":
        """Ask the child to finish its step, save and end."""
        if self.state in ENDED:
            return self
        (self.folder / STOP).touch()  # not SIGTERM as well: a child still importing would die of it without a word
        while wait and self.state not in ENDED:
            time.sleep(0.2)
        return self

    def show(self):
        """A ``RunMonitor`` that follows this folder, with a Stop button, and Resume when the run is over."""
        from etabli.runs.monitor import follow

        self._monitor = follow(self)
        return self._monitor

    def __repr__(self) -> str:
        now = self.progress()
        loss = f", loss {now['loss']:.3f}" if now["loss"] is not None else ""
        return f"Run({self.name!r}: {now['state']}, step {now['step']}/{now['steps'] or '?'}{loss})"


def _check(recipe: Recipe) -> None:
    """What can be told before a child is started, so that a slip leaves no failed run behind. Fetches the model."""
    from etabli.data.parquet_rows import HOME_COMMANDS
    from etabli.data.reading.hub import on_the_hub
    from etabli.models import sources

    if recipe.accumulate % recipe.devices:
        raise BadInput(
            f"devices is {recipe.devices} and accumulate {recipe.accumulate}: each step's packs are shared out, so "
            f"make accumulate a multiple of {recipe.devices}."
        )
    for key in ("data", "eval_data", "rules", "callbacks"):
        path = getattr(recipe, key)
        if path and path != HOME_COMMANDS and not Path(path.partition("#")[0]).exists() and not on_the_hub(path):
            raise BadInput(f"{key}: there is no file or folder {path}.")
    if why := machine.dtype_refusal(recipe.dtype):
        raise BadInput(why)
    sources.resolve(recipe.model)


def _launcher(devices: int) -> list[str]:
    """What starts the child: on several devices torchrun, which is also what ``accelerate launch`` calls on GPUs.

    On a CPU ``accelerate launch --num_processes 2`` starts one process and says nothing (accelerate 1.15).
    """
    if devices == 1:
        return [sys.executable]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts", "0"]
    return [*torchrun, "--nproc-per-node", str(devices)]


def _recent_speed(steps: list[dict[str, Any]]) -> float | None:
    recent = [step["tokens_per_s"] for step in steps[-10:] if step.get("tokens_per_s")]
    return len(recent) / sum(1 / speed for speed in recent) if recent else None


def _seconds_left(steps: list[dict[str, Any]], total: int | None) -> float | None:
    """By the clock, so that evaluation and sampling are counted in."""
    recent = steps[-30:]
    if not total or len(recent) < 2 or recent[-1]["step"] == recent[0]["step"]:
        return None
    pace = (recent[-1]["t"] - recent[0]["t"]) / (recent[-1]["step"] - recent[0]["step"])
    return max(0.0, pace * (total - recent[-1]["step"]))
