"""A person's own functions, called in the child: ``on_step``, ``on_eval`` and ``on_checkpoint``, each with its event.

    # watch.py, named by the recipe's key ``callbacks``
    def on_eval(event):
        if event["loss"] < 0.05:
            return "good enough"        # a text ends the run in order, as its reason

The file is run only if this user said yes to it (``etabli.core.trust``). Its hash is part of the run's fingerprint. It
can't import files beside it: a change in them would not be noticed. Its use of random numbers does not change the run.
"""

import inspect
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from etabli.core import trust
from etabli.core.errors import BadInput
from etabli.core.secrets import cover_secrets
from etabli.data.dataset import find_path
from etabli.runs.recipe import Recipe

REASON_LENGTH = 500  # characters of a reason, at most
NAMES = {"on_step": "step", "on_eval": "eval", "on_checkpoint": "checkpoint"}
Callback = Callable[[dict[str, object]], object]


class Callbacks:
    """Calls the functions of one file, in the process that writes events (``enabled``)."""

    def __init__(self, recipe: Recipe, run: Path, enabled: bool = True):
        self._file = find_path(recipe.callbacks, run) if recipe.callbacks else None
        self._functions = _load_functions(self._file) if self._file and enabled else {}
        self._run = run
        self.reason: str | None = None  # why the run is to stop, once a function has returned a text
        self.error: BadInput | None = None  # what a function raised; it is raised again after the run is saved

    def handles(self, kind: str) -> bool:
        """Return whether there is a function for these events, and none has raised an error yet."""
        return kind in self._functions and self.error is None

    def __call__(self, kind: str, event: Mapping[str, object]) -> None:
        """Call the function of this kind of event; a checkpoint's ``path`` is made absolute for it."""
        copy = dict(event)
        if "path" in copy:
            copy["path"] = str(self._run / str(copy["path"]))
        try:
            answer = self._functions[kind](copy)
        except (Exception, SystemExit) as error:
            line = traceback.extract_tb(error.__traceback__)[-1]
            place = f"line {line.lineno} of {Path(line.filename).name}"
            self.error = BadInput(
                f"on_{kind} of {self._file} raised {type(error).__name__}: {error} ({place}). "
                "The run is saved up to here."
            )
            return
        if isinstance(answer, str) and answer and self.reason is None:
            self.reason = cover_secrets(answer)[:REASON_LENGTH].encode("utf-8", "replace").decode()

    def raise_error(self) -> None:
        """Raise the error of a function, if there was one; call it after the run is saved."""
        if self.error:
            raise self.error


def _load_functions(file: Path) -> dict[str, Callback]:
    """Run the file; returns its functions by kind of event.

    Raises:
        BadInput: it can't be run, has none of the functions, or one that is async or a generator.
    """
    requirement = f"a Python file with one or more of {', '.join(f'{name}(event)' for name in NAMES)}"
    code = trust.trusted_code(file, "callbacks")
    try:
        values = vars(code.run())
    except BadInput as error:
        raise BadInput(f"callbacks: {file} must be {requirement}: {error}.") from error
    functions = {kind: values[name] for name, kind in NAMES.items() if callable(values.get(name))}
    for kind, function in functions.items():
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise BadInput(
                f"callbacks: on_{kind} of {file} must be a plain function: nobody would await it or run it on."
            )
    if not functions:
        raise BadInput(f"callbacks: {file} must be {requirement}; it has none of them.")
    return functions
