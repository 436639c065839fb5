"""What a blind arena shows: prompts, each with the answers of all arms; in which order a voter sees them."""

import functools
import hashlib
import itertools
import json
import random
from dataclasses import dataclass
from typing import NamedTuple

REPEATS = 0.15  # of what is shown comes a second time
APART = 6  # showings at least between the two


@dataclass(frozen=True)
class Item:
    """One prompt with the answers of all arms."""

    id: str
    prompt: str
    answers: dict[str, str]
    slice: str = ""


class Showing(NamedTuple):
    """Two answers to a prompt, as they stand before a voter."""

    item: Item
    left: str  # arm
    right: str
    repeat: bool = False

    @property
    def key(self) -> tuple:
        """Which vote this asks for."""
        return self.item.id, frozenset((self.left, self.right)), self.repeat


@dataclass(frozen=True)
class Contest:
    """Arms and items; ``hash`` names exactly these, so that votes count for nothing else."""

    arms: tuple[str, ...]
    items: tuple[Item, ...]

    @functools.cached_property
    def hash(self) -> str:
        """Of the arms and of every prompt and answer, whatever order the items come in."""
        said = sorted((item.id, item.prompt, [item.answers[arm] for arm in sorted(self.arms)]) for item in self.items)
        return hashlib.sha256(json.dumps([sorted(self.arms), said]).encode()).hexdigest()[:16]

    def plan(self, voter: str, repeats: float = REPEATS) -> list[Showing]:
        """Everything that this voter is shown, in order; the same each time, so that a session can be gone on with.

        Items are shuffled and each side is a coin toss of its own, neither to be foreseen from what was shown before:
        that makes each vote a fair coin where the arms are alike. With three arms or more an item comes once for each
        pair, a round of items for each. Two answers that are the same are not shown.
        """
        luck = random.Random(f"{self.hash}/{voter}")
        pairs = list(itertools.combinations(sorted(self.arms), 2))  # as in the hash: in whatever order they are named
        items = luck.sample(sorted(self.items, key=lambda item: item.id), len(self.items))
        rounds = (
            (item, pairs[(at + turn) % len(pairs)]) for turn in range(len(pairs)) for at, item in enumerate(items)
        )
        first = [Showing(item, *luck.sample(pair, 2)) for item, pair in rounds if not alike(item, *pair)]
        return _with_repeats(first, repeats, luck)

    def alike(self) -> int:
        """How many pairs of answers are the same, and not shown."""
        return sum(alike(item, *pair) for item in self.items for pair in itertools.combinations(self.arms, 2))


def alike(item: Item, one: str, other: str) -> bool:
    """Are two answers the same, but for blanks around them?"""
    return item.answers[one].strip() == item.answers[other].strip()


def _with_repeats(first: list[Showing], share: float, luck: random.Random) -> list[Showing]:
    """Some come a second time, sides swapped, a while later; none of the last few, which could not."""
    early = range(max(0, len(first) - APART))
    due: dict[int, list[Showing]] = {}
    for at in sorted(luck.sample(early, min(len(early), round(share * len(first))))):
        again = Showing(first[at].item, first[at].right, first[at].left, True)
        due.setdefault(at + APART + luck.randrange(APART), []).append(again)
    shown = [one for at, showing in enumerate(first) for one in (showing, *due.pop(at, []))]
    return [*shown, *(one for at in sorted(due) for one in due[at])]
