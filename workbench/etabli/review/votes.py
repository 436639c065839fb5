"""Votes: a file for every voter, and how such files are read and added up."""

import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeGuard

from etabli.core import folders, journal, machine, parsing, storage
from etabli.core.contracts import CHOICES, VERSION, VOTES, Vote
from etabli.core.errors import BadData, BadInput, Damaged
from etabli.core.wording import count_of
from etabli.review.named_votes import describe_named, split_named
from etabli.runs.run import Run

SHARED_NAMES = {"root", "jovyan", "user", "ubuntu", "somebody", "codespace", "vscode"}  # user names of many people
_TEXT_KEYS = ("id", "comparison", "item", "left", "right", "choice", "by", "slice")


def voter_name(author: str | None = None) -> str:
    """Return the name of the voter. A shared user name gets an ending, which is kept in the cache folder.

    Raises:
        BadInput: the ending can't be kept.
    """
    name = journal.author_name(author)
    if author or name not in SHARED_NAMES or os.environ.get("ETABLI_AUTHOR"):
        return name
    file = machine.cache_folder() / "voter"
    try:
        if not file.is_file():
            storage.write_text(file, secrets.token_hex(2))
        return f"{name}-{file.read_text(encoding='utf-8').strip()}"
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"The user name {name} is shared by many people, and {file} can't keep an ending for it ({error}). "
            "Name yourself with --author, author=... or ETABLI_AUTHOR."
        ) from None


def vote_file(source: object, voter: str) -> Path:
    """Return the file of a voter's votes: in the run folder, or beside the file with the answers.

    Raises:
        OutsideFolder: a link on the way leads out of that folder.
    """
    folder = source.folder if isinstance(source, Run) else Path(source) if isinstance(source, str | Path) else Path()
    folder = folder if folder.is_dir() else folder.parent
    name = re.sub(r"[^\w.-]+", "-", voter).strip(".-") or "somebody"
    folders.resolve_inside(folder, f"{VOTES}/{name}.jsonl")
    return folder / VOTES / f"{name}.jsonl"


def is_reveal(line: Mapping[str, object]) -> bool:
    """Does a line of a vote file say that a voter looked who is who?"""
    return line.get("looked") is True and all(isinstance(line.get(name), str) for name in ("comparison", "by"))


def is_vote(line: Mapping[str, object]) -> TypeGuard[Vote]:
    """Is a line of a vote file a complete vote?"""
    has_texts = all(isinstance(line.get(name), str) for name in _TEXT_KEYS) and line["choice"] in CHOICES
    has_flags = all(isinstance(line.get(name), bool) for name in ("repeat", "unblinded"))
    has_version = isinstance(line.get("t"), int | float) and line.get("version") == VERSION
    if not (has_texts and has_flags and has_version):
        return False
    lengths, systems = line.get("lengths"), line.get("arms")
    if not isinstance(lengths, list) or len(lengths) != 2 or not all(isinstance(length, int) for length in lengths):
        return False
    if not isinstance(systems, list) or not all(isinstance(system, str) for system in systems):
        return False
    pair = {line["left"], line["right"]}
    return len(set(systems)) == len(systems) and len(pair) == 2 and pair <= set(systems)


LARGEST_FILE = 256 * 2**20  # bytes; a vote has a few hundred


def pool(files: Sequence[str | Path], comparison: str = "") -> tuple[list[Vote], list[str]]:
    """Return the blind votes of several files, oldest first and each once, and notes on the files for the reader.

    Votes that were cast in a chat are left out, and a note counts them.

    Args:
        comparison: how the hash of the comparison begins, if the files hold votes on several.

    Raises:
        BadInput: no file is named, or a file does not exist.
        BadData: there are no votes, or votes on different comparisons, which can't be added up.
    """
    if not files:
        raise BadInput("No vote file is named. Name at least one: etabli votes pool FILE.")
    votes: dict[str, Vote] = {}
    notes = []
    for path in map(Path, files):
        all_votes, file_notes = _read_votes(path)
        file_votes, named_votes = split_named(all_votes)
        notes += [*file_notes, *(f"{path}: {text}" for text in describe_named(named_votes))]
        if duplicates := sum(vote["id"] in votes for vote in file_votes):
            notes.append(f"{path}: {duplicates} of {len(file_votes)} votes were in an earlier file; each counts once.")
        votes |= {vote["id"]: vote for vote in file_votes}
    chosen_votes, comparison_notes = _select_comparison(list(votes.values()), comparison, files)
    first_votes, repeat_notes = keep_first_votes(sorted(chosen_votes, key=lambda vote: vote["t"]))
    return first_votes, [*notes, *comparison_notes, *repeat_notes]


