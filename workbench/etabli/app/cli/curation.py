"""``etabli data prepare``, ``decide`` and ``rows``: curation without a browser."""

from pathlib import Path

import click

from etabli.app.cli.output import reporting
from etabli.app.cli.outside import allow_outside
from etabli.app.cli.trusting import trust_code as trusting
from etabli.core.terminal import say

_author = click.option("--author", help="Who decides; by default ETABLI_AUTHOR or your user name.")


def _desk(recipe: str, author: str | None = None, workers: int | None = None, trust_code: bool = False):
    from etabli.core import machine
    from etabli.curation.session import curate

    workers = workers or machine.cores()
    return curate(recipe, author=author, workers=workers, say=say, trust_code=trust_code)


def _prepared(result: dict) -> str:
    dropped = ", ".join(f"{name} {count}" for name, count in result["dropped"].items()) or "none"
    lines = [
        f"{result['kept']} of {result['rows']} rows stay; rejected: {dropped}.",
        f"{result['protected']} rows of small sources were given back.",
        f"{result['decisions']} decisions of people stand.",
        *(f"not run: {text}" for text in result["not_run"]),
        f"hash {result['hash'][:12]}",
    ]
    return "\n".join(lines)


@click.command()
@click.argument("recipe")
@click.option("--out", required=True, type=click.Path(), help="The folder of the curated Dataset.")
@click.option("--workers", type=click.IntRange(1), help="Processes for the checks; by default one a core.")
@allow_outside
@trusting
@reporting(_prepared)
def prepare(recipe: str, out: str, workers: int | None, trust_code: bool) -> dict:
    """Apply RECIPE (YAML: data, filters, protect) and what people decided. Rejected rows stay readable, with why."""
    return _desk(recipe, workers=workers, trust_code=trust_code).save(out)


@click.command()
@click.argument("recipe")
@click.argument("row")
@click.argument("do", type=click.Choice(["keep", "fix", "drop", "undo"]))
@click.option("--why", default="", help="The reason, kept with the decision.")
@click.option("--answer", help="Of a fix: what the last answer is from now on.")
@_author
@allow_outside
@trusting
@reporting(lambda made: f"{made['do']} {made['row']}, by {made['by']}")
def decide(recipe: str, row: str, do: str, why: str, answer: str | None, author: str | None, trust_code: bool) -> dict:
    """Keep, fix or drop ROW (its id), or undo the last decision about it. RECIPE may be the data set itself."""
    desk = _desk(recipe, author, trust_code=trust_code)
    return desk.decide(do, row, why, desk.rewrite_answer(row, answer) if do == "fix" else None)


def _listed(result: dict) -> str:
    lines = [
        f"{row['id']}  {row['status']:<9} {', '.join(row['found']):<24} {row['asked'][:60]!r}" for row in result["rows"]
    ]
    return "\n".join([*lines, f"{result['shown']} of {result['found']} rows"])


@click.command()
@click.argument("recipe")
@click.option("--finding", help="Only rows with this finding: near, quality, ...")
@click.option("--status", help="stays, rejected, protected, kept, fixed or dropped.")
@click.option("--search", default="", help="Only rows that hold this text.")
@click.option("--sort", default="row", show_default=True, help="row, length, likeness, finding or source.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="At most so many rows.")
@allow_outside
@trusting
@reporting(_listed)
def rows(
    recipe: str, finding: str | None, status: str | None, search: str, sort: str, limit: int, trust_code: bool
) -> dict:
    """List rows with what was found and decided: what the table in a notebook shows."""
    from etabli.curation.table import Table

    table = Table(_desk(recipe, trust_code=trust_code))
    found = table.select(search=search, finding=finding or "", status=status or "", sort=sort)
    lines = table.lines(0, limit)
    return {"found": found, "shown": len(lines), "rows": lines, "facets": table.facets()}


def _ablated(result: dict) -> str:
    from etabli.evaluation.table import format_estimate

    lines = [
        f"{arm['name']:<11} {arm['rows']:>6} rows  "
        + "  ".join(f"{name} {format_estimate(held, _unit(result, name))}" for name, held in arm["scores"].items() if held)
        for arm in result["arms"]
    ]
    notes = [f"Note: {text}" for text in result["warnings"]]
    said = [f"{result['n']} test rows", *lines, "", *result["said"], *notes, "", f"Every answer: {result['results']}"]
    return "\n".join(said)


def _unit(result: dict, name: str) -> str:
    return next((gap["unit"] for gap in result["differences"] if gap["score"] == name), "")


@click.command()
@click.argument("recipe")
@click.option("--out", required=True, type=click.Path(), help="A folder for the arms; what is complete there is used.")
@click.option("--train", type=click.Path(), help="A training recipe (YAML) whose keys all arms get, but for data.")
@click.option("--steps", type=click.IntRange(1), help="Steps of every arm; by default 60.")
@click.option("--arm", "arms", multiple=True, help="unfiltered, random, longest (by default all), without-near …")
@click.option("--score", "scores", multiple=True, help="As for etabli evaluate; the first decides. May be repeated.")
@click.option("--limit", type=click.IntRange(1), help="At most this many test rows a language.")
@click.option("--max-new-tokens", type=click.IntRange(1), help="Longest answer; by default told by the truths.")
@click.option("--workers", type=click.IntRange(1), help="Processes for the checks; by default one a core.")
@allow_outside
@trusting
@reporting(_ablated)
def ablate(
    recipe: str, out: str, train: str | None, steps: int | None, arms: tuple[str, ...], scores: tuple[str, ...],
    limit: int | None, max_new_tokens: int | None, workers: int | None, trust_code: bool,
) -> dict:  # fmt: skip
    """What did the filters of RECIPE buy? Trains on filtered, unfiltered, random and longest rows, and compares."""
    from etabli.evaluation import ablation as experiment
    from etabli.runs import recipe_code
    from etabli.runs.recipe import Recipe, read_recipe

    keys = read_recipe(train)[0] if train else {}
    own = ("data", "eval_data", *(["epochs", "max_steps"] if steps else []))
    keys = {name: value for name, value in keys.items() if name not in own and value is not None}
    keys |= {"max_steps": steps} if steps else {}
    if train:  # the keys alone go on from here, and not whose file they stand in
        named = Recipe(**keys, data=recipe).read_from(train)
        recipe_code.agree_to_train(named, Path(train), trust_code, "")
    desk = _desk(recipe, workers=workers, trust_code=trust_code)
    asking = {"scores": list(scores) or None, "limit": limit, "max_new_tokens": max_new_tokens}
    return experiment.ablate(desk, out, keys, arms or experiment.ARMS, say=say, trust_code=trust_code, **asking)
