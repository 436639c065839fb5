"""Whether the files that a recipe names still are what the run in a folder began with."""

from collections.abc import Iterator
from pathlib import Path

from etabli.core import terminal
from etabli.core.contracts import TEMPLATE, Fingerprint
from etabli.core.errors import BadInput, MissingData
from etabli.data.dataset import Dataset
from etabli.data.names import BACKUP_FOLDER
from etabli.models import chat_templates
from etabli.runs import recipe_code
from etabli.runs.recipe import Recipe
from etabli.runs.run_data import local_files


def require_same_sources(recipe: Recipe, run: Path, frozen: Fingerprint) -> None:
    """Check that data, rules, callbacks and template are those that the run in ``run`` began with.

    Where the data are gone but the run holds a copy (a backup does), that copy is compared, and this is printed.

    Raises:
        MissingData: data are gone; BadInput: rows or files have changed, or a Python file is gone.
    """
    changed_rows = "; ".join(_list_changed_rows(recipe, run, frozen))
    if changed_rows:
        raise BadInput(
            f"{run} holds a run of other rows: {changed_rows}. Choose another folder for a run of these rows, or look "
            f"at it as it is: Run.attach({str(run)!r})."
        )
    if changed_files := "; ".join(_list_changed_files(recipe, run, frozen)):
        raise BadInput(
            f"{run} holds a run of other files: {changed_files}. Choose another folder for a run with these files, or "
            f"look at it as it is: Run.attach({str(run)!r})."
        )


def _list_changed_rows(recipe: Recipe, run: Path, frozen: Fingerprint) -> Iterator[str]:
    known_hashes = {recipe.data: frozen.get("data_hash"), recipe.eval_data: frozen.get("eval_data_hash")}
    for name, known_hash in known_hashes.items():
        if not name:
            continue
        paths = local_files(name, run)
        if paths == []:
            raise MissingData(
                f"{run} holds a run on {name}, which is no longer there: nobody can tell whether these are the rows "
                f"you mean. Put {name} back, choose another folder, or take the run as it is: "
                f"Run.attach({str(run)!r})."
            )
        if paths and all(path.is_relative_to(run / BACKUP_FOLDER) for path in paths):
            terminal.say(f"{name} is no longer there; the run stands on its own copy, {paths[0]}.")
        if known_hash and (new_hash := Dataset.open(name, run).hash) != known_hash:
            yield f"{name} has changed since ({known_hash[:8]} -> {new_hash[:8]})"


def _list_changed_files(recipe: Recipe, run: Path, frozen: Fingerprint) -> Iterator[str]:
    known_hashes = {"rules": frozen.get("rules_hash"), "callbacks": frozen.get("callbacks_hash")}
    for code in recipe_code.list_code(recipe, run):
        known_hash = known_hashes[code.purpose]
        if known_hash and code.sha256 != known_hash:
            yield f"{code.purpose} ({code.path}) have changed since ({known_hash[:8]} -> {code.sha256[:8]})"
    copy = run / TEMPLATE
    if recipe.template and recipe.template not in chat_templates.NAMES and copy.is_file():
        folder = recipe.file.parent if recipe.file else None
        if chat_templates.read_template(recipe.template, folder) != copy.read_text(encoding="utf-8"):
            yield f"the template {recipe.template} has changed since"
