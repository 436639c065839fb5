"""The votes of a chat: in the voter's own vote file, on answers whose systems are named."""

import functools
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from etabli.core import journal
from etabli.core.contracts import Vote
from etabli.models.loading import adapter_hash
from etabli.review import named_votes
from etabli.review import votes as voting
from etabli.runs.run import Run


class ChatVotes:
    """One voter's votes on a chat with a run, between its sides. The last side is the judged one."""

    def __init__(self, run: Run, sides: Sequence[str], votes: str | Path | None = None, author: str | None = None):
        self._run, self._sides, self._author = run, list(sides), voting.voter_name(author)
        self.file = journal.Journal(
            votes or voting.vote_file(run, self._author), lambda line: voting.is_vote(line) or voting.is_reveal(line)
        )

    @functools.cached_property
    def comparison(self) -> str:
        """What all votes between these sides of this run have in common; never that of a blind comparison."""
        content = json.dumps([sorted(self._sides), adapter_hash(self._run.adapter)])
        return named_votes.PREFIX + hashlib.sha256(content.encode()).hexdigest()[:16]

    def own_votes(self) -> list[Vote]:
        """Return this voter's votes in chats with the run, oldest first."""
        entries = (entry for entry in self.file.all() if voting.is_vote(entry))
        return [entry for entry in entries if named_votes.is_named(entry) and entry["by"] == self._author]

    def tally(self) -> str:
        """Return how this voter's votes fell, as a text."""
        return "; ".join(named_votes.tally_votes(self.own_votes()))

    def add(self, vote: Mapping[str, object], entry_time: float) -> str:
        """Write a vote and return the new tally; the vote is on the disk when this returns.

        Args:
            vote: item (the id of the question), left, right, choice and lengths.
            entry_time: when the answers were complete, in seconds since epoch.
        """
        known = {
            "comparison": self.comparison,
            "arms": self._sides,
            "by": self._author,
            "repeat": False,
            "unblinded": True,  # whose answers they are stands above them
            "seconds": round(max(0.0, time.time() - entry_time), 2),
            "slice": "",
        }
        self.file.add({**journal.new_entry(), **known, **vote})
        return self.tally()
