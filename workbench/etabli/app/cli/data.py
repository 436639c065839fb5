"""``etabli data check``, ``etabli data read`` and ``etabli data tokens``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from etabli.app.cli.output import reporting
from etabli.app.cli.outside import allow_outside
from etabli.core.contracts import DatasetReading, RowTokens
from etabli.core.progress import show_progress
from etabli.core.wording import choose_form, count_of

if TYPE_CHECKING:
    from etabli.checks.report import Report


@click.group()
def data() -> None:
    """Check and curate data, and show it as the model will see it."""


def parse_columns(pairs: tuple[str, ...]) -> dict[str, str]:
    """Return texts such as ``prompt=question`` as a mapping."""
    bad = [pair for pair in pairs if not all(pair.partition("="))]
    if bad:
        raise click.BadParameter(f"{bad[0]!r} is not of the form prompt=question", param_hint="--column")
    return {name: column for name, _, column in (pair.partition("=") for pair in pairs)}


column_option = click.option(
    "--column", "columns", multiple=True, help="prompt=question: the format's column and the file's. Repeat it."
)
leave_out_option = click.option(
    "--leave-out", multiple=True, help="Finding whose rows are left out, or 'error' for all errors. Repeat it."
)
template_option = click.option(
    "--template", help="Chat template of a base model: alpaca, chatml, plain, or a Jinja file."
)


def _format_report(result: tuple["Report", str | None]) -> str:
    return result[0].text(result[1])


@data.command()
@click.argument("file")
@click.option(
    "--model", help="Count tokens with this model's tokenizer. Default: the embedded model's, if it is cached."
)
@template_option
@click.option("--format", help="alpaca, chat, sharegpt, prompt-completion, text, preferred, ... Default: detected.")
@column_option
@click.option("--rules", type=click.Path(), help="Python file with your own checks and filters.")
@click.option("--max-length", default=512, show_default=True, type=click.IntRange(8), help="Maximum tokens of a row.")
@click.option(
    "--policy",
    default="answers",
    show_default=True,
    help="Which turns are trained: answers, answers_and_reasoning, last or all.",
)
@click.option("--licence", help="Licence of the rows that name none.")
@click.option("--source", help="Source of the rows that name none.")
@click.option("--generator", help="Model that wrote the answers, if a model did.")
@click.option("--code", help="Show only findings of this code, with all their rows.")
@click.option("--csv", "out", type=click.Path(), help="Also write all findings to this CSV file.")
@click.option("--workers", type=click.IntRange(1), help="Number of processes. Default: one a core.")
@allow_outside
@reporting(_format_report, lambda result: result[0].code, lambda result: result[0].json_pieces(result[1]))
def check(
    file: str,
    model: str | None,
    template: str | None,
    format: str | None,
    columns: tuple[str, ...],
    rules: str | None,
    max_length: int,
    policy: str,
    code: str | None,
    out: str | None,
    workers: int | None,
    **lineage: str | None,
) -> tuple["Report", str | None]:
    """Find every mistake in FILE. Exit code: 0 if it is clean, 1 with errors or warnings, 2 if it can't be read."""
    from etabli.checks.check import check as check_file
    from etabli.core import machine, os_errors
    from etabli.core.progress import ProgressLine

    if out:
        os_errors.require_writable(Path(out))
    line = ProgressLine()
    line.show(f"{file}: reading")
    report = check_file(
        file,
        model,
        format,
        parse_columns(columns),
        rules,
        max_length,
        policy,
        workers or machine.cores(),
        progress=lambda rows: line.show(f"{file}: {count_of(rows, 'row')} checked"),
        template=template,
        **{name: value for name, value in lineage.items() if value},
    )
    line.close()
    if out:
        report.to_csv(out)
    return report, code


