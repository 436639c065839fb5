"""Find the Python files that a task of lm-eval names by ``!function``. lm-eval runs them when it reads the task."""

from pathlib import Path
from typing import Any

from etabli.core import parsing, trust
from etabli.core.errors import BadInput
from etabli.core.trust import Code


def read_task(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The keys of a task's YAML, with its tags left unread, and the functions that its tags name."""
    functions: list[str] = []
    keys = parsing.read_yaml(path, tagged_values=functions)
    return (keys if isinstance(keys, dict) else {}), functions


def code_of_task(path: Path, visited_paths: frozenset[Path] = frozenset()) -> list[Code]:
    """The files of functions that a task, and the YAML files that it includes, name.

    Raises:
        BadInput: a function whose file is not in the task's folder, so that nobody could read it before it is run.
    """
    keys, functions = read_task(path)
    codes = [_code_of_function(path, name) for name in functions]
    includes = keys.get("include") or []
    for name in [includes] if isinstance(includes, str) else includes:
        include = (path.parent / str(name)).resolve()
        if include not in visited_paths and include.is_file():
            codes += code_of_task(include, visited_paths | {include})
    return codes


def _code_of_function(task: Path, name: str) -> Code:
    module = name.rpartition(".")[0]
    file = task.parent / f"{module.replace('.', '/')}.py"
    if not module or not file.is_file():
        raise BadInput(f"{task.name} names the function {name!r}: there is no file {file}. Put it beside the task.")
    return trust.read_code(file, "task functions")
