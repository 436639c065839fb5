"""``etabli lr-range`` and ``overlay``."""

from pathlib import Path

import click

from etabli.app.cli.output import reporting
from etabli.app.cli.outside import allow_outside
from etabli.app.cli.trusting import trust_code as trusting
from etabli.core.contracts import Overlay, Points, RateRange
from etabli.core.progress import show_progress


def _format_rates(rates: RateRange) -> str:
    return (
        f"{rates['run']}: the loss is lowest at the rate {rates['lowest_at']:.2g}. Use a tenth of it, learning_rate: "
        f"{rates['advice']:.1g} (one seed, {len(rates['losses'])} steps)."
        + ("" if rates["turned"] else " The loss had not risen again yet: raise --top to be sure.")
    )


@click.command("lr-range")
@click.argument("recipe")
@click.option("--out", "folder", help="Run folder. Default: runs/NAME-lr-range, NAME from the recipe's file name.")
@click.option("--steps", default=60, show_default=True, type=click.IntRange(10), help="Steps of the short run.")
@click.option("--top", default=0.1, show_default=True, type=click.FloatRange(0, 1, min_open=True), help="Highest rate.")
@allow_outside
@trusting
@reporting(_format_rates)
def lr_range(recipe: str, folder: str | None, steps: int, top: float, trust_code: bool) -> RateRange:
    """Find a learning rate for RECIPE (YAML): one short run in which the rate rises until the loss rises too."""
    with show_progress("loading libraries"):
        from etabli.runs.lr_finder import lr_range as find
        from etabli.runs.recipe import Recipe

    place = folder or Path("runs") / f"{Path(recipe).stem}-lr-range"
    return find(Recipe.load(recipe), place, steps, top, trust_code)


def _format_overlay(result: Overlay) -> str:
    return f"{result['page']}: {result['field']} of {len(result['runs'])} runs"


@click.command()
@click.argument("folders", nargs=-1, required=True)
@click.option(
    "--field", default="loss", show_default=True, help="Field of the vertical axis: loss, grad_norm, by.en, …"
)
@click.option("--kind", default="step", show_default=True, help="Kind of events to read: step, eval, …")
@click.option("--over", "axis", default="step", show_default=True, help="Horizontal axis: step, tokens, lr, minutes, …")
@click.option("--out", default="overlay.html", show_default=True, help="HTML page to write.")
@reporting(_format_overlay)
def overlay(folders: tuple[str, ...], field: str, kind: str, axis: str, out: str) -> Overlay:
    """Draw one field of the events of one or more run FOLDERS into one page."""
    from etabli.core import storage
    from etabli.core.errors import BadInput
    from etabli.core.pages import figures
    from etabli.runs.plots import overlay as draw

    figure = draw(folders, field, kind, axis)
    try:
        storage.write_text(out, figures.page(figure, f"{field} over {axis}"))
    except OSError as error:
        raise BadInput(f"{out} can't be written: {error}") from None
    lines: dict[str, Points] = {line.meta: {"x": list(line.x), "y": list(line.y)} for line in figure.data}
    return {"page": out, "field": field, "kind": kind, "over": axis, "runs": lines}
