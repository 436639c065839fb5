"""The chat template that a recipe names. A run keeps a copy of the Jinja file, so that its folder is complete.

A run folder may come from a stranger: no path in its recipe is followed out of the folder.
"""

from pathlib import Path

from etabli.core import folders, parsing, storage, trust
from etabli.core.contracts import TEMPLATE
from etabli.core.errors import BadInput
from etabli.models import chat_templates
from etabli.rendering import template_engine
from etabli.runs.recipe import Recipe


def freeze_template(recipe: Recipe, run_folder: Path) -> None:
    """Copy the Jinja file of a new run's recipe into its folder; a template that has a name needs no copy.

    Raises:
        BadInput: there is no such file.
    """
    if recipe.template and recipe.template not in chat_templates.NAMES:
        text = chat_templates.read_template(recipe.template, recipe.file.parent if recipe.file else None)
        run_folder.mkdir(parents=True, exist_ok=True)
        storage.write_text(run_folder / TEMPLATE, text)


def read_run_template(recipe: Recipe, place: Path | None) -> str | None:
    """Return the template that a recipe names: a name, the text of a file, or None for the model's own.

    Args:
        place: the run folder, or the recipe's file; None for a recipe that was made in this program.

    Raises:
        BadInput: a run folder without its copy of the template.
    """
    if recipe.template is None or recipe.template in chat_templates.NAMES:
        return recipe.template
    folder = None if place is None else place if place.is_dir() else place.parent
    if folder is None or not trust.in_run_folder(folder / TEMPLATE):
        return chat_templates.read_template(recipe.template, folder)
    names = [TEMPLATE, *[recipe.template] * (folder / recipe.template).is_relative_to(folder)]
    name = next((name for name in names if (folder / name).is_file()), None)
    if name is None:
        raise BadInput(
            f"{folder} names the template {parsing.short_repr(recipe.template)} and holds no copy of it: put the file "
            f"there as {TEMPLATE}."
        )
    return parsing.read_text(folders.resolve_inside(folder, name), template_engine.LARGEST)
