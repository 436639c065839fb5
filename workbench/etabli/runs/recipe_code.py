"""The Python files that a training recipe names: which they are, and whether this user said yes to them."""

from collections.abc import Sequence
from pathlib import Path

from etabli.core import trust
from etabli.core.trust import Code
from etabli.data.dataset import located
from etabli.runs.recipe import Recipe

PURPOSES = ("rules", "callbacks")


def code_of(recipe: Recipe, near: Path | None, purposes: Sequence[str] = PURPOSES) -> list[Code]:
    """The files that a recipe names for these purposes, looked for as its data are; nothing is run.

    Raises:
        BadInput: a file that is not there.
    """
    named = [(purpose, getattr(recipe, purpose)) for purpose in purposes]
    return [trust.read_code(located(name, near), purpose) for purpose, name in named if name]


def agree_to_train(recipe: Recipe, run_folder: Path, trust_code: bool, next_command: str) -> list[str]:
    """The sha256 of the files that a new run may execute, once its user has said yes to them.

    Whoever hands over a recipe says yes to what it names; but a recipe, or a file, that lies in a run's folder may be
    anybody's, and needs the yes as everywhere else.

    Raises:
        UntrustedCode: that yes is missing; BadInput: a file that is not there.
    """
    codes = code_of(recipe, run_folder)
    places = [code.path for code in codes] + [recipe.file] * (recipe.file is not None)
    if any(map(trust.in_run_folder, places)):
        trust.require(codes, trust_code, next_command)
    else:
        trust.remember(codes)
    return [code.sha256 for code in codes]


def agree_to_read(recipe: Recipe, near: Path | None, trust_code: bool, next_command: str) -> None:
    """Ask for the yes to a recipe's rules, which decide the rows that it trained on.

    Raises:
        UntrustedCode: nobody said yes to them; BadInput: a file that is not there.
    """
    trust.require(code_of(recipe, near, ["rules"]), trust_code, next_command)


def agree_to_look(recipe: Recipe, near: Path | None, trust_code: bool, next_command: str) -> None:
    """As ``agree_to_read``, but that whoever made the recipe in this program says yes to the rules by naming them.

    Raises:
        UntrustedCode: it was read from a file, and nobody said yes to its rules.
    """
    if recipe.file is None:
        trust.remember(code_of(recipe, near, ["rules"]))
    else:
        agree_to_read(recipe, near, trust_code, next_command)
