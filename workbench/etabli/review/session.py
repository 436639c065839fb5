"""The blind arena: two answers, sides hidden; a vote is on the disk before the next pair is shown."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etabli.core import journal
from etabli.core.contracts import CHOICES, Results, Standing, Vote, Watch
from etabli.core.errors import BadInput
from etabli.models.loading import Loaded
from etabli.review import answers, e_process, report, results
from etabli.review import votes as voting
from etabli.review.pairs import REPEATS, Contest, Showing
from etabli.runs.run import Run

EVERY = 10  # votes with a winner between two looks at the evidence


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
    trust_code: bool = False,
):
    """Vote blind on answers, in a ``BlindArena``: from saved answers, with no model in memory.

    Args:
        of: a run or its folder (the answers of its evaluation), ``results.json``, results, or a file of answers: JSON
            or JSON lines of ``{"prompt": ..., "answers": {arm: text}}``.
        arms: whose answers, two or more; by default base and tuned. The last one is judged.
        prompts: ask the run's arms these instead, now; the answers are kept in the run folder. This loads the model.
        votes: the vote file; by default one for every author, in ``votes/`` in the run folder.
        author: who votes; by default ``ETABLI_AUTHOR`` or the user (``votes.voter``).
        repeats: share of pairs shown a second time, sides swapped.
        loaded, alongside: for ``prompts``: a model in memory already; load one also while a run owns the device.
        trust_code: for ``prompts`` to ``prompted`` or ``lookup``: say yes to the rules that the run's recipe names.

    Raises:
        BadInput: nothing was evaluated there, an unknown arm; BadData: a file that is not as above; DeviceBusy.
    """
    from etabli_widgets import BlindArena

    return BlindArena(opened(of, arms, prompts, votes=votes, author=author, repeats=repeats, loaded=loaded,
                             alongside=alongside, trust_code=trust_code))  # fmt: skip


def opened(
    of: Run | str | Path | Results, arms: Sequence[str] = (), prompts: Sequence[str] | None = None, *,
    votes: str | Path | None = None, author: str | None = None, repeats: float = REPEATS,
    loaded: Loaded | None = None, alongside: bool = False, trust_code: bool = False,
) -> "Session":  # fmt: skip
    """The same without the widget: a ``Session``."""
    held = answers.gather(of, arms, prompts, loaded, alongside, trust_code)
    return Session(held, votes or voting.place(of, voting.voter(author)), author, repeats)


class Session:
    """One voter's way through a contest. What was voted is read from the file: a new kernel goes on where one died."""

    def __init__(self, held: Contest, path: str | Path, author: str | None = None, repeats: float = REPEATS):
        if not 0 <= repeats <= 1:
            raise BadInput(f"repeats is a share between 0 and 1, not {repeats}.")
        self.contest, self.author = held, voting.voter(author)
        self.file = journal.Journal(path, lambda line: voting.is_vote(line) or voting.is_look(line))
        self._plan = held.plan(self.author, repeats)
        self._now: Showing | None = None  # what the voter sees
        self._since = time.monotonic()

    def _entries(self) -> list[dict[str, Any]]:
        ours = [entry for entry in self.file.all() if entry["comparison"] == self.contest.hash]
        arms = {*self.contest.arms}
        return [entry for entry in ours if voting.is_look(entry) or {*entry["arms"]} == arms]

    def mine(self) -> list[Vote]:
        """This voter's votes on this contest, oldest first."""
        mine = [entry for entry in self._entries() if entry["by"] == self.author and voting.is_vote(entry)]
        return voting.once(mine)[0]  # two kernels may have asked the same at the same time

    @property
    def looked(self) -> bool:
        """Has this voter looked who is who?"""
        return any(entry["by"] == self.author and voting.is_look(entry) for entry in self._entries())

    @property
    def said(self) -> list[str]:
        """What a voter has to know of the file and the items."""
        other = sum(voting.is_vote(entry) and entry["comparison"] != self.contest.hash for entry in self.file.all())
        alike = self.contest.alike()
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
        done = {voting.key(vote) for vote in self.mine()}
        return [showing for showing in self._plan if showing.key not in done]

    def showing(self) -> Showing | None:
        """What is to be judged now, or None: all is. Not for the voter's eyes: it says which side is whose.

        It stays the same until it was voted on, here or in another window.
        """
        left = self._left()
        if self._now not in left:
            self._now, self._since = (left[0] if left else None), time.monotonic()
        return self._now

    def vote(self, choice: str) -> Vote:
        """Choose between the two that were shown; on the disk when this returns.

        Args:
            choice: left, right, tie or both bad. It can't be taken back: what follows tells of it.

        Raises:
            BadInput: something else; nothing is left; what was shown was voted on elsewhere meanwhile.
            NoSpace: the disk is full.
        """
        if choice not in CHOICES:
            raise BadInput(f"A vote is one of {', '.join(CHOICES)}, not {choice!r}.")
        seen, now = self._now, self.showing()
        if now is None:
            raise BadInput(f"All {self.total} pairs are voted on.")
        if seen is None:
            raise BadInput("Nothing was shown yet: look at showing() before you vote.")
        if seen != now:
            raise BadInput(
                "This pair was voted on in another window meanwhile: nothing was kept. Here is the next one."
            )
        made = self._made(now, choice)
        self.file.add(made)
        self._now = None
        return made

    def _made(self, now: Showing, choice: str) -> Vote:
        return {
            **journal.stamp(), "comparison": self.contest.hash, "arms": list(self.contest.arms), "item": now.item.id,
            "left": now.left, "right": now.right, "choice": choice, "by": self.author, "repeat": now.repeat,
            "unblinded": self.looked, "seconds": round(time.monotonic() - self._since, 2),
            "lengths": [len(now.item.answers[arm]) for arm in (now.left, now.right)], "slice": now.item.slice,
        }  # fmt: skip

    def watch(self) -> Watch:
        """How far it is to a verdict, without saying whose: safe to look at after every vote.

        It moves on every ten votes that have a winner and count: after each, its rise or fall would tell who won the
        last one. Of several pairs of arms it is the one that is told best.
        """
        mine = self.mine()
        telling = [at for at, vote in enumerate(mine, 1) if voting.winner(vote) and voting.counted([vote])]
        upto = mine[: telling[len(telling) // EVERY * EVERY - 1]] if len(telling) >= EVERY else []
        made: Watch = {"votes": len(upto), "every": EVERY, "left": len(self._left()), "evidence": None,
                       "threshold": e_process.THRESHOLD, "needed": None}  # fmt: skip
        if not upto:
            return made
        pairs = results.pairs(upto, self.contest.arms)
        best = max(pairs, key=lambda pair: pair["evidence"] / pair["threshold"])
        needed = e_process.times(best["needed"], len(pairs))  # every pair of arms gets its share of what is shown
        return {**made, "evidence": best["evidence"], "threshold": best["threshold"], "needed": needed}

    def look(self) -> Standing:
        """Who is who, and what the votes say. Votes cast after this do not count: they are not blind.

        Raises:
            BadData: no vote yet.
        """
        made = results.standing(self.mine(), self.said, self.contest.arms)
        if not self.looked:
            self.file.add({**journal.stamp(), "comparison": self.contest.hash, "by": self.author, "looked": True})
        return made

    def told(self) -> dict[str, Any]:
        """``look`` in words, for a page."""
        return report.told(self.look())

    def watched(self) -> str:
        """``watch`` in words."""
        return report.watched(self.watch())
