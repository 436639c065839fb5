"""Votes: a journal for every voter, and what is read from it."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from etabli import journal
from etabli.contracts import CHOICES, VERSION, VOTES, Vote
from etabli.errors import BadData, BadInput
from etabli.training.run import Run

_TEXTS = ("id", "comparison", "item", "left", "right", "choice", "by")


def place(of: Any, voter: str) -> Path:
    """Where a voter's votes are kept: in the run folder, or beside the file that was voted on."""
    folder = of.folder if isinstance(of, Run) else Path(of) if isinstance(of, str | Path) else Path()
    folder = folder if folder.is_dir() else folder.parent
    name = re.sub(r"[^\w.-]+", "-", voter).strip(".-") or "somebody"
    return folder / VOTES / f"{name}.jsonl"


def is_look(line: dict[str, Any]) -> bool:
    """Does a line of a vote file say that a voter looked who is who?"""
    return line.get("looked") is True and all(isinstance(line.get(name), str) for name in ("comparison", "by"))


def is_vote(line: dict[str, Any]) -> bool:
    """Is a line of a file a vote?"""
    texts = all(isinstance(line.get(name), str) for name in _TEXTS) and line["choice"] in CHOICES
    flags = all(isinstance(line.get(name), bool) for name in ("repeat", "unblinded"))
    arms = line.get("arms")
    named = isinstance(arms, list) and all(isinstance(arm, str) for arm in arms)
    lengths = line.get("lengths")
    sized = isinstance(lengths, list) and len(lengths) == 2 and all(isinstance(one, int) for one in lengths)
    known = isinstance(line.get("t"), int | float) and line.get("version") == VERSION
    return texts and flags and named and sized and known and {line["left"], line["right"]} <= {*arms}


def pool(files: Sequence[str | Path]) -> tuple[list[Vote], list[str]]:
    """The votes of several files, oldest first, each once; and what a reader has to know of the files.

    Raises:
        BadInput: no file; a file that is not there.
        BadData: 0 votes in all; votes on different comparisons: they can't be added up.
    """
    if not files:
        raise BadInput("Name at least one vote file.")
    found: dict[str, Vote] = {}
    said = []
    for path in map(Path, files):
        if not path.is_file():
            raise BadInput(f"There is no vote file {path}.")
        held = journal.Journal(path, lambda line: is_vote(line) or is_look(line))
        mine = [entry for entry in held.all() if is_vote(entry)]
        again = sum(vote["id"] in found for vote in mine)
        said += [f"{path}: {again} of {len(mine)} votes were in an earlier file; each counts once."] * bool(again)
        said += [f"{path}: {held.passed_over} lines are no whole votes and were passed over."] * bool(held.passed_over)
        said += [f"{path} holds 0 votes."] * (not mine)
        found |= {vote["id"]: vote for vote in mine}
    votes = sorted(found.values(), key=lambda vote: vote["t"])
    _one_comparison(votes, files)
    once, twice = _once(votes)
    return once, [*said, *twice]


def _one_comparison(votes: list[Vote], files: Sequence[str | Path]) -> None:
    kinds: dict[str, Vote] = {vote["comparison"]: vote for vote in votes}
    if not kinds:
        raise BadData(f"There are 0 votes in {', '.join(map(str, files))}.")
    if len(kinds) > 1:
        counts = {name: sum(vote["comparison"] == name for vote in votes) for name in kinds}
        listed = "; ".join(
            f"{name} ({' against '.join(one['arms'])}, {counts[name]} votes, by {one['by']})"
            for name, one in kinds.items()
        )
        raise BadData(
            f"These are votes on {len(kinds)} comparisons, which can't be added up: {listed}. Pool each alone."
        )


def _once(votes: list[Vote]) -> tuple[list[Vote], list[str]]:
    """A voter's first vote on a pair counts: a second session elsewhere does not make two people of one."""
    kept: dict[tuple, Vote] = {}
    for vote in votes:
        kept.setdefault((vote["by"], key(vote)), vote)
    left = len(votes) - len(kept)
    said = [f"{left} votes were on pairs that the same voter had judged before; the first counts."] * bool(left)
    return list(kept.values()), said


def key(vote: Vote) -> tuple:
    """Which showing a vote answers: item, pair, and whether it was the repeat."""
    return vote["item"], frozenset((vote["left"], vote["right"])), vote["repeat"]


def winner(vote: Vote) -> str | None:
    """The arm that was chosen, or None: a tie, or both bad."""
    return vote.get(vote["choice"]) if vote["choice"] in ("left", "right") else None


def counted(votes: Iterable[Vote]) -> list[Vote]:
    """Votes that count: repeats tell of the voter alone."""
    return [vote for vote in votes if not vote["repeat"]]
