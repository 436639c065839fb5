"""A run is a folder that a detached child process writes and any process can read.

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
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core import folders, locks, machine, processes, storage, terminal, trust
from etabli.core.contracts import ADAPTER, END_STATES, LOCK, LOG, RECIPE, STOP, Continuity, Fingerprint, RunProgress
from etabli.core.errors import BadInput, EtabliError
from etabli.core.progress import ProgressLine
from etabli.rendering.render import set_thinking
from etabli.runs import checkpoints, continuity, events, launch, page_messages, recipe_code, run_template
from etabli.runs.events import Event
from etabli.runs.progress import describe_progress, measure_progress
from etabli.runs.recipe import Recipe, read_recipe
from etabli.runs.run_sources import require_same_sources
from etabli.runs.state import StateReader

if TYPE_CHECKING:
    import pandas as pd

    from etabli.models.loading import LoadedModel
    from etabli_widgets import RunMonitor

LOCK_SECONDS = 5.0  # that resuming waits for the lock of a process that has just ended


_PATH_KEYS = ("data", "eval_data", "model", "template", "rules", "callbacks")


def _is_same(key: str, old: object, new: object) -> bool:
    """Return whether a key says the same: ``./rows.jsonl`` and the absolute path of that file do."""
    if old == new or key not in _PATH_KEYS or not isinstance(old, str) or not isinstance(new, str):
        return old == new
    return Path(old).exists() and Path(new).exists() and Path(old).samefile(new)


class Run:
    """A view of a run folder: start, attach, wait, stop, resume. All state is in the folder."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder).absolute()
        self._reader = StateReader(self.folder)
        self._recipe_file: tuple[tuple[int, int], Recipe, Fingerprint] | None = None
        self._monitor: RunMonitor | None = None

    @classmethod
    @folders.add_allow_outside
    def start(cls, recipe: Recipe, folder: str | Path, trust_code: bool = False) -> "Run":
        """Write the recipe into a new folder and start the child.

        Args:
            trust_code: say yes to the Python files that the recipe names. For a recipe of your own it is not needed;
                it is if recipe or files lie in a run's folder, which may be anybody's.
            allow_outside: data that a mapping file names may lie outside of its folder.

        Raises:
            BadInput: the folder has a run already, or the recipe names a file that is missing; DeviceBusy: another run
            owns the device; UntrustedCode: that yes is missing; OutsideFolder: a link in the folder leads out of it.
        """
        run = cls(folder)
        folders.list_files(run.folder)
        hashes = recipe_code.agree_to_train(recipe, run.folder, trust_code, "Run.start(..., trust_code=True)")
        if (run.folder / RECIPE).exists() and not run._set_aside():
            raise BadInput(
                f"{folder} already holds a run ({run.state}). Use Run.attach({str(folder)!r}) to look at it, "
                ".resume() to go on, or choose another folder."
            )
        launch.check_recipe(recipe)
        processes.require_free_device(f"Training {run.folder.name} can't begin")
        with storage.disk_errors(run.folder):
            run_template.freeze_template(recipe, run.folder)
            recipe.save(run.folder / RECIPE)
            return run._spawn(recipe, hashes, [launch.OWN_RECIPE])

    def _set_aside(self) -> bool:
        """Rename the folder of a run that failed before its first step, so that a corrected recipe can replace it."""
        if self.state not in ("failed", "lost") or events.of_kind(self._reader.all_events(), "step"):
            return False
        self.folder.replace(self.folder.with_name(f"{self.folder.name}.failed-{time.strftime('%Y%m%d-%H%M%S')}"))
        self._reader.forget()
        return True

    def _spawn(self, recipe: Recipe, hashes: Sequence[str] = (), options: Sequence[str] = ()) -> "Run":
        self._reader.child = launch.start_child(self.folder, recipe, hashes, options)
        return self

    @classmethod
    def attach(cls, folder: "Run | str | Path") -> "Run":
        """Return the run in a folder, alive or not; a ``Run`` is returned as it is.

        Raises:
            BadInput: no run in that folder; OutsideFolder: a link in it leads outside, or a pipe or a device is there.
        """
        if isinstance(folder, Run):
            return folder
        run = cls(folder)
        if not os.path.lexists(run.folder / RECIPE):
            raise BadInput(f"{folder} holds no run: it has no {RECIPE}.")
        folders.list_files(run.folder)
        return run

    @classmethod
    def ensure(cls, recipe: Recipe, folder: str | Path, trust_code: bool = False) -> "Run":
        """Start a run, or attach to it if the folder holds it already; so a notebook cell can be run twice.

        Raises:
            BadInput: the folder holds a run of another recipe, of other rows, rules, callbacks or template;
                MissingData: its data are gone, so that nobody can compare them; ``attach`` takes the run as it is;
                otherwise as ``start``.
        """
        if not (Path(folder) / RECIPE).exists():
            return cls.start(recipe, folder, trust_code)
        run = cls.attach(folder)
        old_keys, now = run.recipe.keys(), recipe.keys()
        changes = [
            f"{key} {old_keys[key]!r} -> {now[key]!r}" for key in now if not _is_same(key, old_keys[key], now[key])
        ]
        if changes:
            raise BadInput(f"{folder} holds a run of another recipe ({'; '.join(changes)}). Choose another folder.")
        require_same_sources(recipe, run.folder, run.frozen)
        return run

    @folders.add_allow_outside
    def resume(self, force: bool = False, trust_code: bool = False) -> "Run":
        """Go on from the newest whole checkpoint.

        Args:
            force: go on although data, model, template, processor or number of threads have changed; a warning in the
                log says what can no longer be promised.
            trust_code: say yes to the Python files that the run's recipe names; those that you trained with here have
                it already.
            allow_outside: also on data from outside of the run's project that are not what it began with, and with a
                backup that holds no copy of this run.

        Raises:
            BadInput: it still runs, or is complete; DeviceBusy: another run owns the device; RunLocked: its process has
            written its end and is not gone yet; UntrustedCode: the recipe names code that needs your yes.
        """
        if self.state not in END_STATES:
            raise BadInput(f"Run {self.name} is {self.state}: there is nothing to resume.")
        if self.state == "completed":
            raise BadInput(f"Run {self.name} is complete. Start a new run to train further.")
        recipe = self.recipe
        codes = recipe_code.list_code(recipe, self.folder)
        trust.require(codes, trust_code, f"Run.attach({str(self.folder)!r}).resume(trust_code=True)")
        processes.require_free_device(f"Resuming {self.name} can't begin")
        # A killed process gives up the lock a moment after it is gone; one that has ended may still write the backup.
        with locks.lock_file(self.folder / LOCK, f"Run {self.name}", patience=LOCK_SECONDS):
            pass
        return self._spawn(recipe, [code.sha256 for code in codes], ["--force"] * force)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    def _read_recipe(self) -> tuple[Recipe, Fingerprint]:
        """Return recipe and section ``frozen``; the file is parsed again only when it has changed."""
        path = self.folder / RECIPE
        version = (path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else (0, 0)
        if self._recipe_file is None or self._recipe_file[0] != version:
            keys, frozen = read_recipe(path)
            self._recipe_file = version, Recipe(**keys).read_from(path), frozen
        return self._recipe_file[1:]

    @property
    def recipe(self) -> Recipe:
        """The recipe it was started with."""
        return self._read_recipe()[0]

    @property
    def frozen(self) -> Fingerprint:
        """The fingerprint of the run: hashes, threads and versions that it began with."""
        return self._read_recipe()[1]

    @property
    def dtype(self) -> str:
        """The data type of the computation; ``auto`` before the run begins, or if this device can't compute in it."""
        name = str(self.frozen.get("dtype", self.recipe.dtype))
        return "auto" if machine.dtype_refusal(name) else name

    @property
    def adapter(self) -> Path:
        """The folder of the final adapter, or of the newest whole checkpoint if the run has not ended.

        Raises:
            BadInput: nothing has been saved yet.
        """
        if (self.folder / ADAPTER).is_dir():
            return self.folder / ADAPTER
        newest = checkpoints.find_newest_valid(self.folder)
        if newest is None:
            raise BadInput(f"Run {self.name} ({self.state}) has saved no adapter yet.")
        return newest

    @property
    def base_named(self) -> bool:
        """Whether a person named the base of its adapter; a run's recipe names it."""
        return False

    def load(
        self, alongside: bool = False, four_bit: bool = True, device: str | None = None, dtype: str | None = None
    ) -> "LoadedModel":
        """Load the base with the adapter on it, to be asked as it was trained: with its chat template, and to think.

        Args:
            alongside, four_bit, device: as for ``models.loading.load``; dtype: by default the run's own.
        """
        from etabli.models import loading

        dtype = dtype or self.dtype
        name, adapter, base_named = self.recipe.model, self.adapter, self.base_named
        loaded = loading.load(name, four_bit, adapter, alongside, device, dtype, base_named=base_named)
        set_thinking(loaded.tokenizer, self.frozen.get("thinks", False))
        return loaded

    def known_keys(self) -> dict[str, object]:
        """Return the keys of its recipe, and under ``frozen`` its fingerprint."""
        return self.recipe.keys() | {"frozen": {**self.frozen, "recipe": None}}

    def events(self) -> list[Event]:
        """Return all events so far, without superseded ones."""
        return events.drop_superseded(self._reader.all_events())

    def frame(self, kind: str | None = "step") -> "pd.DataFrame":
        """Return the events of one kind, or of all kinds, as a pandas frame."""
        import pandas as pd

        return pd.DataFrame(events.of_kind(self.events(), kind) if kind else self.events())

    @property
    def state(self) -> str:
        """One of ``contracts.STATES``, read from the folder each time."""
        return self._reader.state()

    @property
    def why(self) -> str:
        """Why it ended, in the child's words."""
        return self._reader.why()

    def progress(self) -> RunProgress:
        """Return run, state, step, steps, loss, tokens_per_s, seconds_left, memory_bytes, continuity and warnings.

        A run that is over has no time left: ``seconds_left`` is None.
        """
        progress: RunProgress = {
            "run": str(self.folder),
            "state": self.state,
            **measure_progress(self.events()),
            "continuity": self.continuity(),
            "warnings": self.warnings(),
        }
        if progress["state"] in END_STATES:
            progress["seconds_left"] = None
        return progress

    def continuity(self) -> list[Continuity]:
        """Return for each resume whether the steps that were done twice are the same to the last bit."""
        return continuity.compare_repeated_steps(self._reader.all_events())

    def notes(self) -> list[str]:
        """Return sentences for the person: whether it went on as the same run, and its warnings."""
        return [*map(continuity.describe, self.continuity()), *self.warnings()]

    def warnings(self) -> list[str]:
        """Return the run's warnings, each once: a resumed run gives those about its data again."""
        sentences = (str(event.get("what", "")) for event in events.of_kind(self.events(), "warning"))
        return list(dict.fromkeys(sentences))

    def wait(self, quiet: bool = False) -> "Run":
        """Wait for the end; show the progress, and each warning when it comes. Interrupting ends the waiting only.

        On Colab and Kaggle a cell that waits also keeps the runtime from being taken for idle.

        Raises:
            EtabliError: the run failed; the message is the child's.
        """
        line = ProgressLine(quiet)
        try:
            while self.state not in END_STATES:
                self._show_progress(line)
                if self._monitor is not None:  # its Stop button is heard while the cell waits
                    page_messages.handle_messages(self._monitor.model_id)
                time.sleep(0.25)
        except KeyboardInterrupt:
            line.close()
            terminal.say(f"Stopped waiting; run {self.name!r} goes on. .stop() ends it, .wait() waits again.")
            return self
        self._show_progress(line, urgent=True)
        line.close()
        if self._monitor is not None:  # its HTML copy was made when it was shown: bring it to the end
            self._monitor.feed(self.events(), self.state, self.why, self.notes())
            self._monitor.refresh()
        if (state := self.state) in ("failed", "lost"):
            raise EtabliError(f"Run {self.name} {state}: {self.why} See {self.folder / LOG}.")
        return self

    def _show_progress(self, line: ProgressLine, urgent: bool = False) -> None:
        """Show how far the run is, and the warnings that are new; those stand in the monitor where there is one."""
        progress = self.progress()
        if self._monitor is None:
            line.add_warnings(progress["warnings"])
        line.show(describe_progress(progress), urgent)

    def stop(self, wait: bool = True) -> "Run":
        """Ask the child to finish its step, save and end."""
        if self.state in END_STATES:
            return self
        (self.folder / STOP).touch()  # without SIGTERM: a child that is still importing would die of it, silently
        while wait and self.state not in END_STATES:
            time.sleep(0.2)
        return self

    def show(self, earlier: "Run | None" = None) -> "RunMonitor":
        """Return a ``RunMonitor`` that follows this folder, with a Stop button, and Resume when the run is over.

        Args:
            earlier: a run whose losses are laid under this one's: ``run.show(earlier=Run.attach("runs/first"))``.
        """
        from etabli.runs.monitor import follow

        self._monitor = follow(self, Run(self.folder), earlier)
        return self._monitor

    def __repr__(self) -> str:
        now = self.progress()
        loss = f", loss {now['loss']:.3f}" if now["loss"] is not None else ""
        return f"Run({self.name!r}: {now['state']}, step {now['step']}/{now['steps'] or '?'}{loss})"
