"""``etabli data check`` and ``etabli data tokens``."""

import click

from etabli.app.cli.output import reporting
from etabli.app.cli.outside import allow_outside


@click.group()
def data() -> None:
    """Look at data as the model will see it."""


def _columns(given: tuple[str, ...]) -> dict[str, str]:
    """``prompt=question`` several times, as a mapping."""
    bad = [item for item in given if not all(item.partition("="))]
    if bad:
        raise click.BadParameter(f"{bad[0]!r} is not of the form prompt=question", param_hint="--column")
    return {ours: theirs for ours, _, theirs in (item.partition("=") for item in given)}


@data.command()
@click.argument("file")
@click.option("--model", help="Whose tokenizer counts; by default the embedded one's, if it is here.")
@click.option("--format", help="alpaca, chat, sharegpt, prompt-completion, text, preferred, ...; by default guessed.")
@click.option("--column", "columns", multiple=True, help="prompt=question: the format's name and the file's.")
@click.option("--rules", type=click.Path(), help="A Python file with checks and filters of your own.")
@click.option("--max-length", default=512, show_default=True, type=click.IntRange(8), help="Tokens a row may have.")
@click.option("--policy", default="answers", show_default=True, help="What is trained: answers, last or all.")
@click.option("--licence", help="Of rows that do not say it.")
@click.option("--source", help="Where the rows come from.")
@click.option("--generator", help="The model that wrote the answers, if one did.")
@click.option("--code", help="Only this kind of finding, with all its rows.")
@click.option("--csv", "out", type=click.Path(), help="Write all findings to this CSV file too.")
@click.option("--workers", type=click.IntRange(1), help="Processes; by default one a core.")
@allow_outside
@reporting(
    lambda shown: shown[0].text(shown[1]), lambda shown: shown[0].code, lambda shown: shown[0].json_pieces(shown[1])
)
def check(
    file: str, model: str | None, format: str | None, columns: tuple[str, ...], rules: str | None, max_length: int,
    policy: str, code: str | None, out: str | None, workers: int | None, **about: str | None,
) -> tuple:  # fmt: skip
    """Find all that is wrong with FILE. Ends 0 if clean, 1 with errors or warnings, 2 if it can't be read."""
    from etabli.checks.check import check as look
    from etabli.core import machine

    report = look(
        file, model, format, _columns(columns), rules, max_length, policy, workers or machine.cores(),
        **{name: value for name, value in about.items() if value},
    )  # fmt: skip
    if out:
        report.to_csv(out)
    return report, code


def _human(result: dict) -> str:
    nats = result["nats"] or [None] * len(result["ids"])
    rows = zip(result["ids"], result["role"], result["trained"], nats, result["text"])
    lines = [
        f"{number:>7} {role:<10} {'trained' if trained else '·':<8} {'' if loss is None else f'{loss:.2f}':>6} {text!r}"
        for number, role, trained, loss, text in rows
    ]
    marks = {True: "holds", False: "FAILS", None: "does not apply"}
    said = [f"{one['name']:<17} {marks[one['ok']]}: {one['why']}" for one in result["assertions"]]
    return "\n".join([*lines, "", f"{result['share']:.0%} of the tokens are trained.", *said])


def _failed(result: dict) -> int:
    return int(any(one["ok"] is False for one in result["assertions"]))


@data.command()
@click.argument("file")
@click.option("--row", default=0, show_default=True, type=click.IntRange(0), help="Which row, counted from 0.")
@click.option("--model", default="default", show_default=True, help="Whose tokenizer and chat template.")
@click.option("--policy", default="answers", show_default=True, help="What is trained: answers, last, all or spans.")
@click.option("--max-length", default=512, show_default=True, type=click.IntRange(8), help="Tokens a row may have.")
@click.option("--loss", is_flag=True, help="Load the model, and give every token's loss.")
@allow_outside
@reporting(_human, _failed)
def tokens(file: str, row: int, model: str, policy: str, max_length: int, loss: bool) -> dict:
    """Show one row's tokens: id, role, trained or masked, and what must be true of them. Ends 1 if something is not."""
    from etabli.core.errors import BadInput
    from etabli.data.dataset import Dataset
    from etabli.training import batch_lens

    rows = Dataset.open(file).rows
    if row >= len(rows):
        raise BadInput(f"{file} has {len(rows)} rows, counted from 0; there is no row {row}.")
    return batch_lens.describe_tokens(rows[row], model, policy, max_length, loss)
