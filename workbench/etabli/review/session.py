"""The blind arena: two answers with hidden systems; each vote is on the disk before the next pair is shown."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from etabli.core import journal
from etabli.core.contracts import CHOICES, Results, Vote, VoteProgress, VoteResults
from etabli.core.errors import BadInput
from etabli.core.wording import count_of
from etabli.models.loading import LoadedModel
from etabli.review import answers, e_process, report, results
from etabli.review import named_votes as named
from etabli.review import votes as voting
from etabli.review.pairs import REPEATS, AnswerPair, Comparison
from etabli.runs.run import Run

if TYPE_CHECKING:
    from etabli_widgets import BlindArena

PROGRESS_STEP = 10  # votes with a winner between two updates of the progress


def arena(
    source: Run | str | Path | Results,
    arms: Sequence[str] = (),
    prompts: Sequence[str] | None = None,
    *,
    votes: str | Path | None = None,
    author: str | None = None,
    repeats: float = REPEATS,
    loaded: LoadedModel | None = None,
    alongside: bool = False,
    trust_code: bool = False,
) -> "BlindArena":
    """Return a ``BlindArena`` to vote blind on saved answers. It loads no model, unless ``prompts`` are new.

    Args:
        source: a run or its folder (the answers of its evaluation), ``results.json``, results, or a file of answers:
            JSON or JSON lines of ``{"prompt": ..., "answers": {arm: text}}``.
        arms: the systems that answered, two or more; by default the prompted base (the base, where nobody prompted
            it) and tuned. The last one is judged.
        prompts: ask the run's systems these prompts now; the answers are kept in the run folder. This loads the model.
        votes: the vote file; by default one for each author, in ``votes/`` in the run folder.
        author: the voter; by default ``ETABLI_AUTHOR`` or the user (``votes.voter_name``).
        repeats: the share of pairs that are shown a second time, with sides swapped.
        loaded: for ``prompts``: a model that is already in memory.
        alongside: for ``prompts``: load the model even while a run uses the device.
        trust_code: for ``prompts`` to ``prompted`` or ``lookup``: agree to the rules that the run's recipe names.

    Raises:
        BadInput: the run was not evaluated, or a system is unknown.
        BadData: the file does not have the format above.
        DeviceBusy: a run uses the device.
    """
    from etabli_widgets import BlindArena

    session = open_session(
        source,
        arms,
        prompts,
        votes=votes,
        author=author,
        repeats=repeats,
        loaded=loaded,
        alongside=alongside,
        trust_code=trust_code,
    )
    return BlindArena(session)


def open_session(
    source: Run | str | Path | Results,
    arms: Sequence[str] = (),
    prompts: Sequence[str] | None = None,
    *,
    votes: str | Path | None = None,
    author: str | None = None,
    repeats: float = REPEATS,
    loaded: LoadedModel | None = None,
    alongside: bool = False,
    trust_code: bool = False,
) -> "Session":
    """Return the ``Session`` of a voter; arguments and errors as for ``arena``."""
    comparison = answers.build_comparison(source, arms, prompts, loaded, alongside, trust_code)
    return Session(comparison, votes or voting.vote_file(source, voting.voter_name(author)), author, repeats)


class Session:
    """One voter's votes on a comparison. They are read from the file, so a new kernel continues where one died."""

    def __init__(self, comparison: Comparison, path: str | Path, author: str | None = None, repeats: float = REPEATS):
        if not 0 <= repeats <= 1:
            raise BadInput(f"repeats is {repeats}; it must be a share between 0 and 1.")
        self.comparison, self.author = comparison, voting.voter_name(author)
        self.file = journal.Journal(path, lambda line: voting.is_vote(line) or voting.is_reveal(line))
        self._plan = comparison.plan(self.author, repeats)
        self._current: AnswerPair | None = None  # the pair that the voter sees
        self._shown_at = time.monotonic()

    def _entries(self) -> list[dict[str, object]]:
        """The author's lines in the file on this comparison."""
        systems = {*self.comparison.arms}
        return [
            entry
            for entry in self.file.all()
            if (entry["comparison"], entry["by"]) == (self.comparison.hash, self.author)
            and (voting.is_reveal(entry) or {*entry["arms"]} == systems)
        ]

    def own_votes(self) -> list[Vote]:
        """This voter's votes on this comparison, oldest first."""
        votes = [entry for entry in self._entries() if voting.is_vote(entry)]
        return voting.keep_first_votes(votes)[0]  # two kernels may have shown the same pair at the same time

    @property
    def is_revealed(self) -> bool:
        """Has this voter looked who is who?"""
        return any(voting.is_reveal(entry) for entry in self._entries())

    @property
    def notes(self) -> list[str]:
        """What a voter must know about the file and the items."""
        notes = []
        path, invalid = self.file.path, self.file.skipped_lines
        votes, named_votes = named.split_named(entry for entry in self.file.all() if voting.is_vote(entry))
        if n_others := sum(vote["comparison"] != self.comparison.hash for vote in votes):
            notes.append(f"On other answers, so not counted here: {count_of(n_others, 'vote')} in {path}.")
        if named_votes:
            cast_votes = count_of(len(named_votes), "vote")
            notes.append(f"Cast in the chat, not blind, so not counted here: {cast_votes} in {path}.")
        if invalid:
            notes.append(f"No complete votes: {count_of(invalid, 'line')} of {path}.")
        if n_copies := self.comparison.n_copies:
            notes.append(f"Not shown again, with prompt and answers of an earlier row: {count_of(n_copies, 'row')}.")
        if n_same := self.comparison.count_same_answers():
            notes.append(f"Not shown, because both answers are the same: {count_of(n_same, 'pair')}.")
        return notes

    @property
    def vote_count(self) -> int:
        """How many pairs of ``total`` this voter has judged."""
        return self.total - len(self._open_pairs())

    @property
    def total(self) -> int:
        """How many pairs the plan has."""
        return len(self._plan)

    def _open_pairs(self) -> list[AnswerPair]:
        keys = {voting.vote_key(vote) for vote in self.own_votes()}
        return [pair for pair in self._plan if pair.key not in keys]

    def current_pair(self) -> AnswerPair | None:
        """Return the pair to judge now; None when all are judged. Keep it from the voter: it names the systems.

        It stays the same until there is a vote on it, here or in another window.
        """
        pairs = self._open_pairs()
        if self._current not in pairs:
            self._current, self._shown_at = (pairs[0] if pairs else None), time.monotonic()
        return self._current

    def vote(self, choice: str) -> Vote:
        """Vote on the pair that was shown; the vote is on the disk when this returns.

        Args:
            choice: left, right, tie or both bad. A vote can't be taken back, since what follows depends on it.

        Raises:
            BadInput: the choice is unknown, nothing was shown, nothing is left, or the pair was judged elsewhere.
            NoSpace: the disk is full.
        """
        if choice not in CHOICES:
            raise BadInput(f"A vote is one of {', '.join(CHOICES)}, not {choice!r}.")
        shown_pair, pair = self._current, self.current_pair()
        if pair is None:
            raise BadInput(f"All {self.total} pairs are voted on.")
        if shown_pair is None:
            raise BadInput("No pair was shown yet: call current_pair() before you vote.")
        if shown_pair != pair:
            raise BadInput("You voted on this pair in another window: this vote was not kept. Judge the next pair.")
        vote = cast(
            Vote,
            {
                **journal.new_entry(),
                "comparison": self.comparison.hash,
                "arms": list(self.comparison.arms),
                "item": pair.item.id,
                "left": pair.left,
                "right": pair.right,
                "choice": choice,
                "by": self.author,
                "repeat": pair.repeat,
                "unblinded": self.is_revealed,
                "seconds": round(time.monotonic() - self._shown_at, 2),
                "lengths": [len(pair.item.answers[pair.left]), len(pair.item.answers[pair.right])],
                "slice": pair.item.slice,
            },
        )
        self.file.add({**vote})
        self._current = None
        return vote

    def progress(self) -> VoteProgress:
        """Return how far a verdict is, without a word on which system is ahead: safe to show after every vote.

        It changes only after every ten votes that have a winner and count: after every vote, its rise or fall would
        tell which system the last vote was for. With several pairs of systems it is that of the clearest pair.
        """
        votes = self.own_votes()
        decisive = [count for count, vote in enumerate(votes, 1) if voting.winner(vote) and voting.valid_votes([vote])]
        n_updates = len(decisive) // PROGRESS_STEP
        known_votes = votes[: decisive[n_updates * PROGRESS_STEP - 1]] if n_updates else []
        progress: VoteProgress = {
            "votes": len(known_votes),
            "every": PROGRESS_STEP,
            "left": len(self._open_pairs()),
            "evidence": None,
            "threshold": e_process.THRESHOLD,
            "needed": None,
        }
        if known_votes:
            pairs = results.compare_pairs(known_votes, self.comparison.arms)
            clearest = max(pairs, key=lambda pair: pair["evidence"] / pair["threshold"])
            progress["evidence"], progress["threshold"] = clearest["evidence"], clearest["threshold"]
            progress["needed"] = e_process.scale_votes(clearest["needed"], len(pairs))  # pairs come in turn
        return progress

    def reveal(self) -> VoteResults:
        """Return who is who and the results. Later votes do not count: they are not blind.

        Raises:
            BadData: there is no vote yet.
        """
        vote_results = results.summarise_votes(self.own_votes(), self.notes, self.comparison.arms)
        if not self.is_revealed:
            line = {"comparison": self.comparison.hash, "by": self.author, "looked": True}
            self.file.add({**journal.new_entry(), **line})
        return vote_results

    def reveal_as_text(self) -> report.ResultsPage:
        """``reveal`` as text for a page: see ``report.describe_results``."""
        return report.describe_results(self.reveal())

    def progress_text(self) -> str:
        """``progress`` as a sentence."""
        return report.describe_progress(self.progress(), sum(not pair.repeat for pair in self._plan))