def _read_votes(path: Path) -> tuple[list[Vote], list[str]]:
    """The votes of a file that nobody writes to any more: its last line counts also without a line break."""
    if not folders.is_outside_allowed():  # the folder may be a stranger's, and the file a link to another file
        folders.resolve_inside(path.parent, path.name)
    try:
        with folders.open_file(path) as file:
            if (size := os.fstat(file.fileno()).st_size) > LARGEST_FILE:
                raise Damaged(f"{path} has {size:,} bytes, more than any file of votes: look at it.")
            lines = [line for line in file.read().split(b"\n") if line.strip()]
    except OSError:
        raise BadInput(f"There is no vote file {path}. Vote first: etabli arena RUN.") from None
    entries = []
    for line in lines:
        try:
            entry = parsing.parse_json(line)
        except parsing.ParseError:
            entry = None
        entries.append(entry if isinstance(entry, dict) else {})
    votes = [entry for entry in entries if is_vote(entry)]
    invalid = len(entries) - len(votes) - sum(map(is_reveal, entries))
    notes = []
    if invalid:
        notes.append(f"{path}: {invalid} of {len(lines)} lines are no complete votes and are left out.")
    if not votes:
        notes.append(f"{path} holds 0 votes.")
    return votes, notes


def _select_comparison(votes: list[Vote], comparison: str, files: Sequence[str | Path]) -> tuple[list[Vote], list[str]]:
    """The votes on one comparison, and a note on how many votes on others are left out."""
    by_comparison: dict[str, list[Vote]] = {}
    for vote in votes:
        by_comparison.setdefault(vote["comparison"], []).append(vote)
    if not by_comparison:
        raise BadData(f"There are 0 votes of an arena in {', '.join(map(str, files))}. Vote first: etabli arena RUN.")
    matches = {name: group for name, group in by_comparison.items() if name.startswith(comparison)}
    if not matches:
        raise BadData(f"No comparison begins with {comparison!r}; choose from {_describe_comparisons(by_comparison)}.")
    if len(matches) > 1:
        raise BadData(
            f"These are votes on {len(matches)} comparisons, which can't be added up: "
            f"{_describe_comparisons(matches)}. Choose one with --comparison HASH."
        )
    name, chosen_votes = matches.popitem()
    if len({frozenset(vote["arms"]) for vote in chosen_votes}) > 1:
        raise BadData(
            f"Votes on {name} name different systems: the files were changed by hand. Use the original files."
        )
    n_excluded = len(votes) - len(chosen_votes)
    return chosen_votes, [f"{count_of(n_excluded, 'vote')} on other answers left out."] if n_excluded else []


def _describe_comparisons(by_comparison: dict[str, list[Vote]]) -> str:
    texts = []
    for name, votes in by_comparison.items():
        systems, voter = " against ".join(votes[-1]["arms"]), votes[-1]["by"]
        texts.append(f"{name} ({systems}, {count_of(len(votes), 'vote')}, by {voter})")
    return "; ".join(texts)


def keep_first_votes(votes: list[Vote]) -> tuple[list[Vote], list[str]]:
    """Keep each voter's first vote on a pair: a second session elsewhere does not make two people of one.

    Returns:
        The votes that count, and a note on the others.
    """
    first_votes: dict[tuple[str, VoteKey], Vote] = {}
    repeat_voters = set()
    for vote in votes:
        if first_votes.setdefault((vote["by"], vote_key(vote)), vote) is not vote:
            repeat_voters.add(vote["by"])
    notes = []
    if repeat_voters:
        names = ", ".join(sorted(repeat_voters))
        notes.append(
            f"{len(votes) - len(first_votes)} votes are by {names} on pairs that {names} had judged before: the first "
            "vote counts. If these are several people of one name, each needs a name of their own (--author)."
        )
    return list(first_votes.values()), notes


VoteKey = tuple[str, frozenset[str], bool]


def vote_key(vote: Vote) -> VoteKey:
    """Return which showing a vote answers: its item, its two systems, and whether it was the repeat."""
    return vote["item"], frozenset((vote["left"], vote["right"])), vote["repeat"]


def winner(vote: Vote) -> str | None:
    """Return the system that was chosen; None for a tie and for both bad."""
    return {"left": vote["left"], "right": vote["right"]}.get(vote["choice"])


def valid_votes(votes: Iterable[Vote]) -> list[Vote]:
    """Return the votes that count for the results: neither repeats nor votes of somebody who looked who is who."""
    return [vote for vote in votes if not vote["repeat"] and not vote["unblinded"]]
