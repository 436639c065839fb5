"""``etabli arena`` and ``etabli votes``: the blind arena at a terminal, and the votes of many."""

import sys
from collections.abc import Iterator
from typing import Any

import click

from etabli.app.cli.output import reporting
from etabli.app.cli.outside import allow_outside
from etabli.app.cli.trusting import trust_code as trusting
from etabli.core import parsing
from etabli.core.contracts import VERSION
from etabli.core.errors import BadInput
from etabli.core.terminal import say

KEYS = {"1": "left", "\x1b[D": "left", "2": "right", "\x1b[C": "right", "t": "tie", "\x1b[B": "tie", "x": "both bad"}
WORDS = {"left": "1", "right": "2", "tie": "t", "both bad": "x"}
QUIT = ("q", "\x03", "\x04")
ASKING = "[1 or ← left · 2 or → right · t or ↓ tie · x both bad · q enough for now]"


def _sitting(sitting: dict) -> str:
    from etabli.review import report

    head = f"{sitting['done']} of {sitting['total']} pairs voted on, in {sitting['file']}."
    if sitting["standing"]:
        return f"{report.format_results(sitting['standing'])}\n{head}"
    return f"{head}\n{report.describe_progress(sitting['watch'])}\nWho is who: --look. Votes cast after that do not count."


@click.command()
@click.argument("place")
@click.option("--arm", "arms", multiple=True, help="Two or more that have answered; the last is judged. Repeat it.")
@click.option("--prompts", type=click.Path(), help="Ask these instead, one a line; the answers are kept in the run.")
@click.option("--votes", "file", type=click.Path(), help="The vote file; by default votes/AUTHOR.jsonl in the run.")
@click.option("--author", help="Who votes; by default ETABLI_AUTHOR or your user name.")
@click.option("--look", is_flag=True, help="Do not vote: who is who, and what your votes say.")
@click.option("--alongside", is_flag=True, help="Load the model even while a run owns the device.")
@allow_outside
@trusting
@reporting(_sitting)
def arena(
    place: str, arms: tuple[str, ...], prompts: str | None, file: str | None, author: str | None, look: bool,
    alongside: bool, trust_code: bool,
) -> dict:  # fmt: skip
    """Vote blind on the saved answers of PLACE: a run, its results.json, or a file of answers.

    Keys are read from the terminal, or one a line from a pipe. Who is who is said when all is voted on, or with --look.
    """
    from etabli.review.session import open_session

    asked = _lines(prompts) if prompts else None
    session = open_session(place, arms, asked, votes=file, author=author, alongside=alongside, trust_code=trust_code)
    say(*session.notes)
    if not look:
        _vote(session)
    told = session.reveal() if session.own_votes() and (look or session.vote_count == session.total) else None
    return {
        "version": VERSION, "comparison": session.comparison.hash, "author": session.author,
        "file": str(session.file.path), "done": session.vote_count, "total": session.total, "watch": session.progress(),
        "standing": told, "said": session.notes,
    }  # fmt: skip


def _lines(path: str) -> list[str]:
    try:
        return [line.strip() for line in parsing.read_text(path).splitlines() if line.strip()]
    except (OSError, parsing.ParseError) as error:
        raise BadInput(f"{path} can't be read: {error}.") from None


def _vote(session: Any) -> None:
    """Show pairs and take keys until there are no more of either."""
    keys = _keys()
    while (now := session.current_pair()) is not None:
        say("", f"--- {session.vote_count + 1} of {session.total} · {session.progress_text()}", now.item.prompt)
        say("", "LEFT", now.item.answers[now.left], "", "RIGHT", now.item.answers[now.right], "", ASKING)
        choice = next((KEYS.get(key, "") for key in keys if key in KEYS or key in QUIT), "")
        if not choice:
            return
        try:
            made = session.vote(choice)
        except BadInput as error:  # voted on in another window: here is the next
            say(str(error))
            continue
        say(f"{choice}. Left had {made['lengths'][0]} characters, right {made['lengths'][1]}.")


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


def _pooled(standing: dict) -> str:
    from etabli.review import report

    return report.format_results(standing)


@click.group()
def votes() -> None:
    """Vote files of the blind arena."""


@votes.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--comparison", default="", help="Of files on several sets of answers, this one: how its hash begins.")
@reporting(_pooled)
def pool(files: tuple[str, ...], comparison: str) -> dict:
    """Add up the votes of several people, and say how far they agree."""
    from etabli.review.results import summarise_votes
    from etabli.review.votes import pool as pool_votes

    return summarise_votes(*pool_votes(files, comparison))
