"""Votes of the chat, where every answer stands under the name of its system: counted alone, never as evidence.

They are lines of the same files as blind votes; ``unblinded`` is true, and their ``comparison`` begins with ``chat-``.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from etabli.core.contracts import Vote

PREFIX = "chat-"


def is_named(vote: Mapping[str, object]) -> bool:
    """Return whether a vote was cast in the chat."""
    return str(vote.get("comparison", "")).startswith(PREFIX)


def split_named(votes: Iterable[Vote]) -> tuple[list[Vote], list[Vote]]:
    """Return the votes of the arena, and those of the chat."""
    all_votes = list(votes)
    return [vote for vote in all_votes if not is_named(vote)], [vote for vote in all_votes if is_named(vote)]


def describe_named(votes: Sequence[Vote]) -> list[str]:
    """Return a sentence on the votes of the chat and how they fell; none if there are none."""
    if not votes:
        return []
    tally = "; ".join(tally_votes(votes))
    cast = "1 vote was" if len(votes) == 1 else f"{len(votes)} votes were"
    return [f"{cast} cast in the chat, where the systems are named: not blind, so not counted here ({tally})."]


def tally_votes(votes: Iterable[Mapping[str, object]]) -> list[str]:
    """Return a text for every two systems: ``tuned against base: 3 better, 1 worse, 2 tied, 1 both bad``.

    Args:
        votes: with ``left``, ``right`` (the judged system) and ``choice``.
    """
    words = {"right": "better", "left": "worse", "tie": "tied", "both bad": "both bad"}
    counts = Counter((str(vote["right"]), str(vote["left"]), words[str(vote["choice"])]) for vote in votes)
    texts = []
    for (judged, rival), of_pair in itertools.groupby(sorted(counts), key=lambda key: key[:2]):
        numbers = {word: counts[judged, rival, word] for _, _, word in of_pair}
        texts.append(
            f"{judged} against {rival}: {', '.join(f'{numbers.get(word, 0)} {word}' for word in words.values())}"
        )
    return texts
