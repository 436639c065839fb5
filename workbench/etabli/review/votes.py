"""Votes: a journal for every voter, and what is read from it."""

import os
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from etabli.core import folders, journal, machine, parsing, storage
from etabli.core.contracts import CHOICES, VERSION, VOTES, Vote
from etabli.core.errors import BadData, BadInput
from etabli.runs.run import Run

EVERYBODY = {"root", "jovyan", "user", "ubuntu", "somebody", "codespace", "vscode"}  # names that tell nobody apart
_TEXTS = ("id", "comparison", "item", "left", "right", "choice", "by", "slice")


def voter(author: str | None = None) -> str:
    """Who votes. A user name that a whole class shares gets an ending of its own, kept in the cache folder."""
    name = journal.author(author)
    if author or name not in EVERYBODY or os.environ.get("ETABLI_AUTHOR"):
        return name
    file = machine.cache_folder() / "voter"
    try:
        if not file.is_file():
            storage.write_text(file, secrets.token_hex(2))
        return f"{name}-{file.read_text(encoding='utf-8').strip()}"
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{name} is a name that many have, and {file} can't keep an ending for it ({error}): say who you are with "
            "--author, author=... or ETABLI_AUTHOR."
        ) from None


def place(of: Any, voter: str) -> Path:
    """Where a voter's votes are kept: in the run folder, or beside the file that was voted on."""
    folder = of.folder if isinstance(of, Run) else Path(of) if isinstance(of, str | Path) else Path()
    folder = folder if folder.is_dir() else folder.parent
    name = re.sub(r"[^\w.-]+", "-", voter).strip(".-") or "somebody"
    folders.inside(folder, f"{VOTES}/{name}.jsonl")  # no link on the way leads to where nobody votes
    return folder / VOTES / f"{name}.jsonl"


def is_look(line: dict[str, Any]) -> bool:
    """Does a line of a vote file say that a voter looked who is who?"""
    return line.get("looked") is True and all(isinstance(line.get(name), str) for name in ("comparison", "by"))


def is_vote(line: dict[str, Any]) -> bool:
    """Is a line of a file a vote?"""
    texts = all(isinstance(line.get(name), str) for name in _TEXTS) and line["choice"] in CHOICES
    flags = all(isinstance(line.get(name), bool) for name in ("repeat", "unblinded"))
    known = isinstance(line.get("t"), int | float) and line.get("version") == VERSION
    return texts and flags and known and _arms_fit(line) and _sized(line.get("lengths"))


def _arms_fit(line: dict[str, Any]) -> bool:
    arms = line.get("arms")
    named = isinstance(arms, list) and all(isinstance(arm, str) for arm in arms) and len({*arms}) == len(arms)
    return named and line["left"] != line["right"] and {line["left"], line["right"]} <= {*arms}


def _sized(lengths: Any) -> bool:
    return isinstance(lengths, list) and len(lengths) == 2 and all(isinstance(one, int) for one in lengths)


def pool(files: Sequence[str | Path], comparison: str = "") -> tuple[list[Vote], list[str]]:
    """The votes of several files, oldest first, each once; and what a reader has to know of the files.

    Args:
        comparison: of files with votes on several sets of answers, those on this one: the beginning of its hash.

    Raises:
        BadInput: no file; a file that is not there.
        BadData: 0 votes in all; votes on different comparisons, which can't be added up.
    """
    if not files:
        raise BadInput("Name at least one vote file.")
    found: dict[str, Vote] = {}
    said = []
    for path in map(Path, files):
        mine, notes = _read(path)
        again = sum(vote["id"] in found for vote in mine)
        said += [
            *notes,
            *[f"{path}: {again} of {len(mine)} votes were in an earlier file; each counts once."] * bool(again),
        ]
        found |= {vote["id"]: vote for vote in mine}
    votes, others = _of_one(list(found.values()), comparison, files)
    kept, twice = once(sorted(votes, key=lambda vote: vote["t"]))
    return kept, [*said, *others, *twice]


def _read(path: Path) -> tuple[list[Vote], list[str]]:
    """The votes of a finished file; its last line counts also without an end."""
    try:
        with folders.open_file(path) as file:
            lines = [line for line in file.read().split(b"\n") if line.strip()]
    except OSError:
        raise BadInput(f"There is no vote file {path}.") from None
    entries = list(map(_parsed, lines))
    votes = [entry for entry in entries if is_vote(entry)]
    odd = len(entries) - len(votes) - sum(map(is_look, entries))
    said = [f"{path}: {odd} line{'s' * (odd > 1)} of {len(lines)} no whole vote: passed over."] * bool(odd)
    return votes, [*said, *[f"{path} holds 0 votes."] * (not votes)]


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        entry = parsing.parse_json(line)
    except parsing.Unparsed:
        return {}
    return entry if isinstance(entry, dict) else {}


def _of_one(votes: list[Vote], comparison: str, files: Sequence[str | Path]) -> tuple[list[Vote], list[str]]:
    """The votes on one comparison, and how many were left out for being on another."""
    kinds = {vote["comparison"]: vote for vote in votes}
    chosen = [name for name in kinds if name.startswith(comparison)]
    if not kinds:
        raise BadData(f"There are 0 votes in {', '.join(map(str, files))}.")
    if not chosen:
        raise BadData(f"No comparison begins with {comparison!r}; there are {_listed(kinds, votes)}.")
    if len(chosen) > 1:
        listed = _listed({name: kinds[name] for name in chosen}, votes)
        raise BadData(
            f"These are votes on {len(chosen)} comparisons, which can't be added up: {listed}. "
            "Choose one with --comparison HASH."
        )
    mine = [vote for vote in votes if vote["comparison"] == chosen[0]]
    if len({frozenset(vote["arms"]) for vote in mine}) > 1:
        raise BadData(f"Votes on {chosen[0]} name different arms: the files were changed by hand.")
    left = len(votes) - len(mine)
    return mine, [f"{left} votes on other answers were left out."] * bool(left)


def _listed(kinds: dict[str, Vote], votes: list[Vote]) -> str:
    counts = Counter(vote["comparison"] for vote in votes)
    each = (
        f"{name} ({' against '.join(one['arms'])}, {counts[name]} votes, by {one['by']})" for name, one in kinds.items()
    )
    return "; ".join(each)


def once(votes: list[Vote]) -> tuple[list[Vote], list[str]]:
    """A voter's first vote on a pair counts: a second session elsewhere does not make two people of one.

    Returns:
        The votes that count, and what a reader has to know of the others.
    """
    kept: dict[tuple, Vote] = {}
    for vote in votes:
        kept.setdefault((vote["by"], key(vote)), vote)
    left = len(votes) - len(kept)
    who = ", ".join(sorted({vote["by"] for vote in votes if kept[vote["by"], key(vote)] is not vote}))
    said = (
        f"{left} votes are by {who} on pairs that {who} had judged before: the first counts. If these are several "
        "people of one name, let each vote with a name of their own (--author)."
    )
    return list(kept.values()), [said] * bool(left)


def key(vote: Vote) -> tuple:
    """Which showing a vote answers: item, pair, and whether it was the repeat."""
    return vote["item"], frozenset((vote["left"], vote["right"])), vote["repeat"]


def winner(vote: Vote) -> str | None:
    """The arm that was chosen, or None: a tie, or both bad."""
    return vote.get(vote["choice"]) if vote["choice"] in ("left", "right") else None


def counted(votes: Iterable[Vote]) -> list[Vote]:
    """Votes that count: repeats tell of the voter alone, and who knows whose answers these are is not blind."""
    return [vote for vote in votes if not vote["repeat"] and not vote["unblinded"]]
