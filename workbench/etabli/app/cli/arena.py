"""``etabli arena`` and ``etabli votes``: the blind arena at a terminal, and the votes of many."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from etabli.app.cli.base_option import base_option, open_place
from etabli.app.cli.output import reporting
from etabli.app.cli.outside import allow_outside
from etabli.app.cli.trusting import trust_code as trusting
from etabli.core import parsing
from etabli.core.contracts import VERSION, ArenaReport, VoteResults
from etabli.core.errors import BadInput
from etabli.core.progress import show_progress
from etabli.core.terminal import say
from etabli.core.wording import count_of

if TYPE_CHECKING:
    from etabli.review.session import Session

KEYS = {"1": "left", "\x1b[D": "left", "2": "right", "\x1b[C": "right", "t": "tie", "\x1b[B": "tie", "x": "both bad"}
WORDS = {"left": "1", "right": "2", "tie": "t", "both bad": "x"}
QUIT = ("q", "\x03", "\x04")
CUT = "[cut: it ended at the greatest length]"
ONE_CUT = "Only one of the two was cut: this may tell whose it is. Judge what is there."
QUESTION = "[1 or ← left · 2 or → right · t or ↓ tie · x both bad · q enough for now]"


def _format_session(session: ArenaReport) -> str:
    from etabli.review import report

    head = f"{session['done']} of {session['total']} pairs voted on, in {session['file']}."
    if session["standing"]:
        return f"{report.format_results(session['standing'])}\n{head}"
    progress = report.describe_progress(session["watch"], session["total"])
    return f"{head}\n{progress}\nTo see whose answers these are: --look. Votes after that do not count."


@click.command()
@click.argument("place")
@base_option
@click.option(
    "--arm",
    "systems",
    multiple=True,
    help="Systems to compare; the last is judged. Repeat it. Default: prompted and tuned.",
)
@click.option(
    "--prompts", type=click.Path(), help="Ask the prompts of this file, one a line. The run keeps the answers."
)
@click.option("--votes", "file", type=click.Path(), help="The vote file. Default: votes/AUTHOR.jsonl in the run.")
@click.option("--author", help="Who votes. Default: ETABLI_AUTHOR or your user name.")
@click.option("--look", is_flag=True, help="Do not vote. Show whose answers these are and the result of your votes.")
@click.option("--alongside", is_flag=True, help="Load the model even if a run uses the device.")
@allow_outside
@trusting
@reporting(_format_session)
def arena(
    place: str,
    base: str | None,
    systems: tuple[str, ...],
    prompts: str | None,
    file: str | None,
    author: str | None,
    look: bool,
    alongside: bool,
    trust_code: bool,
) -> ArenaReport:
    """Vote blind on the saved answers of PLACE: a run, its results.json, or a file of answers.

    The command reads keys from the terminal, or one choice a line from a pipe. It shows which system gave which answer
    after the last vote, or with --look.
    """
    with show_progress("loading libraries"):
        from etabli.review.session import open_session

    questions = _read_prompts(prompts) if prompts else None
    options: dict[str, Any] = {"votes": file, "author": author, "alongside": alongside, "trust_code": trust_code}
    session = open_session(open_place(place, base), systems, questions, **options)
    say(*session.notes)
    if not look:
        _vote(session)
    may_reveal = session.own_votes() and (look or session.vote_count == session.total)
    return {
        "version": VERSION,
        "comparison": session.comparison.hash,
        "author": session.author,
        "file": str(session.file.path),
        "done": session.vote_count,
        "total": session.total,
        "watch": session.progress(),
        "standing": session.reveal() if may_reveal else None,
        "said": session.notes,
    }


def _read_prompts(path: str) -> list[str]:
    try:
        return [line.strip() for line in parsing.read_text(path).splitlines() if line.strip()]
    except (OSError, parsing.ParseError) as error:
        raise BadInput(f"{path} can't be read: {error}.") from None


def _vote(session: "Session") -> None:
    """Show pairs and read keys until either ends."""
    keys = _read_keys()
    while (now := session.current_pair()) is not None:
        say("", f"--- {session.vote_count + 1} of {session.total} · {session.progress_text()}", now.item.prompt)
        for title, system in (("LEFT", now.left), ("RIGHT", now.right)):
            say("", title, now.item.answers[system], *([CUT] if system in now.item.cut else []))
        if len({now.left, now.right} & {*now.item.cut}) == 1:
            say("", ONE_CUT)
        say("", QUESTION)
        choice = next((KEYS.get(key, "") for key in keys if key in KEYS or key in QUIT), "")
        if not choice:
            return
        try:
            vote = session.vote(choice)
        except BadInput as error:  # voted on in another window: here is the next
            say(str(error))
            continue
        say(f"{choice}. Left had {count_of(vote['lengths'][0], 'character')}, right {vote['lengths'][1]}.")


def _read_keys() -> Iterator[str]:
    """Yield keys as they are pressed in a terminal, or one choice a line from a pipe."""
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


def _format_results(results: VoteResults) -> str:
    from etabli.review import report

    return report.format_results(results)


@click.group()
def votes() -> None:
    """Work with vote files of the blind arena."""


@votes.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--comparison", default="", help="Count only the comparison whose hash begins with this text.")
@allow_outside
@reporting(_format_results)
def pool(files: tuple[str, ...], comparison: str) -> VoteResults:
    """Add up the votes of several people and measure how far they agree."""
    from etabli.review.results import summarise_votes
    from etabli.review.votes import pool as pool_votes

    return summarise_votes(*pool_votes(files, comparison))
