"""``etabli train``, ``resume``, ``stop`` and ``runs``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from etabli.app.cli.output import reporting
from etabli.app.cli.outside import allow_outside
from etabli.app.cli.trusting import trust_code as trusting
from etabli.core.contracts import END_STATES, RunProgress
from etabli.core.progress import show_progress
from etabli.core.terminal import say

if TYPE_CHECKING:
    from etabli.runs.run import Run

_detach = click.option("--detach", is_flag=True, help="Start the run and return at once.")


def _format_progress(result: RunProgress) -> str:
    from etabli.runs import continuity
    from etabli.runs.progress import describe_progress

    notes = [*map(continuity.describe, result["continuity"]), *(f"Warning: {text}" for text in result["warnings"])]
    return "\n  ".join([result["run"], describe_progress(result), *notes])


def _exit_code(result: RunProgress) -> int:
    return 2 if result["state"] in ("failed", "lost") else 0


def _wait(run: "Run", detach: bool) -> RunProgress:
    """Wait for a run, unless ``detach``, and return its progress. Ctrl-C ends the wait with 130; the run goes on."""
    if not detach and run.wait().state not in END_STATES:
        raise KeyboardInterrupt
    return run.progress()


@click.command()
@click.argument("recipe")
@click.option("--run", "folder", help="Run folder. Default: runs/NAME, NAME from the recipe's file name.")
@_detach
@allow_outside
@trusting
@reporting(_format_progress, _exit_code)
def train(recipe: str, folder: str | None, detach: bool, trust_code: bool) -> RunProgress:
    """Start the run that RECIPE (YAML) describes and wait for it. Ctrl-C ends the wait; the run goes on."""
    with show_progress("loading libraries"):
        from etabli.runs.recipe import Recipe
        from etabli.runs.run import Run

    place = folder or Path("runs") / Path(recipe).stem
    return _wait(Run.start(Recipe.load(recipe), place, trust_code), detach)


@click.command()
@click.argument("folder")
@_detach
@click.option(
    "--force", is_flag=True, help="Resume although data, model, processor or threads changed. The log says which."
)
@allow_outside
@trusting
@reporting(_format_progress, _exit_code)
def resume(folder: str, detach: bool, force: bool, trust_code: bool) -> RunProgress:
    """Resume the run FOLDER, or its backup, from the newest complete checkpoint."""
    from etabli.runs.run import Run

    return _wait(Run.attach(folder).resume(force, trust_code), detach)


@click.command()
@click.argument("folder")
@reporting(_format_progress)
def stop(folder: str) -> RunProgress:
    """Make the run FOLDER finish its step, save a checkpoint and end."""
    from etabli.runs.run import Run

    return Run.attach(folder).stop().progress()


def _format_runs(result: dict[str, list[RunProgress]]) -> str:
    return "\n".join(map(_format_progress, result["runs"])) or "There are no runs here."


@click.command()
@click.argument("folder", default="runs")
@reporting(_format_runs)
def runs(folder: str) -> dict[str, list[RunProgress]]:
    """List the runs in FOLDER with their states. Default: the folder "runs"."""
    from etabli.core.contracts import RECIPE
    from etabli.core.errors import BadInput

    if folder != "runs" and not Path(folder).is_dir():
        raise BadInput(f"There is no folder {folder}.")
    recipes = sorted(Path(folder).glob(f"*/{RECIPE}"))
    return {"runs": [progress for path in recipes if (progress := _read_progress(path.parent))]}


def _read_progress(folder: Path) -> RunProgress | None:
    """Return the progress of a run; for a folder that is refused print why, and return None."""
    from etabli.core.errors import EtabliError
    from etabli.runs.run import Run

    try:
        return Run.attach(folder).progress()
    except EtabliError as error:
        say(f"{folder.name} is left out: {error}")
        return None
