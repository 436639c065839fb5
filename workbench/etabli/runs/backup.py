"""A second copy of a run in another folder, made while training goes on: Drive, /kaggle/working, another disk.

BACKUP/NAME/ is itself a run folder: ``etabli resume BACKUP/NAME`` goes on from it when all else is lost.
"""

import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from etabli.core import folders, storage
from etabli.core.contracts import ADAPTER, CHECKPOINTS, EVENTS, PROCESS, RECIPE, TEMPLATE
from etabli.core.errors import EtabliError
from etabli.core.wording import format_gib
from etabli.data.names import backup_path, find_files, split_entry
from etabli.data.parquet_rows import HOME_COMMANDS
from etabli.data.reading.mappings import read_entry
from etabli.runs import checkpoints
from etabli.runs.recipe import Recipe, read_recipe

MAX_DATA_BYTES = 1e9  # larger data are not copied
CLOSE_SECONDS = 300.0  # that a run which has ended waits for its backup
Warn = Callable[[str], None]


def make_backup(run: Path, recipe: Recipe, warn: Warn) -> "Backup | None":
    """Return the backup that a recipe asks for, and start it; None for a run that goes on within its own backup."""
    if not recipe.backup:
        return None
    folder = Path(recipe.backup) / run.name
    if folder.resolve() == run.resolve():  # it may be another name of the same folder
        warn(f"backup: {recipe.backup} is where this run is: it has no second copy.")
        return None
    return Backup(run, folder, recipe, warn)


def without_unknown_backup(run: Path, recipe: Recipe, frozen: Mapping[str, object], warn: Warn) -> Recipe:
    """Return the recipe of a run that goes on, without its backup if that folder holds no copy of this very run.

    A run folder may come from a stranger, and its recipe could name any place to be overwritten.
    """
    if not recipe.backup or folders.is_outside_allowed() or _holds_run(Path(recipe.backup) / run.name, run, frozen):
        return recipe
    warn(
        f"backup: {recipe.backup} holds no copy of this run, so nothing is written there. If it is yours: resume with "
        "--allow-outside."
    )
    return recipe.model_copy(update={"backup": None})


def _holds_run(folder: Path, run: Path, frozen: Mapping[str, object]) -> bool:
    if folder.resolve() == run.resolve():
        return True
    try:
        return bool(frozen) and read_recipe(folders.resolve_inside(folder, RECIPE))[1] == frozen
    except EtabliError:
        return False


class Backup:
    """Copies checkpoints in a thread. A slow, full or broken backup is a warning; it never stops the run.

    Only the newest checkpoint waits: an older one that is not yet begun is skipped.
    """

    def __init__(self, run: Path, folder: Path, recipe: Recipe, warn: Warn):
        self.run, self.folder, self._recipe, self._warn = run, folder, recipe, warn
        self._changed = threading.Condition()
        self._next_checkpoint: Path | None = None
        self._closing = False
        self._warned: set[str] = set()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def offer(self, checkpoint: Path) -> None:
        """Copy a new checkpoint as soon as possible. Returns at once."""
        with self._changed:
            self._next_checkpoint = checkpoint
            self._changed.notify()

    def close(self, patience: float = CLOSE_SECONDS) -> None:
        """Wait until all is copied, at most ``patience`` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(patience)
        if self._thread.is_alive():
            self._warn(f"backup: {self.folder} is still behind after {patience:.0f} s; it was left so.")

    def _work(self) -> None:
        self._try(self._copy_data)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next_checkpoint or self._closing)
                checkpoint, self._next_checkpoint, closing = self._next_checkpoint, None, self._closing
            if checkpoint:
                self._try(self._copy_checkpoint, checkpoint)
            if closing and not self._next_checkpoint:
                self._try(self._copy_adapter)
                return

    def _try(self, copy: Callable[..., None], *arguments: Path) -> None:
        try:
            self._require_own_folder()
            copy(*arguments)
        except Exception as error:  # whatever it is: the person is warned, and the next checkpoint is tried
            kind = type(error).__name__
            if kind not in self._warned:  # the same warning for every checkpoint would fill the log
                self._warn(f"backup: {kind}: {error}")
            self._warned.add(kind)

    def _require_own_folder(self) -> None:
        """Refuse a folder with links that lead out of it, or one in which another process has resumed the run."""
        folders.list_files(self.folder)
        if (self.folder / PROCESS).exists():
            raise EtabliError(f"{self.folder} was resumed and is a run of its own now; nothing more is copied there.")

    def _copy_checkpoint(self, checkpoint: Path) -> None:
        """Copy a checkpoint, then recipe and events, which refer to it; then delete the oldest ones."""
        storage.copy_folder(checkpoint, self.folder / CHECKPOINTS / checkpoint.name)
        self._copy_recipe_and_events()
        for old in checkpoints.list_checkpoints(self.folder)[checkpoints.KEEP :]:
            shutil.rmtree(old, ignore_errors=True)

    def _copy_recipe_and_events(self) -> None:
        names = (RECIPE, EVENTS, *[TEMPLATE] * (self.run / TEMPLATE).is_file())
        for name in names:
            storage.copy_file(self.run / name, self.folder / name)

    def _copy_adapter(self) -> None:
        if (self.run / ADAPTER).is_dir():
            storage.copy_folder(self.run / ADAPTER, self.folder / ADAPTER)
        self._copy_recipe_and_events()

    def _copy_data(self) -> None:
        """Copy the files that the recipe names, so that the backup alone is enough; not those that are too large."""
        recipe = self._recipe
        for name in filter(None, (recipe.data, recipe.eval_data, recipe.rules, recipe.callbacks)):
            file, entry = split_entry(name, self.run)
            target = self.folder / backup_path(file)
            for source in find_files(file, self.run) if file != HOME_COMMANDS else []:
                self._copy_path(source, target if source.name == target.name else target.parent / source.name)
                self._copy_mapped_rows(source, entry, target)

    def _copy_mapped_rows(self, source: Path, entry: str, target: Path) -> None:
        """Copy the rows that a mapping file names, if they lie beside it or below."""
        with folders.outside_allowed():  # the check below decides whether they are copied
            mapping = read_entry(f"{source}{entry}") if source.is_file() else None
        files = [Path(file) for file in mapping.files] or find_files(mapping.target, None) if mapping else []
        for rows in files:
            if not rows.resolve().is_relative_to(source.parent.resolve()):
                raise EtabliError(f"{rows}, which {source.name} names, is not copied along: keep it where it is found.")
            self._copy_path(rows, target.parent / rows.resolve().relative_to(source.parent.resolve()))

    def _copy_path(self, source: Path, target: Path) -> None:
        if self.folder.resolve().is_relative_to(source.resolve()):
            raise EtabliError(f"{source} is not copied along: the backup lies within it. Choose a backup elsewhere.")
        files = folders.list_files(source) if source.is_dir() else [source]
        size = sum(path.stat().st_size for path in files)
        if size > MAX_DATA_BYTES:
            raise EtabliError(f"{source} ({format_gib(size)}) is not copied along: keep it where it is found.")
        for path in files:
            storage.copy_file(path, target / path.relative_to(source) if source.is_dir() else target)
