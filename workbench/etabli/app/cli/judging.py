"""``etabli chat``, ``token-diff`` and ``film``: judging by eye without a browser."""

from typing import Any

import click

from etabli.app.cli.output import reporting
from etabli.app.cli.outside import allow_outside
from etabli.app.cli.trusting import trust_code as trusting
from etabli.core.errors import BadInput
from etabli.core.terminal import say

_author = click.option("--author", help="Who judges; by default ETABLI_AUTHOR or your user name.")
_alongside = click.option("--alongside", is_flag=True, help="Load the model even while a run owns the device.")


# --- chat -----------------------------------------------------------------------------------------------------------


def _answered(asked: dict) -> str:
    if "asked" in asked:
        return "\n\n".join(map(_earlier, asked["asked"])) or "Nothing was asked yet."
    return "\n\n".join(_side(name, one) for name, one in asked["answers"].items())


def _earlier(asked: dict) -> str:
    answers = [f"{side}: {one['text']}" for side, one in asked["answers"].items()]
    return "\n".join([f"> {asked['prompt']}", *answers])


def _side(name: str, one: dict[str, Any]) -> str:
    speed = f"{one['tokens_per_s']} tokens/s" if one["tokens_per_s"] else f"{one['tokens']} tokens"
    first = "" if one["first_s"] is None else f", first after {one['first_s']:.2f} s"
    return f"{name} ({speed}{first}):\n{one['text']}"


@click.command()
@click.argument("folder")
@click.argument("prompt", required=False)
@click.option("--side", "sides", multiple=True, help="base, prompted, tuned, step-000040 … By default base and tuned.")
@click.option("--system", help="The system message; by default that of the run's data.")
@click.option("--max-new-tokens", default=64, show_default=True, type=click.IntRange(1), help="Longest answer.")
@click.option("--temperature", default=0.0, show_default=True, type=click.FloatRange(0), help="0: likeliest tokens.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="The same dice for every side.")
@click.option("--strength", default=1.0, show_default=True, type=click.FloatRange(0, 1.5), help="Of the adapter.")
@_alongside
@allow_outside
@trusting
@reporting(_answered)
def chat(
    folder: str, prompt: str | None, sides: tuple[str, ...], system: str | None, max_new_tokens: int,
    temperature: float, seed: int, strength: float, alongside: bool, trust_code: bool,
) -> dict:  # fmt: skip
    """Ask PROMPT of the base, the tuned model and others; without one, list what was asked. Kept in chat.jsonl."""
    from etabli.review.chat import read_history
    from etabli.review.chat import chat as opened

    if prompt is None:
        return {"asked": read_history(folder)}
    settings = {"temperature": temperature, "seed": seed, "strength": strength, "alongside": alongside}
    settings["trust_code"] = trust_code
    widget = opened(folder, system=system, max_new_tokens=max_new_tokens, sides=sides or ("base", "tuned"), **settings)
    widget.observe(lambda change: change["new"] and say(f"{change['new']} is answering …"), "writing")
    widget.ask(prompt)
    return widget.kept


# --- token differences ----------------------------------------------------------------------------------------------


def _moved(diffs: dict) -> str:
    from etabli.models import token_divergence

    lines = [f"Answers of {diffs['of']}: tokens by how far they were moved from {diffs['model']} (nats)."]
    for row in diffs["rows"][:10]:
        lines += ["", f"{row['prompt'][:100]}  (whole answer {row['total']:+.2f}, KL {row['kl']:.2f} a token)"]
        moves = row["moves"]
        changes = token_divergence.log_probability_changes(moves)
        most = sorted(range(len(changes)), key=lambda at: -abs(changes[at]))[:5]
        lines += [_token(moves, changes, at) for at in sorted(most)]
    more = len(diffs["rows"]) - 10
    return "\n".join([*lines, *([f"\nand {more} more answers"] if more > 0 else []), *diffs["said"]])


def _token(moves: dict, changes: list[float], at: int) -> str:
    rank = f"choice {moves['base_rank'][at]} → {moves['rank'][at]}"
    return f"  {changes[at]:+7.2f}  {moves['tokens'][at]!r} ({rank})"


@click.command("token-diff")
@click.argument("folder")
@click.option("--of", help="Whose answers: tuned, base, another arm, or truth.")
@click.option("--limit", type=click.IntRange(1), help="At most so many answers a language; by default 50.")
@click.option("--again", is_flag=True, help="Measure anew even if it was done before.")
@_alongside
@allow_outside
@reporting(_moved)
def token_diff(folder: str, of: str | None, limit: int | None, again: bool, alongside: bool) -> dict:
    """How the training moved each token of a run's answers. What was measured before is read; no model is loaded."""
    from etabli.review import token_diff as diffing

    asked = {name: value for name, value in (("of", of), ("limit", limit)) if value is not None}
    if not asked and not again and (kept := diffing.load_saved(folder)):
        return kept
    return diffing.measure(folder, **asked, alongside=alongside, progress=_counted)


def _counted(done: int, total: int) -> None:
    if done == total or done % 10 == 0:
        say(f"{done} of {total} answers")


# --- film -----------------------------------------------------------------------------------------------------------


def _filmed(film: dict) -> str:
    lines = [f"{film['run']}: {film['state']}"]
    for strip in film["strips"]:
        lines += ["", strip["probe"]]
        pinned = {pin["step"]: pin["why"] for pin in film["pins"] if pin["probe"] == strip["probe"]}
        for frame in strip["frames"]:
            kl = "    —" if frame["mean_kl"] is None else f"{frame['mean_kl']:5.2f}"
            mark = f"  <- pinned {pinned[frame['step']]}".rstrip() if frame["step"] in pinned else ""
            lines.append(f"  step {frame['step']:>6}  KL {kl}  {frame['text'][:90]!r}{mark}")
        lines += [f"  The answer first changed at step {strip['changed']}."] * (strip["changed"] is not None)
    return "\n".join([*lines, *film["said"]])


@click.command()
@click.argument("folder")
@click.option("--pin", type=int, help="Pin this step of a probe.")
@click.option("--unpin", type=int, help="Take your pins off this step.")
@click.option("--probe", default=0, show_default=True, type=click.IntRange(0), help="Whose frame is pinned, from 0.")
@click.option("--why", default="", help="The reason, kept with the pin.")
@_author
@reporting(_filmed)
def film(folder: str, pin: int | None, unpin: int | None, probe: int, why: str, author: str | None) -> dict:
    """What a run answered to its probes, step by step, and how far that was from the base. No model is loaded."""
    from etabli.review import probe_history as filming

    shot = filming.read_probe_history(folder)
    step = unpin if pin is None else pin
    if step is None:
        return shot
    if probe >= len(shot["strips"]):
        raise BadInput(f"There is no probe {probe}; there are {len(shot['strips'])}, counted from 0.")
    return {
        **shot,
        "pins": filming.Pins(folder, author).set(shot["strips"][probe]["probe"], step, why, pin is not None),
    }
