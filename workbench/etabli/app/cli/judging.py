"""``etabli chat``, ``token-diff`` and ``film``: judging by eye without a browser."""

from typing import Any, cast

import click

from etabli.app.cli.base_option import base_option, open_place
from etabli.app.cli.output import reporting
from etabli.app.cli.outside import allow_outside
from etabli.app.cli.trusting import trust_code as trusting
from etabli.core.contracts import ChatAnswer, ChatEntry, ChatHistory, ProbeHistory, TokenDiffs, TokenMoves
from etabli.core.errors import BadInput
from etabli.core.progress import show_progress
from etabli.core.terminal import say

_author = click.option("--author", help="Who judges. Default: ETABLI_AUTHOR or your user name.")
_alongside = click.option("--alongside", is_flag=True, help="Load the model even if a run uses the device.")


# --- chat -----------------------------------------------------------------------------------------------------------


def _format_chat(result: ChatEntry | ChatHistory) -> str:
    if "asked" in result:
        return "\n\n".join(map(_format_entry, cast(ChatHistory, result)["asked"])) or "No prompt has been asked yet."
    return "\n\n".join(_format_answer(name, answer) for name, answer in result["answers"].items())


def _format_entry(entry: ChatEntry) -> str:
    answers = [f"{side}: {answer['text']}{_cut_mark(answer)}" for side, answer in entry["answers"].items()]
    return "\n".join([f"> {entry['prompt']}", *answers])


def _format_answer(name: str, answer: ChatAnswer) -> str:
    speed = f"{answer['tokens_per_s']} tokens/s" if answer["tokens_per_s"] else f"{answer['tokens']} tokens"
    first = "" if answer["first_s"] is None else f", first after {answer['first_s']:.2f} s"
    return f"{name} ({speed}{first}):\n{answer['text']}{_cut_mark(answer)}"


def _cut_mark(answer: ChatAnswer) -> str:
    return " [cut: it reached --max-new-tokens]" if answer.get("cut") else ""


@click.command()
@click.argument("folder")
@click.argument("prompt", required=False)
@base_option
@click.option("--side", "sides", multiple=True, help="base, prompted, tuned, step-000040 … Default: these three.")
@click.option("--system", help="System message. Default: the one of the run's data.")
@click.option("--max-new-tokens", default=64, show_default=True, type=click.IntRange(1), help="Longest answer.")
@click.option("--temperature", default=0.0, show_default=True, type=click.FloatRange(0), help="0: greedy decoding.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of sampling, for every side.")
@click.option("--strength", default=1.0, show_default=True, type=click.FloatRange(0, 1.5), help="Scale of the adapter.")
@_alongside
@allow_outside
@trusting
@reporting(_format_chat)
def chat(
    folder: str,
    prompt: str | None,
    base: str | None,
    sides: tuple[str, ...],
    system: str | None,
    max_new_tokens: int,
    temperature: float,
    seed: int,
    strength: float,
    alongside: bool,
    trust_code: bool,
) -> ChatEntry | ChatHistory:
    """Ask the base, the tuned model and others PROMPT; without PROMPT, list the earlier prompts and answers.

    The answers are saved in chat.jsonl.
    """
    with show_progress("loading libraries"):
        from etabli.review.chat import chat as open_chat
        from etabli.review.chat import read_history

    place = open_place(folder, base)
    if prompt is None:
        return {"asked": read_history(place)}
    widget = open_chat(
        place,
        system=system,
        max_new_tokens=max_new_tokens,
        sides=sides or None,
        temperature=temperature,
        seed=seed,
        strength=strength,
        alongside=alongside,
        trust_code=trust_code,
    )
    widget.observe(_report_state, "doing")
    widget.ask(prompt)
    return cast(ChatEntry, widget.kept)


def _report_state(change: dict[str, str]) -> None:
    if change["new"]:
        say(f"{change['new']} …")


# --- token differences ----------------------------------------------------------------------------------------------


