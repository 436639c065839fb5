"""Python files of a person's own: rules, scores."""

import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from etabli import storage
from etabli.errors import BadInput


def from_file(path: str | Path, what: str) -> ModuleType:
    """Run a file and give its module.

    Args:
        path: a Python file; what: what it is called in messages, in the plural.

    Raises:
        BadInput: no such file, no Python, or it raised.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"There is no file of {what} {path}.")
    name = f"etabli_{what}_{storage.sha256(path)[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadInput(f"{path} is no Python file.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise BadInput(f"{path} can't be run: {type(error).__name__}: {error}") from error
    return module


def made_here(item: Any, module: ModuleType, name: str) -> bool:
    """Is this a public function that the module itself defines?"""
    mine = callable(item) and getattr(item, "__module__", None) == module.__name__
    return mine and not inspect.isclass(item) and not name.startswith("_")
