"""The Python files that a task of lm-eval names by ``!function``; lm-eval runs them when it reads the task."""

from pathlib import Path
from typing import Any

from etabli.core import parsing, trust
from etabli.core.errors import BadInput
from etabli.core.trust import Code


def read_task(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The keys of a task's YAML, without what its tags stand for, and the functions that its tags name."""
    functions: list[str] = []
    keys = parsing.read_yaml(path, tagged=functions)
    return (keys if isinstance(keys, dict) else {}), functions


def code_of_task(path: Path, seen: frozenset[Path] = frozenset()) -> list[Code]:
    """The files that a task, and the YAML files that it includes, name beside themselves, as they are read now.

    Raises:
        BadInput: a function that is in no file beside the task: nobody could read it before it is run.
    """
    keys, functions = read_task(path)
    codes = [_code_of_function(path, name) for name in functions]
    included = keys.get("include") or []
    for name in [included] if isinstance(included, str) else included:
        place = (path.parent / str(name)).resolve()
        if place not in seen and place.is_file():
            codes += code_of_task(place, seen | {place})
    return codes


def _code_of_function(task: Path, name: str) -> Code:
    module = name.rpartition(".")[0]
    file = task.parent / f"{module.replace('.', '/')}.py"
    if not module or not file.is_file():
        raise BadInput(f"{task.name} names the function {name!r}: there is no file {file}. Put it beside the task.")
    return trust.read_code(file, "task functions")
