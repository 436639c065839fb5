"""A person's own functions, called in the child: ``on_step``, ``on_eval`` and ``on_checkpoint``, each with its event.

    # watch.py, named by the recipe's key ``callbacks``
    def on_eval(event):
        if event["loss"] < 0.05:
            return "good enough"        # a text ends the run in order, as its reason

The file is run only if this user said yes to it (``etabli.core.trust``). What is called is part of the recipe: the
file's hash is frozen with the run. It stands for itself: files beside it can't be imported, since nothing would notice
if they changed. Dice that it throws are its own.
"""

import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etabli.core import trust
from etabli.core.errors import BadInput
from etabli.core.secrets import hidden
from etabli.data.dataset import located
from etabli.runs.recipe import Recipe

LONGEST = 500  # characters of a reason
NAMES = {"on_step": "step", "on_eval": "eval", "on_checkpoint": "checkpoint"}


class Callbacks:
    """Calls the functions of one file, in the process that writes (``wanted``)."""

    def __init__(self, recipe: Recipe, run: Path, wanted: bool = True):
        self._file = located(recipe.callbacks, run) if recipe.callbacks else None
        self._of = _functions(self._file) if self._file and wanted else {}
        self._run = run
        self.reason: str | None = None  # why the run is to stop, once a function has said so
        self.error: BadInput | None = None  # what one of them raised: first the run is saved

    def wants(self, kind: str) -> bool:
        """Is there a function for these events, and has none raised yet?"""
        return kind in self._of and self.error is None

    def __call__(self, kind: str, event: dict[str, Any]) -> None:
        """Hand an event to the function that ``wants`` it; a checkpoint's ``path`` is absolute here."""
        given = {**event, "path": str(self._run / event["path"])} if "path" in event else dict(event)
        try:
            said = self._of[kind](given)
        except (Exception, SystemExit) as error:
            self.error = BadInput(f"on_{kind} of {self._file} {_where(error)}. The run is saved up to here.")
            return
        if isinstance(said, str) and said and self.reason is None:
            self.reason = hidden(said)[:LONGEST].encode("utf-8", "replace").decode()

    def complain(self) -> None:
        """Raise what a function raised, now that all is saved."""
        if self.error:
            raise self.error


def _where(error: BaseException) -> str:
    """What was raised, and in which line of the file that was called."""
    lines = traceback.extract_tb(error.__traceback__)
    return f"raised {type(error).__name__}: {error} (line {lines[-1].lineno} of {Path(lines[-1].filename).name})"


def _functions(file: Path) -> dict[str, Callable[[dict], Any]]:
    wanted = f"a Python file with one or more of {', '.join(f'{name}(event)' for name in NAMES)}"
    code = trust.trusted_code(file, "callbacks")
    try:
        held = vars(code.run())
    except BadInput as error:
        raise BadInput(f"callbacks: {file} must be {wanted}: {error}.") from error
    found = {kind: held[name] for name, kind in NAMES.items() if callable(held.get(name))}
    for name, function in ((name, held.get(name)) for name in NAMES):
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise BadInput(f"callbacks: {name} of {file} must be a plain function: nobody would await it or run it on.")
    if not found:
        raise BadInput(f"callbacks: {file} must be {wanted}; it has none of them.")
    return found
