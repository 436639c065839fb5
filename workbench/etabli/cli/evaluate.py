"""``etabli evaluate``."""

import click

from etabli.cli.output import reporting


def _human(results: dict) -> str:
    from etabli.evaluation import table

    return table.text(results)


@click.command()
@click.argument("folder")
@click.option("--data", help="A Dataset with test rows; by default the run's own.")
@click.option("--limit", type=click.IntRange(1), help="At most this many test rows a language.")
@reporting(_human)
def evaluate(folder: str, data: str | None, limit: int | None) -> dict:
    """Compare a run's adapter with its base, the prompted base and lookup."""
    from etabli.evaluation.bench import evaluate as compare

    return compare(folder, data, limit)
