"""``etabli train``, ``resume``, ``stop`` and ``runs``."""

from pathlib import Path
from typing import Any

import click

from etabli.app.cli.output import reporting
from etabli.app.cli.outside import allow_outside
from etabli.app.cli.trusting import trust_code as trusting
from etabli.core.contracts import END_STATES
from etabli.core.terminal import say


def _human(result: dict) -> str:
    from etabli.runs.progress import describe_progress

    return f"{result['run']}\n  {describe_progress(result)}"


def _failed(result: dict) -> int:
    return 2 if result["state"] in ("failed", "lost") else 0


def _watched(run: Any, detach: bool) -> dict:
    """Wait, unless told not to. Ctrl-C ends the watching with 130; the run goes on."""
    if not detach and run.wait().state not in END_STATES:
        raise KeyboardInterrupt
    return run.progress()


@click.command()
@click.argument("recipe")
@click.option("--run", "folder", help="Run folder; by default runs/NAME, after the recipe's file name.")
@click.option("--detach", is_flag=True, help="Start and come back at once.")
@allow_outside
@trusting
@reporting(_human, _failed)
def train(recipe: str, folder: str | None, detach: bool, trust_code: bool) -> dict:
    """Start the run that RECIPE (YAML) describes. Ctrl-C ends the watching, not the run."""
    from etabli.runs.recipe import Recipe
    from etabli.runs.run import Run

    place = folder or Path("runs") / Path(recipe).stem
    return _watched(Run.start(Recipe.load(recipe), place, trust_code), detach)


@click.command()
@click.argument("folder")
@click.option("--detach", is_flag=True, help="Start and come back at once.")
@click.option("--force", is_flag=True, help="Also with changed data, model, processor or threads; the log says which.")
@allow_outside
@trusting
@reporting(_human, _failed)
def resume(folder: str, detach: bool, force: bool, trust_code: bool) -> dict:
    """Go on with a run, or with its mirror, from the newest whole checkpoint."""
    from etabli.runs.run import Run

    return _watched(Run.attach(folder).resume(force, trust_code), detach)


@click.command()
@click.argument("folder")
@reporting(_human)
def stop(folder: str) -> dict:
    """Make a run finish its step, save and end."""
    from etabli.runs.run import Run

    return Run.attach(folder).stop().progress()


@click.command()
@click.argument("folder", default="runs")
@reporting(lambda result: "\n".join(map(_human, result["runs"])) or "no runs here")
def runs(folder: str) -> dict:
    """List the runs in a folder, with their states."""
    from etabli.core.errors import BadInput
    from etabli.runs.run import RECIPE

    if folder != "runs" and not Path(folder).is_dir():
        raise BadInput(f"There is no folder {folder}.")
    found = sorted(Path(folder).glob(f"*/{RECIPE}"))
    return {"runs": [progress for path in found if (progress := _progress(path.parent))]}


def _progress(folder: Path) -> dict | None:
    """Where a run is; None, and a line that says why, for a folder that is refused."""
    from etabli.core.errors import EtabliError
    from etabli.runs.run import Run

    try:
        return Run.attach(folder).progress()
    except EtabliError as error:
        say(f"{folder.name} is left out: {error}")
        return None
