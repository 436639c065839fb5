"""A person's own functions, called in the child: ``on_step``, ``on_eval`` and ``on_checkpoint``, each with its event.

    # watch.py, named by the recipe's key ``callbacks``
    def on_eval(event):
        if event["loss"] < 0.05:
            return "good enough"        # a text ends the run in order, as its reason

What is called is part of the recipe: the file's hash is frozen with the run.
"""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etabli.data.dataset import located
from etabli.errors import BadInput
from etabli.training.recipe import Recipe

NAMES = {"on_step": "step", "on_eval": "eval", "on_checkpoint": "checkpoint"}


class Callbacks:
    """Calls the functions of one file; a log that hands events on to it is ``watched``."""

    def __init__(self, recipe: Recipe, run: Path):
        self._of = _functions(recipe, run) if recipe.callbacks else {}
        self._run = run
        self.reason: str | None = None  # why the run is to stop, once a function has said so

    def __call__(self, kind: str, event: dict[str, Any]) -> None:
        """Hand an event to whoever wants it; a checkpoint's ``path`` is absolute here."""
        if kind not in self._of:
            return
        given = {**event, "path": str(self._run / event["path"])} if "path" in event else event
        said = self._of[kind](given)
        if isinstance(said, str) and said and self.reason is None:
            self.reason = said


def _functions(recipe: Recipe, run: Path) -> dict[str, Callable[[dict], Any]]:
    wanted = f"a Python file with one or more of {', '.join(f'{name}(event)' for name in NAMES)}"
    try:
        held = runpy.run_path(str(located(recipe.callbacks, run)))
    except (OSError, SyntaxError) as error:
        raise BadInput(f"callbacks: {recipe.callbacks} must be {wanted}: {error}.") from error
    found = {kind: held[name] for name, kind in NAMES.items() if callable(held.get(name))}
    if not found:
        raise BadInput(f"callbacks: {recipe.callbacks} must be {wanted}; it has none of them.")
    return found
