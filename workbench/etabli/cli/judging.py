"""``etabli chat``, ``arena``, ``votes``, ``token-diff`` and ``film``: judging by eye without a browser."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from etabli.cli.output import reporting
from etabli.errors import BadInput

KEYS = {"1": "left", "l": "left", "\x1b[D": "left", "2": "right", "r": "right", "\x1b[C": "right",
        "t": "tie", "0": "tie", "\x1b[B": "tie", "x": "both bad"}  # fmt: skip
WORDS = {"left": "1", "right": "2", "tie": "t", "both bad": "x"}
QUIT = ("q", "\x03", "\x04", "")
ASKING = "[1 or ← left · 2 or → right · t tie · x both bad · q enough]"

_author = click.option("--author", help="Who judges; by default ETABLI_AUTHOR or your user name.")
_alongside = click.option("--alongside", is_flag=True, help="Load the model even while a run owns the device.")


def _plain(text: str) -> str:
    """Text that can't steer a terminal."""
    from etabli_widgets._base import visible

    return visible(text)


# --- chat -----------------------------------------------------------------------------------------------------------


def _answered(asked: dict) -> str:
    return "\n\n".join(_side(name, one) for name, one in asked["answers"].items())


def _side(name: str, one: dict[str, Any]) -> str:
    speed = f"{one['tokens_per_s']} tokens/s" if one["tokens_per_s"] else f"{one['tokens']} tokens"
    first = "" if one["first_s"] is None else f", first after {one['first_s']:.2f} s"
    return f"{name} ({speed}{first}):\n{_plain(one['text'])}"