def _format_read(result: DatasetReading) -> str:
    lines = [
        f"{count_of(result['rows'], 'row')} written to {result['folder']}; "
        f"a recipe names them as data: {result['folder']}"
    ]
    if result["test"]:
        kind = choose_form(result["test"], "is a test row", "are the test rows")
        lines.append(f"{result['test']} of them {kind} of etabli evaluate: not trained.")
    lines += [f"left out: {count_of(count, 'row')} ({code})" for code, count in result["left_out"].items()]
    lines += [
        f"not used: column {name} ({count_of(count, 'row has', 'rows have')} it)"
        for name, count in result["unused_columns"].items()
    ]
    return "\n".join([*lines, *(f"Warning: {text}" for text in result["warnings"])])


@data.command("read")
@click.argument("file")
@click.option("--out", required=True, type=click.Path(), help="Folder to write the Dataset to.")
@click.option("--format", help="As for check. preferred keeps preferred answers; text the texts alone.")
@column_option
@click.option(
    "--test",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of the rows to set aside as test rows, such as 0.2. Near-copies stay together.",
)
@leave_out_option
@click.option("--licence", help="Licence of the rows that name none.")
@click.option("--source", help="Source of the rows that name none.")
@click.option("--generator", help="Model that wrote the answers, if a model did.")
@allow_outside
@reporting(_format_read)
def read_data(
    file: str,
    out: str,
    format: str | None,
    columns: tuple[str, ...],
    test: float | None,
    leave_out: tuple[str, ...],
    **lineage: str | None,
) -> DatasetReading:
    """Read FILE by the columns you name and write its rows as a Dataset, which a recipe can name as its data.

    FILE may also be a Dataset folder, to set test rows aside.
    """
    with show_progress("loading libraries"):
        from etabli.app import data_reading

    about = {key: value for key, value in lineage.items() if value}
    return data_reading.write_dataset(file, out, format, parse_columns(columns), about, test, leave_out)


def _format_tokens(result: RowTokens) -> str:
    nats = result["nats"] or [None] * len(result["ids"])
    masks = ["trained" if is_trained else "·" for is_trained in result["trained"]]
    rows = zip(result["ids"], result["role"], masks, nats, result["text"])
    lines = [
        f"{token_id:>7} {role:<10} {mask:<8} {'' if loss is None else f'{loss:.2f}':>6} {text!r}"
        for token_id, role, mask, loss, text in rows
    ]
    marks = {True: "holds", False: "FAILS", None: "does not apply"}
    checks = [f"{check['name']:<17} {marks[check['ok']]}: {check['why']}" for check in result["assertions"]]
    return "\n".join([*lines, "", f"{result['share']:.0%} of the tokens are trained.", *checks])


def _exit_code(result: RowTokens) -> int:
    return int(any(check["ok"] is False for check in result["assertions"]))


@data.command()
@click.argument("file")
@click.option("--row", default=0, show_default=True, type=click.IntRange(0), help="Number of the row, counted from 0.")
@click.option("--model", default="default", show_default=True, help="Use this model's tokenizer and chat template.")
@template_option
@click.option(
    "--policy",
    default="answers",
    show_default=True,
    help="Which turns are trained: answers, answers_and_reasoning, last, all or spans.",
)
@click.option("--max-length", default=512, show_default=True, type=click.IntRange(8), help="Maximum tokens of a row.")
@click.option("--loss", is_flag=True, help="Load the model and show the loss of every token.")
@allow_outside
@reporting(_format_tokens, _exit_code)
def tokens(
    file: str, row: int, model: str, template: str | None, policy: str, max_length: int, loss: bool
) -> RowTokens:
    """Show the tokens of one row: id, role, trained or masked, and the checks on them.

    Exit code: 1 if a check fails.
    """
    with show_progress("loading libraries"):
        from etabli.core.errors import BadInput
        from etabli.data.dataset import Dataset
        from etabli.training import batch_lens

    rows = Dataset.open(file).rows
    if row >= len(rows):
        raise BadInput(f"{file} has {count_of(len(rows), 'row')}, counted from 0; there is no row {row}.")
    return batch_lens.describe_tokens(rows[row], model, policy, max_length, loss, template)
