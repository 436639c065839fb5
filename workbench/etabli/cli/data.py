"""``etabli data tokens``."""

import click

from etabli.cli.output import reporting


@click.group()
def data() -> None:
    """Look at data as the model will see it."""


def _human(result: dict) -> str:
    rows = zip(result["ids"], result["role"], result["trained"], result["text"])
    return "\n".join(
        f"{number:>7} {role:<10} {'trained' if trained else '·':<8} {text!r}" for number, role, trained, text in rows
    )


@data.command()
@click.argument("file")
@click.option("--row", default=0, show_default=True, type=click.IntRange(0), help="Which row, counted from 0.")
@click.option("--model", default="default", show_default=True, help="Whose tokenizer and chat template.")
@click.option("--policy", default="answers", show_default=True, help="What is trained: answers, last or all.")
@reporting(_human)
def tokens(file: str, row: int, model: str, policy: str) -> dict:
    """Show one row's tokens: id, role, trained or masked."""
    from etabli.data.dataset import Dataset
    from etabli.errors import BadInput
    from etabli.models import loading, sources
    from etabli.tokens import render

    rows = Dataset.open(file).rows
    if row >= len(rows):
        raise BadInput(f"{file} has {len(rows)} rows, counted from 0; there is no row {row}.")
    rendered = render(rows[row]["messages"], loading.tokenizer(sources.resolve(model)), policy)
    return {"ids": rendered.ids, "text": rendered.text, "role": rendered.role, "trained": rendered.trained}
