"""The blind arena: two answers, sides hidden; a vote is on the disk before the next pair is shown."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etabli import journal
from etabli.contracts import CHOICES, Results, Standing, Vote
from etabli.errors import BadInput
from etabli.judging import items, sequential, standing, votes, words
from etabli.judging.contest import REPEATS, Contest, Showing
from etabli.models.loading import Loaded
from etabli.training.run import Run


def arena(
    of: Run | str | Path | Results,
    arms: Sequence[str] = (),
    prompts: Sequence[str] | None = None,
    *,
    votes: str | Path | None = None,
    author: str | None = None,
    repeats: float = REPEATS,
    loaded: Loaded | None = None,
    alongside: bool = False,
):
    """Vote blind on answers, in a ``BlindArena``: from saved answers, with no model in memory.

    Args:
        of: a run or its folder (the answers of its evaluation), ``results.json``, results, or a file of answers: JSON
            or JSON lines of ``{"prompt": ..., "answers": {arm: text}}``.
        arms: whose answers, two or more; by default base and tuned. The last one is judged.
        prompts: ask the run's arms these instead, now; the answers are kept in the run folder. This loads the model.
        votes: the vote file; by default one for every author, in ``votes/`` in the run folder.
        author: who votes; by default ``ETABLI_AUTHOR`` or the user.
        repeats: share of pairs shown a second time, sides swapped.
        loaded, alongside: for ``prompts``: a model in memory already; load one also while a run owns the device.

    Raises:
        BadInput: nothing was evaluated there, an unknown arm; BadData: a file that is not as above; DeviceBusy.
    """
    from etabli_widgets import BlindArena

    return BlindArena(opened(of, arms, prompts, votes=votes, author=author, repeats=repeats, loaded=loaded,
                             alongside=alongside))  # fmt: skip


def opened(
    of: Run | str | Path | Results, arms: Sequence[str] = (), prompts: Sequence[str] | None = None, *,
    votes: str | Path | None = None, author: str | None = None, repeats: float = REPEATS,
    loaded: Loaded | None = None, alongside: bool = False,
) -> "Session":  # fmt: skip
    """The same without the widget: a ``Session``."""
    held = items.gather(of, arms, prompts, loaded, alongside)
    return Session(held, votes or _place(of, author), author, repeats)


def _place(of: Any, author: str | None) -> Path:
    return votes.place(of, journal.author(author))


class Session:
    """One voter's way through a contest. What was voted is read from the file: a new kernel goes on where one died."""

    def __init__(self, held: Contest, path: str | Path, author: str | None = None, repeats: float = REPEATS):
        if not 0 <= repeats <= 1:
            raise BadInput(f"repeats is a share between 0 and 1, not {repeats}.")
        self.contest, self.author = held, journal.author(author)
        self.file = journal.Journal(path, lambda line: votes.is_vote(line) or votes.is_look(line))
        self._plan = held.plan(self.author, repeats)
        self._shown = time.monotonic()

    def _entries(self) -> list[dict[str, Any]]:
        return [entry for entry in self.file.all() if entry["comparison"] == self.contest.hash]

    def mine(self) -> list[Vote]:
        """This voter's votes on this contest, oldest first."""
        return [entry for entry in self._entries() if entry["by"] == self.author and votes.is_vote(entry)]

    @property
    def looked(self) -> bool:
        """Has this voter looked who is who?"""
        return any(entry["by"] == self.author and votes.is_look(entry) for entry in self._entries())

    @property
    def said(self) -> list[str]:
        """What a voter has to know of the file and the items."""
        other, alike = len(self.file.all()) - len(self._entries()), self.contest.alike()
        return [
            *[f"{other} votes in {self.file.path} are on other answers and do not count here."] * bool(other),
            *[f"{self.file.passed_over} lines of {self.file.path} are no whole votes."] * bool(self.file.passed_over),
            *[f"{alike} pairs of answers are the same and are not shown."] * bool(alike),
        ]

    @property
    def number(self) -> int:
        """How many were voted on, of ``total``."""
        return self.total - len(self._left())

    @property
    def total(self) -> int:
        """How many showings there are."""
        return len(self._plan)

    def _left(self) -> list[Showing]:
        done = {votes.key(vote) for vote in self.mine()}
        return [showing for showing in self._plan if showing.key not in done]

    def showing(self) -> Showing | None:
        """The next pair, or None: all are voted on. Not for the voter's eyes: it says which side is whose."""
        return next(iter(self._left()), None)

    def vote(self, choice: str) -> Vote:
        """Choose between the two that are shown; on the disk when this returns.

        Args:
            choice: left, right, tie or both bad. It can't be taken back: what follows tells of it.

        Raises:
            BadInput: something else, or nothing is left to vote on; NoSpace: the disk is full.
        """
        now = self.showing()
        if choice not in CHOICES:
            raise BadInput(f"A vote is one of {', '.join(CHOICES)}, not {choice!r}.")
        if now is None:
            raise BadInput(f"All {self.total} pairs are voted on.")
        made: Vote = {
            **journal.stamp(), "comparison": self.contest.hash, "arms": list(self.contest.arms), "item": now.item.id,
            "left": now.left, "right": now.right, "choice": choice, "by": self.author, "repeat": now.repeat,
            "unblinded": self.looked, "seconds": round(time.monotonic() - self._shown, 2),
            "lengths": [len(now.item.answers[arm]) for arm in (now.left, now.right)], "slice": now.item.slice,
        }  # fmt: skip
        self.file.add(made)
        self._shown = time.monotonic()
        return made

    def watch(self) -> dict[str, Any]:
        """How far it is to a verdict, without saying whose: safe to look at after every vote.

        Returns:
            ``{votes, evidence, threshold, needed}``: of the pair of arms that is told best.
        """
        mine = self.mine()
        if not mine:
            return {"votes": 0, "evidence": 1.0, "threshold": sequential.THRESHOLD, "needed": None}
        best = max(standing.pairs(mine), key=lambda pair: pair["evidence"] / pair["threshold"])
        return {"votes": len(mine), **{name: best[name] for name in ("evidence", "threshold", "needed")}}

    def look(self) -> Standing:
        """Who is who, and what the votes say. Votes cast after this say so.

        Raises:
            BadData: no vote yet.
        """
        made = standing.standing(self.mine(), self.said)
        if not self.looked:
            self.file.add({**journal.stamp(), "comparison": self.contest.hash, "by": self.author, "looked": True})
        return made

    def told(self) -> dict[str, Any]:
        """``look`` in words, for a page."""
        return words.told(self.look())

    def watched(self) -> str:
        """``watch`` in words."""
        return words.watched(self.watch())
