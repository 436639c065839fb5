"""What a blind arena shows: prompts with the answers of all systems, and the order in which a voter sees the pairs."""

import functools
import hashlib
import itertools
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from etabli.core.texts import compose

REPEATS = 0.15  # the share of pairs that are shown a second time
MIN_DISTANCE = 6  # pairs between the first and the second time, at least


@dataclass(frozen=True)
class Item:
    """One prompt with the answers of all systems."""

    id: str
    prompt: str
    answers: dict[str, str]
    slice: str = ""
    thoughts: Mapping[str, str] = field(default_factory=dict)  # by system: the thought before its answer
    cut: tuple[str, ...] = ()  # systems whose answer ended at the greatest length, not by its end of turn


class AnswerPair(NamedTuple):
    """Two answers to one prompt, in the places where a voter sees them. ``left`` and ``right`` name systems."""

    item: Item
    left: str
    right: str
    repeat: bool = False

    @property
    def key(self) -> tuple[str, frozenset[str], bool]:
        """What identifies the vote on this pair: see ``votes.vote_key``."""
        return self.item.id, frozenset((self.left, self.right)), self.repeat


@dataclass(frozen=True)
class Comparison:
    """Systems (``arms``) and items. A vote names the ``hash`` of its comparison and counts for no other one.

    ``n_copies`` counts rows that look like an item and are not shown again: a second look would tell nothing new.
    """

    arms: tuple[str, ...]
    items: tuple[Item, ...]
    n_copies: int = 0

    @functools.cached_property
    def hash(self) -> str:
        """16 hexadecimal digits of the systems, prompts and answers; the order of systems and items does not matter."""
        systems = sorted(self.arms)
        contents = sorted((item.id, item.prompt, [item.answers[system] for system in systems]) for item in self.items)
        return hashlib.sha256(json.dumps([systems, contents]).encode()).hexdigest()[:16]

    def plan(self, voter: str, repeats: float = REPEATS) -> list[AnswerPair]:
        """Return all pairs that this voter sees, in order; always the same, so that a session can be continued.

        Items are shuffled, and a coin toss decides each pair's sides. Neither can be predicted from earlier pairs: so
        every vote between equal systems is a fair coin. With three systems or more, an item comes once for each pair
        of systems, in separate rounds. Pairs of equal answers are left out.
        """
        rng = random.Random(f"{self.hash}/{voter}")
        system_pairs = list(itertools.combinations(sorted(self.arms), 2))  # sorted, as in the hash
        items = rng.sample(sorted(self.items, key=lambda item: item.id), len(self.items))
        plan = []
        for turn in range(len(system_pairs)):
            for index, item in enumerate(items):
                systems = system_pairs[(index + turn) % len(system_pairs)]
                if not same_answers(item, *systems):
                    left, right = rng.sample(systems, 2)
                    plan.append(AnswerPair(item, left, right))
        return _insert_repeats(plan, repeats, rng)

    def count_same_answers(self) -> int:
        """How many pairs have two equal answers, and are not shown."""
        return sum(same_answers(item, *pair) for item in self.items for pair in itertools.combinations(self.arms, 2))


def same_answers(item: Item, first: str, second: str) -> bool:
    """Do two systems give the same answer, apart from blanks around it and the way accents are typed?"""
    return compose(item.answers[first].strip()) == compose(item.answers[second].strip())


def _insert_repeats(plan: list[AnswerPair], share: float, rng: random.Random) -> list[AnswerPair]:
    """Add second showings of some pairs, with sides swapped; the last pairs have none, since no room is left."""
    candidates = range(max(0, len(plan) - MIN_DISTANCE))
    repeats: dict[int, list[AnswerPair]] = {}  # index in the plan -> repeats that follow this pair
    for index in sorted(rng.sample(candidates, min(len(candidates), round(share * len(plan))))):
        pair = plan[index]
        place = index + MIN_DISTANCE + rng.randrange(MIN_DISTANCE)
        repeats.setdefault(place, []).append(AnswerPair(pair.item, pair.right, pair.left, True))
    longer_plan = []
    for index, pair in enumerate(plan):
        longer_plan += [pair, *repeats.pop(index, [])]
    return longer_plan + [pair for index in sorted(repeats) for pair in repeats[index]]
