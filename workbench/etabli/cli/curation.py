"""``etabli data prepare``, ``decide`` and ``rows``: curation without a browser."""

import sys

import click

from etabli.cli.output import reporting

_author = click.option("--author", help="Who decides; by default ETABLI_AUTHOR or your user name.")


def _desk(recipe: str, author: str | None = None, workers: int | None = None):
    from etabli import environment
    from etabli.curation.curation import curate

    return curate(recipe, author=author, workers=workers or environment.cores(), say=_say)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


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
@reporting(_prepared)
def prepare(recipe: str, out: str, workers: int | None) -> dict:
    """Apply RECIPE (YAML: data, filters, protect) and what people decided. Rejected rows stay readable, with why."""
    return _desk(recipe, workers=workers).save(out)


@click.command()
@click.argument("recipe")
@click.argument("row")
@click.argument("do", type=click.Choice(["keep", "fix", "drop", "undo"]))
@click.option("--why", default="", help="The reason, kept with the decision.")
@click.option("--answer", help="Of a fix: what the last answer is from now on.")
@_author
@reporting(lambda made: f"{made['do']} {made['row']}, by {made['by']}")
def decide(recipe: str, row: str, do: str, why: str, answer: str | None, author: str | None) -> dict:
    """Keep, fix or drop ROW (its id), or undo the last decision about it. RECIPE may be the data set itself."""
    desk = _desk(recipe, author)
    return desk.decide(do, row, why, desk.rewritten(row, answer) if do == "fix" else None)


def _listed(result: dict) -> str:
    lines = [
        f"{row['id']}  {row['status']:<9} {', '.join(row['found']):<24} {row['asked'][:60]!r}" for row in result["rows"]
    ]
    return "\n".join([*lines, f"{result['shown']} of {result['found']} rows"])


@click.command()
@click.argument("recipe")
@click.option("--finding", help="Only rows with this finding: near, quality, ...")
@click.option("--status", help="Only rows that are kept, rejected, protected, fixed or dropped.")
@click.option("--search", default="", help="Only rows that hold this text.")
@click.option("--sort", default="row", show_default=True, help="row, length, value, finding or source.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="At most so many rows.")
@reporting(_listed)
def rows(recipe: str, finding: str | None, status: str | None, search: str, sort: str, limit: int) -> dict:
    """List rows with what was found and decided: what the table in a notebook shows."""
    from etabli.curation.table import Table

    table = Table(_desk(recipe))
    found = table.select(search=search, finding=finding or "", status=status or "", sort=sort)
    lines = table.lines(0, limit)
    return {"found": found, "shown": len(lines), "rows": lines, "facets": table.facets()}
