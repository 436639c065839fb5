"""The Python files that a training recipe names: which they are, and whether this user said yes to them."""

from collections.abc import Sequence
from pathlib import Path

from etabli.core import trust
from etabli.core.trust import Code
from etabli.data.dataset import find_path
from etabli.runs.recipe import Recipe

PURPOSES = ("rules", "callbacks")


def list_code(recipe: Recipe, base_folder: Path | None, purposes: Sequence[str] = PURPOSES) -> list[Code]:
    """Return the files that a recipe names for these purposes; they are searched as its data are. Nothing is run.

    Raises:
        BadInput: a file that is not there.
    """
    names = [(purpose, getattr(recipe, purpose)) for purpose in purposes]
    return [trust.read_code(find_path(name, base_folder), purpose) for purpose, name in names if name]


def agree_to_train(recipe: Recipe, run_folder: Path, trust_code: bool, next_command: str) -> list[str]:
    """Return the sha256 of the files that a new run may execute, after its user has said yes to them.

    Handing over a recipe is a yes to the files it names. But a recipe, or a file, in a run's folder may be anybody's:
    it needs an explicit yes, as everywhere else.

    Raises:
        UntrustedCode: that yes is missing; BadInput: a file that is not there.
    """
    codes = list_code(recipe, run_folder)
    places = [code.path for code in codes] + ([recipe.file] if recipe.file is not None else [])
    if any(map(trust.in_run_folder, places)):
        trust.require(codes, trust_code, next_command)
    else:
        trust.remember(codes)
    return [code.sha256 for code in codes]


def agree_to_read(recipe: Recipe, base_folder: Path | None, trust_code: bool, next_command: str) -> None:
    """Require the user's yes to a recipe's rules, which decide the rows that it trained on.

    Raises:
        UntrustedCode: nobody said yes to them; BadInput: a file that is not there.
    """
    trust.require(list_code(recipe, base_folder, ["rules"]), trust_code, next_command)


def agree_to_look(recipe: Recipe, base_folder: Path | None, trust_code: bool, next_command: str) -> None:
    """As ``agree_to_read``; but making a recipe in this program is a yes to the rules that it names.

    Raises:
        UntrustedCode: it was read from a file, and nobody said yes to its rules.
    """
    if recipe.file is None:
        trust.remember(list_code(recipe, base_folder, ["rules"]))
    else:
        agree_to_read(recipe, base_folder, trust_code, next_command)