def _format_diffs(diffs: TokenDiffs) -> str:
    from etabli.models import token_divergence

    lines = [f"Answers of {diffs['of']}: change of each token's log-probability from {diffs['model']} (nats)."]
    for row in diffs["rows"][:10]:
        lines += ["", f"{row['prompt'][:100]}  (whole answer {row['total']:+.2f}, KL {row['kl']:.2f} a token)"]
        moves = row["moves"]
        changes = token_divergence.log_probability_changes(moves)
        largest = sorted(range(len(changes)), key=lambda index: -abs(changes[index]))[:5]
        lines += [_format_token(moves, changes, index) for index in sorted(largest)]
    more = len(diffs["rows"]) - 10
    return "\n".join([*lines, *([f"\nand {more} more answers"] if more > 0 else []), *diffs["said"]])


def _format_token(moves: TokenMoves, changes: list[float], index: int) -> str:
    rank = f"rank {moves['base_rank'][index]} → {moves['rank'][index]}"
    return f"  {changes[index]:+7.2f}  {moves['tokens'][index]!r} ({rank})"


@click.command("token-diff")
@click.argument("folder")
@base_option
@click.option("--of", "system", help="Whose answers: tuned, base, another system, or truth.")
@click.option("--limit", type=click.IntRange(1), help="At most this many answers for each language. Default: 50.")
@click.option("--again", is_flag=True, help="Measure again even if there is a saved result.")
@_alongside
@allow_outside
@reporting(_format_diffs)
def token_diff(
    folder: str, base: str | None, system: str | None, limit: int | None, again: bool, alongside: bool
) -> TokenDiffs:
    """Measure how training changed the probability of each token of a run's answers.

    If there is a saved result it is read, and no model is loaded.
    """
    with show_progress("loading libraries"):
        from etabli.review import token_diff as diffing

    place = open_place(folder, base)
    options: dict[str, Any] = {"of": system, "limit": limit}
    options = {name: value for name, value in options.items() if value is not None}
    if not options and not again and (diffs := diffing.load_saved(place)):
        return diffs
    return diffing.measure(place, **options, alongside=alongside, progress=_report_count)


def _report_count(count: int, total: int) -> None:
    if count == total or count % 10 == 0:
        say(f"{count} of {total} answers")


# --- film -----------------------------------------------------------------------------------------------------------


def _format_film(film: ProbeHistory) -> str:
    lines = [f"{film['run']}: {film['state']}"]
    for strip in film["strips"]:
        lines += ["", strip["probe"]]
        pin_reasons = {pin["step"]: pin["why"] for pin in film["pins"] if pin["probe"] == strip["probe"]}
        for frame in strip["frames"]:
            kl = "    —" if frame["mean_kl"] is None else f"{frame['mean_kl']:5.2f}"
            mark = f"  <- pinned {pin_reasons[frame['step']]}".rstrip() if frame["step"] in pin_reasons else ""
            lines.append(f"  step {frame['step']:>6}  KL {kl}  {frame['text'][:90]!r}{mark}")
        lines += [f"  The answer first changed at step {strip['changed']}."] * (strip["changed"] is not None)
    return "\n".join([*lines, *film["said"]])


@click.command()
@click.argument("folder")
@click.option("--pin", type=int, help="Pin this step of a probe.")
@click.option("--unpin", type=int, help="Remove your pins from this step.")
@click.option("--probe", default=0, show_default=True, type=click.IntRange(0), help="Number of the probe, from 0.")
@click.option("--why", default="", help="The reason. It is saved with the pin.")
@_author
@reporting(_format_film)
def film(folder: str, pin: int | None, unpin: int | None, probe: int, why: str, author: str | None) -> ProbeHistory:
    """Show a run's answers to its sample prompts, step by step, and their distance from the base. Loads no model."""
    from etabli.review import probe_history as filming

    history = filming.read_probe_history(folder)
    step = unpin if pin is None else pin
    if step is None:
        return history
    if probe >= len(history["strips"]):
        raise BadInput(f"There is no probe {probe}; there are {len(history['strips'])}, counted from 0.")
    return {
        **history,
        "pins": filming.Pins(folder, author).set(history["strips"][probe]["probe"], step, why, pin is not None),
    }