@click.command()
@click.argument("folder")
@click.argument("prompt")
@click.option("--side", "sides", multiple=True, help="base, prompted, tuned, step-000040 … By default base and tuned.")
@click.option("--system", help="The system message; by default that of the run's data.")
@click.option("--max-new-tokens", default=64, show_default=True, type=click.IntRange(1), help="Longest answer.")
@click.option("--temperature", default=0.0, show_default=True, type=click.FloatRange(0), help="0: likeliest tokens.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="The same dice for every side.")
@click.option("--strength", default=1.0, show_default=True, type=click.FloatRange(0, 1.5), help="Of the adapter.")
@_alongside
@reporting(_answered)
def chat(
    folder: str, prompt: str, sides: tuple[str, ...], system: str | None, max_new_tokens: int, temperature: float,
    seed: int, strength: float, alongside: bool,
) -> dict:  # fmt: skip
    """Ask PROMPT of the base, the tuned model and others, side by side; kept in the run's chat.jsonl."""
    from etabli.judging.chat import chat as opened

    settings = {"temperature": temperature, "seed": seed, "strength": strength, "alongside": alongside}
    widget = opened(folder, system=system, max_new_tokens=max_new_tokens, sides=sides or ("base", "tuned"), **settings)
    widget.ask(prompt)
    return widget.kept


# --- arena ----------------------------------------------------------------------------------------------------------


def _standing(standing: dict | None) -> str:
    from etabli.judging import words

    return words.text(standing) if standing else "No vote yet."


@click.command()
@click.argument("place")
@click.option("--arm", "arms", multiple=True, help="Two or more that have answered; the last is judged. Repeat it.")
@click.option("--prompts", type=click.Path(), help="Ask these instead, one a line; the answers are kept in the run.")
@click.option("--votes", "votes", type=click.Path(), help="The vote file; by default votes/AUTHOR.jsonl in the run.")
@_author
@_alongside
@reporting(_standing)
def arena(
    place: str, arms: tuple[str, ...], prompts: str | None, votes: str | None, author: str | None, alongside: bool
) -> dict | None:
    """Vote blind on the saved answers of PLACE: a run, its results.json, or a file of answers.

    Keys are read from the terminal, or one a line from a pipe. Ends with who is who; with --json this is printed.
    """
    from etabli.judging.arena import opened

    asked = _lines(prompts) if prompts else None
    session = opened(place, arms, asked, votes=votes, author=author, alongside=alongside)
    _say(*session.said)
    voted = _vote(session)
    return session.look() if voted or session.mine() else None


def _lines(path: str) -> list[str]:
    try:
        return [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} can't be read: {error}.") from None


def _say(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr)


def _vote(session: Any) -> int:
    """Show pairs and take keys until there are no more of either; returns how many were voted on."""
    voted = 0
    keys = _keys()
    while (now := session.showing()) is not None:
        left, right = (_plain(now.item.answers[arm]) for arm in (now.left, now.right))
        _say("", f"--- {session.number + 1} of {session.total} · {session.watched()}", _plain(now.item.prompt))
        _say("", "LEFT", left, "", "RIGHT", right, "", ASKING)
        choice = next((KEYS.get(key, "") for key in keys if key in KEYS or key in QUIT), "")
        if not choice:
            break
        made = session.vote(choice)
        voted += 1
        _say(f"{choice}. Left had {made['lengths'][0]} characters, right {made['lengths'][1]}.")
    return voted


def _keys() -> Iterator[str]:
    """Keys of a terminal as they are pressed, or a choice a line."""
    if not sys.stdin.isatty():
        for line in sys.stdin:
            word = line.strip().lower()
            yield WORDS.get(word, word)
        return
    while True:
        try:
            yield click.getchar()
        except (KeyboardInterrupt, EOFError):
            yield "q"


@click.group()
def votes() -> None:
    """Vote files of the blind arena."""


@votes.command()
@click.argument("files", nargs=-1, required=True)
@reporting(_standing)
def pool(files: tuple[str, ...]) -> dict:
    """Add up the votes of several people, and say how far they agree."""
    from etabli.judging.standing import standing
    from etabli.judging.votes import pool as pooled

    return standing(*pooled(files))


# --- token differences ----------------------------------------------------------------------------------------------


def _moved(diffs: dict) -> str:
    lines = [f"Answers of {diffs['of']}: tokens by how far they were moved from {diffs['model']} (nats)."]
    for row in diffs["rows"][:10]:
        lines += ["", f"{_plain(row['prompt'])[:100]}  (whole answer {row['total']:+.2f}, KL {row['kl']:.2f} a token)"]
        moves = row["moves"]
        changes = [after - before for after, before in zip(moves["logp"], moves["base_logp"])]
        most = sorted(range(len(changes)), key=lambda at: -abs(changes[at]))[:5]
        lines += [_token(moves, changes, at) for at in sorted(most)]
    more = len(diffs["rows"]) - 10
    return "\n".join([*lines, *([f"\nand {more} more answers"] if more > 0 else []), *diffs["said"]])


def _token(moves: dict, changes: list[float], at: int) -> str:
    rank = f"choice {moves['base_rank'][at]} → {moves['rank'][at]}"
    return f"  {changes[at]:+7.2f}  {_plain(moves['tokens'][at])!r} ({rank})"


@click.command("token-diff")
@click.argument("folder")
@click.option("--of", help="Whose answers: tuned, base, another arm, or truth.")
@click.option("--limit", type=click.IntRange(1), help="At most so many answers a language; by default 50.")
@click.option("--again", is_flag=True, help="Measure anew even if it was done before.")
@_alongside
@reporting(_moved)
def token_diff(folder: str, of: str | None, limit: int | None, again: bool, alongside: bool) -> dict:
    """How the training moved each token of a run's answers. What was measured before is read; no model is loaded."""
    from etabli.judging import token_diff as diffing

    asked = {name: value for name, value in (("of", of), ("limit", limit)) if value is not None}
    if not asked and not again and (kept := diffing.kept(folder)):
        return kept
    return diffing.measure(folder, **asked, alongside=alongside, progress=_counted)


def _counted(done: int, total: int) -> None:
    if done == total or done % 10 == 0:
        _say(f"{done} of {total} answers")


# --- film -----------------------------------------------------------------------------------------------------------


def _filmed(film: dict) -> str:
    lines = [f"{film['run']}: {film['state']}"]
    for strip in film["strips"]:
        lines += ["", _plain(strip["probe"])]
        pinned = {pin["step"]: pin["why"] for pin in film["pins"] if pin["probe"] == strip["probe"]}
        for frame in strip["frames"]:
            kl = "    —" if frame["mean_kl"] is None else f"{frame['mean_kl']:5.2f}"
            mark = f"  <- pinned {pinned[frame['step']]}".rstrip() if frame["step"] in pinned else ""
            lines.append(f"  step {frame['step']:>6}  KL {kl}  {_plain(frame['text'])[:90]!r}{mark}")
        lines += [f"  The answer first changed at step {strip['changed']}."] * (strip["changed"] is not None)
    return "\n".join([*lines, *film["said"]])


@click.command()
@click.argument("folder")
@click.option("--pin", type=int, help="Pin this step of a probe; pinned again, it is unpinned.")
@click.option("--probe", default=0, show_default=True, type=click.IntRange(0), help="Whose frame is pinned, from 0.")
@click.option("--why", default="", help="The reason, kept with the pin.")
@_author
@reporting(_filmed)
def film(folder: str, pin: int | None, probe: int, why: str, author: str | None) -> dict:
    """What a run answered to its probes, step by step, and how far that was from the base. No model is loaded."""
    from etabli.judging import film as filming

    shot = filming.shot(folder)
    if pin is None:
        return shot
    if probe >= len(shot["strips"]):
        raise BadInput(f"There is no probe {probe}; there are {len(shot['strips'])}, counted from 0.")
    return {**shot, "pins": filming.Pins(folder, author).set(shot["strips"][probe]["probe"], pin, why)}
