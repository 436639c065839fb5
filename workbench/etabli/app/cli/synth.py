"""``etabli synth``."""

import click

from etabli.app.cli.output import reporting
from etabli.core.contracts import Synthesis
from etabli.core.progress import show_progress
from etabli.core.wording import count_of


def _format(result: Synthesis) -> str:
    tokens = f"{result['prompt_tokens']:,} tokens of prompts and {result['answer_tokens']:,} of answers"
    money = f"{result['cost']:.4f} {result['currency']}" + (
        f" at prices of {result['prices_of']}" if result["prices_of"] else ""
    )
    if result["dry_run"]:
        return f"At most {count_of(result['requests'], 'request')}, {tokens}: {money}. Nobody was asked."
    reasons = ", ".join(f"{name} {count}" for name, count in result["rejected"].items()) or "none"
    lines = [
        f"{count_of(result['accepted'], 'row')} accepted; rejected: {reasons}.",
        f"{count_of(result['requests'], 'reply', 'replies')} ({result['asked_now']:,} now), {tokens}: {money}.",
    ]
    return "\n".join([*lines, *([f"It ended at {result['stopped']}."] if result["stopped"] else [])])


@click.command()
@click.argument("recipe")
@click.option("--out", required=True, help="Folder to write: dataset, requests.jsonl, receipt.json.")
@click.option("--dry-run", is_flag=True, help="Ask nobody; say what the job costs at most.")
@reporting(_format, lambda result: int(not result["dry_run"] and not result["accepted"]))
def synth(recipe: str, out: str, dry_run: bool) -> Synthesis:
    """Make rows by RECIPE (YAML: maker, seeds, teacher …) within its budget; the same command goes on after an end.

    Exit code: 1 if no row was accepted.
    """
    with show_progress("loading libraries"):
        from etabli.synthesis import synth as making

    return making.synth(recipe, out, dry_run)
