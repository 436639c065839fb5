"""``etabli lr-range`` and ``overlay``."""

from pathlib import Path
from typing import Any

import click

from etabli.app.cli.output import reporting
from etabli.app.cli.outside import allow_outside
from etabli.app.cli.trusting import trust_code as trusting


def _advised(told: dict[str, Any]) -> str:
    return (
        f"{told['run']}: the loss is lowest at {told['lowest_at']:.2g}; a tenth of that, learning_rate: "
        f"{told['advice']:.1g}, is the advice (one seed, {len(told['losses'])} steps)."
        + ("" if told["turned"] else " It had not turned yet: raise --top to be sure.")
    )


@click.command("lr-range")
@click.argument("recipe")
@click.option("--out", "folder", help="Run folder; by default runs/NAME-lr-range, after the recipe's file name.")
@click.option("--steps", default=60, show_default=True, type=click.IntRange(10), help="Of the short run.")
@click.option("--top", default=0.1, show_default=True, type=click.FloatRange(0, 1, min_open=True), help="Last rate.")
@allow_outside
@trusting
@reporting(_advised)
def lr_range(recipe: str, folder: str | None, steps: int, top: float, trust_code: bool) -> dict:
    """Find a learning rate for RECIPE (YAML): one short run in which the rate rises until the loss breaks."""
    from etabli.runs.lr_finder import lr_range as find
    from etabli.runs.recipe import Recipe

    place = folder or Path("runs") / f"{Path(recipe).stem}-lr-range"
    return find(Recipe.load(recipe), place, steps, top, trust_code)


@click.command()
@click.argument("folders", nargs=-1, required=True)
@click.option("--field", default="loss", show_default=True, help="What is drawn: loss, grad_norm, by.en, …")
@click.option("--kind", default="step", show_default=True, help="Of which events: step, eval, …")
@click.option("--over", default="step", show_default=True, help="The other axis: step, tokens, lr, minutes, …")
@click.option("--out", default="overlay.html", show_default=True, help="The page to write.")
@reporting(lambda told: f"{told['page']}: {told['field']} of {len(told['runs'])} runs")
def overlay(folders: tuple[str, ...], field: str, kind: str, over: str, out: str) -> dict:
    """Draw any number of the events of one or more run FOLDERS into one page."""
    from etabli.core import storage
    from etabli.core.errors import BadInput
    from etabli.core.pages import figures
    from etabli.runs.plots import overlay as draw

    figure = draw(folders, field, kind, over)
    try:
        storage.write_text(out, figures.page(figure, f"{field} over {over}"))
    except OSError as error:
        raise BadInput(f"{out} can't be written: {error}") from None
    drawn = {line.meta: {"x": list(line.x), "y": list(line.y)} for line in figure.data}
    return {"page": out, "field": field, "kind": kind, "over": over, "runs": drawn}
