"""``etabli export``, ``etabli seal`` and ``etabli card``."""

import click

from etabli.app.cli.base_option import base_option, open_place
from etabli.app.cli.output import reporting
from etabli.core.contracts import SEAL_FORMS, SEAL_MARGIN, SEAL_ROWS, Card, Export, FormSeal, Seal
from etabli.core.progress import show_progress
from etabli.core.wording import count_of


def _format_export(result: Export) -> str:
    lines = [*result["files"], *result["notes"]]
    if seal := result["seal"]:
        lines += ["", *_seal_lines(seal)]
    return "\n".join(lines)


def _seal_lines(seal: FormSeal) -> list[str]:
    return [
        seal["sentence"],
        *([f"  {seal['mend']}"] if seal["mend"] else []),
        *(f"  {note}" for note in seal["notes"]),
    ]


def _exit_code(*seals: FormSeal | None) -> int:
    return int(any(seal and seal["verdict"] == "broken" for seal in seals))


@click.command()
@click.argument("folder")
@base_option
@click.option(
    "--to",
    "kind",
    type=click.Choice(["adapter", "merged", "gguf", "ollama", "vllm", "hub"]),
    default="adapter",
    show_default=True,
    help="The form.",
)
@click.option("--quant", help="Of a GGUF: f16, bf16, q8_0 (the default), q6_k, q5_k_m or q4_k_m.")
@click.option("--lora", is_flag=True, help="With gguf: the adapter alone, for a GGUF of its base.")
@click.option("--base-values", help="What merged adds the adapter to: trained (the default) or original.")
@click.option("--merged", is_flag=True, help="With hub: the merged model in place of the adapter.")
@click.option("--push", metavar="USER/NAME", help="With hub: upload it, to a new private or an existing repository.")
@click.option("--out", required=True, help="Folder to write.")
@click.option(
    "--seal/--no-seal", "wants_seal", default=True, show_default=True, help="Compare it with what was judged."
)
@reporting(_format_export, lambda result: _exit_code(result["seal"]))
def export(
    folder: str,
    base: str | None,
    kind: str,
    quant: str | None,
    lora: bool,
    base_values: str | None,
    merged: bool,
    push: str | None,
    out: str,
    wants_seal: bool,
) -> Export:
    """Export the run FOLDER, or a PEFT folder, to where it is used, and compare what was written with what was judged.

    Nothing is pushed that is broken. Exit code: 1 if it is broken.
    """
    variants: dict[str, tuple[str | None, tuple[str, ...]]] = {
        "--quant": (quant, ("gguf", "ollama")),
        "--lora": ("lora" if lora else None, ("gguf",)),
        "--base-values": (base_values, ("merged",)),
        "--merged": ("merged" if merged else None, ("hub",)),
        "--push": (push, ("hub",)),
    }
    given = {option: value for option, (value, _) in variants.items() if value}
    for option in given:
        if kind not in variants[option][1]:
            raise click.UsageError(f"{option} goes with --to {' or '.join(variants[option][1])}, not with {kind}.")
    if push and not wants_seal:
        raise click.UsageError("Only what was compared with what was judged is pushed: leave --no-seal out.")
    if quant and lora:
        raise click.UsageError("An adapter alone is not quantised: leave --quant or --lora out.")
    with show_progress("loading libraries"):
        from etabli.exports import formats, hub

    variant = next((value for option, value in given.items() if option != "--push"), "")
    result = formats.export(open_place(folder, base), f"{kind}:{variant}" if variant else kind, out, wants_seal)
    if push and (seal := result["seal"]) and seal["verdict"] != "broken":
        result["notes"].append(f"Pushed to {hub.push(out, push)}")
    elif push:
        result["notes"].append(f"Not pushed to {push}: only what was compared and is not broken is pushed.")
    return result


def _format_seal(result: Seal) -> str:
    rows = result["test_rows"]
    hard = result["forms"][0]["conversations"] - rows
    lines = [f"{result['run']}: {count_of(rows, 'test row')} and {count_of(hard, 'hard conversation')}", ""]
    for form in result["forms"]:
        lines += _seal_lines(form)
        if score := form["score"]:
            interval = f"{score['value']:+.3f} [{score['low']:+.3f}, {score['high']:+.3f}]"
            lines.append(f"  score, form minus judged: {interval}: {form['score_says']}")
        lines.append(f"  {form.get('bytes', 0) / 1e6:,.0f} MB, {form['seconds']:.0f} s")
    return "\n".join(lines)


@click.command()
@click.argument("folder")
@base_option
@click.option("--forms", default=",".join(SEAL_FORMS), show_default=True, help="With commas between them.")
@click.option("--limit", default=SEAL_ROWS, show_default=True, type=click.IntRange(1), help="Test rows a language.")
@click.option("--data", help="An evaluation set. Default: the run's own test rows.")
@click.option(
    "--margin", default=100 * SEAL_MARGIN, show_default=True, type=click.FloatRange(0, 100), help="Points of score."
)
@reporting(_format_seal, lambda result: _exit_code(*result["forms"]))
def seal(folder: str, base: str | None, forms: str, limit: int, data: str | None, margin: float) -> Seal:
    """Export the run FOLDER in each form, and compare each with what was judged: sealed, drift, or broken and why.

    Exit code: 1 if a form is broken.
    """
    with show_progress("loading libraries"):
        from etabli.exports import formats

    names = [form.strip() for form in forms.split(",")]
    return formats.seal(open_place(folder, base), names, limit, margin / 100, data)


def _format_card(result: Card) -> str:
    return "\n".join(result["files"])


@click.command()
@click.argument("folder")
@base_option
@click.option("--out", help="Folder to write. Default: card in FOLDER.")
@reporting(_format_card)
def card(folder: str, base: str | None, out: str | None) -> Card:
    """Write the model card of the run FOLDER, or of a PEFT folder, and a notebook that trains and judges again."""
    with show_progress("loading libraries"):
        from etabli.exports import model_card

    return {"files": model_card.card(open_place(folder, base), out)}
