"""Could a voter know whose an answer is without judging it? Two systems whose lengths give them away are named."""

import itertools
from collections.abc import Sequence

from etabli.core.contracts import Vote

MIN_ITEMS = 5  # pairs of answers below which nothing is said
MIN_SHARE = 0.8  # of the pairs that look so
FACTOR = 3  # times as long


def describe_tells(votes: Sequence[Vote], systems: Sequence[str]) -> list[str]:
    """Return a sentence for each system whose answers show what they are: mostly empty, or mostly far longer.

    Whose answer is whose is told only after the votes; but who has seen such a pair or two knows it at every later one.
    """
    return [
        sentence
        for first, second in itertools.combinations(systems, 2)
        for sentence in _describe_pair(_lengths(votes, first, second), first, second)
    ]


def _lengths(votes: Sequence[Vote], first: str, second: str) -> list[tuple[int, int]]:
    """The lengths of the two systems' answers to each item, in characters."""
    by_item = {}
    for vote in votes:
        if {vote["left"], vote["right"]} == {first, second}:
            left, right = vote["lengths"]
            by_item[vote["item"]] = (left, right) if vote["left"] == first else (right, left)
    return list(by_item.values())


def _describe_pair(lengths: list[tuple[int, int]], first: str, second: str) -> list[str]:
    if len(lengths) < MIN_ITEMS:
        return []
    sentences = []
    for system, pairs in ((first, lengths), (second, [(other, own) for own, other in lengths])):
        empty = sum(own == 0 < other for own, other in pairs)
        longer = sum(own >= FACTOR * other > 0 for own, other in pairs)
        looks = [(empty, "is empty"), (longer, f"is at least {FACTOR} times as long")]
        sentences += [
            f"{system}'s answer {look} in {count} of {len(pairs)} pairs: the two can be told apart without being "
            "judged, so these votes are hardly blind."
            for count, look in looks
            if count >= MIN_SHARE * len(pairs)
        ]
    return sentences
