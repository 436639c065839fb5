"""``etabli export`` and ``etabli seal``."""

import click

from etabli.app.cli.base_option import base_option, open_place
from etabli.app.cli.output import reporting
from etabli.core.contracts import Export, FormSeal, Seal
from etabli.core.progress import show_progress


def _format_export(result: Export) -> str:
    lines = [*result["files"]]
    if seal := result["seal"]:
        lines += ["", seal["sentence"], *seal["notes"]]
    return "\n".join(lines)


def _exit_code(*seals: FormSeal | None) -> int:
    return int(any(seal and seal["verdict"] == "broken" for seal in seals))


@click.command()
@click.argument("folder")
@base_option
@click.option(
    "--to",
    "form",
    type=click.Choice(["adapter", "merged", "gguf"]),
    default="adapter",
    show_default=True,
    help="The form.",
)
@click.option("--quant", help="Of a GGUF: f16, bf16 or q8_0 (the default).")
@click.option("--base-values", help="What merged adds the adapter to: trained (the default) or original.")
@click.option("--out", required=True, help="Folder to write.")
@click.option("--seal/--no-seal", "wants_seal", default=False, help="Compare what was written with what was judged.")
@reporting(_format_export, lambda result: _exit_code(result["seal"]))
def export(
    folder: str,
    base: str | None,
    form: str,
    quant: str | None,
    base_values: str | None,
    out: str,
    wants_seal: bool,
) -> Export:
    """Export the adapter of the run FOLDER, or of a PEFT folder: alone, merged into its base, or as GGUF.

    Exit code: 1 if it was sealed (--seal) and is broken.
    """
    with show_progress("loading libraries"):
        from etabli.export import formats, forms

    if quant and form != "gguf":
        raise click.UsageError(f"--quant goes with --to gguf, not with {form}.")
    if base_values and form != "merged":
        raise click.UsageError(f"--base-values goes with --to merged, not with {form}.")
    place = open_place(folder, base)
    if wants_seal and form == "gguf":
        forms.require_llama_cpp()
    variant = {"gguf": quant, "merged": base_values}.get(form)
    name = f"{form}:{variant}" if variant else form
    files = formats.export(place, name, out)
    if not wants_seal:
        return {"files": files, "seal": None}
    return {"files": files, "seal": formats.seal_exported(place, name, out)}


def _format_seal(result: Seal) -> str:
    lines = [f"{result['run']}: {result['test_rows']} test rows and seven hard conversations", ""]
    for form in result["forms"]:
        lines += [form["sentence"], *(f"  {note}" for note in form["notes"])]
        if score := form["score"]:
            interval = f"{score['value']:+.3f} [{score['low']:+.3f}, {score['high']:+.3f}]"
            lines.append(f"  score, form minus judged: {interval}: {form['score_says']}")
        lines.append(f"  {form.get('bytes', 0) / 1e6:,.0f} MB, {form['seconds']:.0f} s")
    return "\n".join(lines)


@click.command()
@click.argument("folder")
@base_option
@click.option("--forms", default="adapter,merged,gguf:q8_0", show_default=True, help="With commas between them.")
@click.option("--limit", default=24, show_default=True, type=click.IntRange(1), help="Test rows of each language.")
@click.option("--data", help="An evaluation set. Default: the run's own test rows.")
@click.option("--margin", default=2.0, show_default=True, type=click.FloatRange(0, 100), help="Points of score.")
@reporting(_format_seal, lambda result: _exit_code(*result["forms"]))
def seal(folder: str, base: str | None, forms: str, limit: int, data: str | None, margin: float) -> Seal:
    """Export the run FOLDER in each form, and compare each with what was judged: sealed, drift, or broken and why.

    Exit code: 1 if a form is broken.
    """
    with show_progress("loading libraries"):
        from etabli.export import formats

    names = [form.strip() for form in forms.split(",")]
    return formats.seal(open_place(folder, base), names, limit, margin / 100, data)
