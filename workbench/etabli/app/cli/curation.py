"""``etabli data prepare``, ``decide`` and ``rows``: curation without a browser."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etabli.app.cli.output import reporting
from etabli.app.cli.outside import allow_outside
from etabli.app.cli.trusting import trust_code as trusting
from etabli.core.contracts import Ablation, CurationSummary, Decision
from etabli.core.progress import show_progress
from etabli.core.terminal import say
from etabli.core.wording import choose_form, count_of

if TYPE_CHECKING:
    from etabli.curation.curation import Curation
    from etabli.curation.table import RowList

_author = click.option("--author", help="Who decides. Default: ETABLI_AUTHOR or your user name.")
_workers = click.option(
    "--workers", type=click.IntRange(1), help="Number of processes for the checks. Default: one a core."
)


@show_progress("reading the data")
def _open_curation(
    recipe: str, author: str | None = None, workers: int | None = None, trust_code: bool = False
) -> "Curation":
    from etabli.core import machine
    from etabli.curation.session import curate

    workers = workers or machine.cores()
    return curate(recipe, author=author, workers=workers, say=say, trust_code=trust_code)


def _format_summary(result: CurationSummary) -> str:
    drop_counts = ", ".join(f"{name} {count}" for name, count in result["dropped"].items()) or "none"
    lines = [
        f"{result['kept']} of {count_of(result['rows'], 'row')} {choose_form(result['kept'], 'stays', 'stay')}; "
        f"rejected: {drop_counts}.",
        f"{count_of(result['protected'], 'row')} of small sources protected.",
        f"{count_of(result['decisions'], 'decision of people applies', 'decisions of people apply')}.",
        *(f"not run: {text}" for text in result["not_run"]),
        *(f"Warning: {text}" for text in result["warnings"]),
        f"hash {result['hash'][:12]}",
    ]
    return "\n".join(lines)


@click.command()
@click.argument("recipe")
@click.option("--out", required=True, type=click.Path(), help="Folder to write the curated Dataset to.")
@_workers
@allow_outside
@trusting
@reporting(_format_summary)
def prepare(recipe: str, out: str, workers: int | None, trust_code: bool) -> CurationSummary:
    """Apply the filters of RECIPE (YAML: data, filters, protect) and people's decisions, and save the Dataset.

    Rejected rows are saved too, with the reason.
    """
    return _open_curation(recipe, workers=workers, trust_code=trust_code).save(out)


def _format_decision(decision: Decision) -> str:
    return f"{decision['do']} {decision['row']}, by {decision['by']}"


@click.command()
@click.argument("recipe")
@click.argument("row")
@click.argument("do", type=click.Choice(["keep", "fix", "drop", "undo"]))
@click.option("--why", default="", help="The reason. It is saved with the decision.")
@click.option("--answer", help="With fix: the new text of the last answer.")
@_author
@allow_outside
@trusting
@reporting(_format_decision)
def decide(
    recipe: str, row: str, do: str, why: str, answer: str | None, author: str | None, trust_code: bool
) -> Decision:
    """Keep, fix or drop ROW (its id), or undo the last decision about it. RECIPE may also be a data set."""
    curation = _open_curation(recipe, author, trust_code=trust_code)
    return curation.decide(do, row, why, curation.rewrite_answer(row, answer) if do == "fix" else None)


def _format_rows(result: "RowList") -> str:
    lines = [
        f"{row['id']}  {row['status']:<9} {', '.join(row['found']):<24} {row['asked'][:60]!r}" for row in result["rows"]
    ]
    return "\n".join([*lines, f"{result['shown']} of {count_of(result['found'], 'row')}"])


@click.command()
@click.argument("recipe")
@click.option("--finding", help="Show only rows with this finding: near, quality, ...")
@click.option("--status", help="Show only these rows: stays, rejected, protected, kept, fixed or dropped.")
@click.option("--search", default="", help="Show only rows that contain this text.")
@click.option("--sort", default="row", show_default=True, help="Order: row, length, likeness, finding or source.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Show at most this many rows.")
@allow_outside
@trusting
@reporting(_format_rows)
def rows(
    recipe: str, finding: str | None, status: str | None, search: str, sort: str, limit: int, trust_code: bool
) -> "RowList":
    """List rows with their findings and decisions, as the table in a notebook shows them."""
    from etabli.curation.table import Table

    table = Table(_open_curation(recipe, trust_code=trust_code))
    row_count = table.select(search=search, finding=finding or "", status=status or "", sort=sort)
    lines = table.lines(0, limit)
    return {"found": row_count, "shown": len(lines), "rows": lines, "facets": table.facets()}


def _format_ablation(result: Ablation) -> str:
    from etabli.evaluation.table import format_estimate

    units = {difference["score"]: difference["unit"] for difference in reversed(result["differences"])}
    lines = [count_of(result["n"], "test row")]
    for arm in result["arms"]:
        scores = [
            f"{name} {format_estimate(estimate, units.get(name, ''))}"
            for name, estimate in arm["scores"].items()
            if estimate
        ]
        lines.append(f"{arm['name']:<11} {arm['rows']:>6} rows  {'  '.join(scores)}")
    notes = [f"Note: {text}" for text in result["warnings"]]
    return "\n".join([*lines, "", *result["said"], *notes, "", f"Every answer: {result['results']}"])


@click.command()
@click.argument("recipe")
@click.option(
    "--out", required=True, type=click.Path(), help="Folder for the runs. Complete runs in it are used again."
)
@click.option("--train", type=click.Path(), help="Training recipe (YAML). Every run gets its keys, except data.")
@click.option("--steps", type=click.IntRange(1), help="Training steps of every run. Default: 60.")
@click.option(
    "--arm", "variants", multiple=True, help="unfiltered, random, longest (default: all), without-near … Repeat."
)
@click.option(
    "--score", "scores", multiple=True, help="As in etabli evaluate; the first decides the verdict. Repeat it."
)
@click.option("--limit", type=click.IntRange(1), help="Use at most this many test rows for each language.")
@click.option("--max-new-tokens", type=click.IntRange(1), help="Longest answer. Default: from the test rows' answers.")
@_workers
@allow_outside
@trusting
@reporting(_format_ablation)
def ablate(
    recipe: str,
    out: str,
    train: str | None,
    steps: int | None,
    variants: tuple[str, ...],
    scores: tuple[str, ...],
    limit: int | None,
    max_new_tokens: int | None,
    workers: int | None,
    trust_code: bool,
) -> Ablation:
    """Measure the effect of RECIPE's filters: train on filtered, unfiltered, random and longest rows, and compare."""
    with show_progress("loading libraries"):
        from etabli.evaluation import ablation as experiment
        from etabli.runs import recipe_code
        from etabli.runs.recipe import Recipe, read_recipe

    keys = read_recipe(train)[0] if train else {}
    own = ("data", "eval_data", *(["epochs", "max_steps"] if steps else []))
    keys = {name: value for name, value in keys.items() if name not in own and value is not None}
    keys |= {"max_steps": steps} if steps else {}
    if train:  # ask now: only the keys are passed on, and not the name of their file
        base_recipe = Recipe(**keys, data=recipe).read_from(train)
        recipe_code.agree_to_train(base_recipe, Path(train), trust_code, "")
    curation = _open_curation(recipe, workers=workers, trust_code=trust_code)
    options: dict[str, Any] = {"scores": list(scores) or None, "limit": limit, "max_new_tokens": max_new_tokens}
    return experiment.ablate(
        curation, out, keys, variants or experiment.ARMS, say=say, trust_code=trust_code, **options
    )
