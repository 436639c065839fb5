"""A second copy of a run in a folder of choice, made while training goes on: Drive, /kaggle/working, another disk.

MIRROR/NAME/ is itself a run folder: ``etabli resume MIRROR/NAME`` goes on from it when all else is lost.
"""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etabli.core import folders, storage
from etabli.core.contracts import ADAPTER, CHECKPOINTS, EVENTS, PROCESS, RECIPE
from etabli.core.errors import EtabliError
from etabli.data.dataset import kept_at, located
from etabli.data.parquet_rows import HOME_COMMANDS
from etabli.data.reading.mappings import mapped
from etabli.runs import checkpoints
from etabli.runs.recipe import Recipe, read_run

MOST_DATA = 1e9  # bytes of data that are copied along
PATIENCE = 300.0  # seconds that a run which has ended waits for its mirror


def mirrored(run: Path, recipe: Recipe, say: Callable[[str], None]) -> "Mirror | None":
    """The mirror that a recipe asks for; none for a run that goes on within its mirror."""
    if not recipe.mirror:
        return None
    if (Path(recipe.mirror) / run.name).resolve() == run.resolve():  # also by another name of the same folder
        say(f"mirror: {recipe.mirror} is where this run is: it has no second copy.")
        return None
    return Mirror(run, recipe, say)


def without_new_mirror(run: Path, recipe: Recipe, promised: dict[str, Any], say: Callable[[str], None]) -> Recipe:
    """The recipe of a run that goes on, without a mirror that does not hold this very run yet.

    A run folder may be a stranger's, and so may be the place that its recipe wants to have written.
    """
    if not recipe.mirror or folders.is_outside_allowed() or _holds_run(Path(recipe.mirror) / run.name, run, promised):
        return recipe
    say(
        f"mirror: {recipe.mirror} holds no copy of this run, so nothing is written there. If it is yours: resume with "
        "--allow-outside."
    )
    return recipe.model_copy(update={"mirror": None})


def _holds_run(place: Path, run: Path, promised: dict[str, Any]) -> bool:
    if place.resolve() == run.resolve():
        return True
    try:
        return bool(promised) and read_run(folders.inside(place, RECIPE))[1] == promised
    except EtabliError:
        return False


class Mirror:
    """Copies what it is offered, in a thread: a slow, full or broken mirror is a warning, never a stop.

    Only the newest offer waits; what was offered before it and not begun is passed over.
    """

    def __init__(self, run: Path, recipe: Recipe, say: Callable[[str], None]):
        self.run, self.place, self._recipe, self._say = run, Path(recipe.mirror) / run.name, recipe, say
        self._news = threading.Condition()
        self._waiting: Path | None = None
        self._closing = False
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def offer(self, checkpoint: Path) -> None:
        """There is a new checkpoint. Comes back at once."""
        with self._news:
            self._waiting = checkpoint
            self._news.notify()

    def close(self, patience: float = PATIENCE) -> None:
        """Wait until all is copied, within reason."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(patience)
        if self._thread.is_alive():
            self._say(f"mirror: {self.place} is still behind after {patience:.0f} s; it was left so.")

    def _work(self) -> None:
        self._try(self._data)
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._closing)
                checkpoint, self._waiting, last = self._waiting, None, self._closing
            if checkpoint:
                self._try(lambda checkpoint=checkpoint: self._copy(checkpoint))
            if last and not self._waiting:
                self._try(self._ending)
                return

    def _try(self, copy: Callable[[], None]) -> None:
        try:
            self._require_mine()
            copy()
        except Exception as error:  # whatever it is, the next checkpoint is to be tried, and a person to be told
            kind = type(error).__name__
            if kind not in self._told:  # the same for every checkpoint would fill the log
                self._say(f"mirror: {kind}: {error}")
            self._told.add(kind)

    def _require_mine(self) -> None:
        """A mirror that was resumed has a process of its own, which this one must not write over. No link leads out."""
        folders.files_of(self.place)
        if (self.place / PROCESS).exists():
            raise EtabliError(f"{self.place} was resumed and is a run of its own now; nothing more is copied there.")

    def _copy(self, checkpoint: Path) -> None:
        """The checkpoint first, then what speaks of it; older ones go last."""
        storage.copy_whole(checkpoint, self.place / CHECKPOINTS / checkpoint.name)
        self._papers()
        for old in checkpoints.found(self.place)[checkpoints.KEEP :]:
            shutil.rmtree(old, ignore_errors=True)

    def _papers(self) -> None:
        for name in (RECIPE, EVENTS):
            storage.copy_file(self.run / name, self.place / name)

    def _ending(self) -> None:
        if (self.run / ADAPTER).is_dir():
            storage.copy_whole(self.run / ADAPTER, self.place / ADAPTER)
        self._papers()

    def _data(self) -> None:
        """The files that the recipe names, so that the mirror alone is enough; not what is too large."""
        recipe = self._recipe
        for name in filter(None, (recipe.data, recipe.eval_data, recipe.rules, recipe.callbacks)):
            file, mark, entry = name.partition("#")
            source = located(file, self.run)
            if file == HOME_COMMANDS or not source.exists():
                continue
            self._keep(source, self.place / kept_at(file))
            self._mapped(source, f"{mark}{entry}", self.place / kept_at(file))

    def _mapped(self, source: Path, entry: str, place: Path) -> None:
        """The rows that a mapping file speaks of, where they lie beside it or below."""
        with folders.outside_allowed():  # whether it is copied is said below
            found = mapped(f"{source}{entry}") if source.is_file() else None
        rows = Path(found.target) if found else None
        if rows is None or not rows.exists():
            return
        if not rows.resolve().is_relative_to(source.parent.resolve()):
            raise EtabliError(f"{rows}, which {source.name} names, is not copied along: keep it where it is found.")
        self._keep(rows, place.parent / rows.resolve().relative_to(source.parent.resolve()))

    def _keep(self, source: Path, place: Path) -> None:
        if self.place.resolve().is_relative_to(source.resolve()):
            raise EtabliError(f"{source} is not copied along: the mirror lies within it. Choose a mirror elsewhere.")
        files = folders.files_of(source) if source.is_dir() else [source]
        size = sum(path.stat().st_size for path in files)
        if size > MOST_DATA:
            raise EtabliError(f"{source} ({size / 1e9:.1f} GB) is not copied along: keep it where it is found.")
        for path in files:
            storage.copy_file(path, place / path.relative_to(source) if source.is_dir() else place)
