"""How alike is too alike: what each threshold would put away, and the pairs at its border."""

from typing import Any

import numpy as np

from etabli.core.errors import BadInput
from etabli.curation.apply import asked_of, sift
from etabli.curation.curation import Curation
from etabli.curation.diff import difference
from etabli.curation.filters.copies import Alike, Near, Semantic
from etabli.curation.pairs import LEXICAL_FLOOR, SEMANTIC_FLOOR

KINDS = {"near": Near, "semantic": Semantic}
FLOORS = {"near": LEXICAL_FLOOR, "semantic": SEMANTIC_FLOOR}
BORDER = 4  # pairs on each side
EXACTLY = 20_000


class Threshold:
    """The pairs of a filter and what follows from a threshold, for the rows that the filters before it leave."""

    def __init__(self, desk: Curation, filter: str):
        if filter not in KINDS:
            raise BadInput(f"{filter!r} has no pairs to look at; there are {', '.join(KINDS)}.")
        self.desk, self.filter, self._view = desk, filter, desk.view
        self._step = next((one for one in desk.recipe.filters if one.filter == filter), KINDS[filter]())
        done = sift(self._view, desk.recipe, desk.standing, until=filter)
        self._asked = asked_of(self._step, self._view, desk.recipe.seed, done)
        self._left = set(self._asked.order)
        self.value, self.pairs = self._step.threshold, self._step.pairs(self._view).among(self._left)

    @property
    def floor(self) -> float:
        """The least likeness that was looked for."""
        return FLOORS[self.filter]

    def at(self, value: float) -> dict[str, Any]:
        """What a threshold does: rows put away, pairs above it, and the pairs at its border with what differs.

        Of more than ``EXACTLY`` rows those that go are not counted: it takes too long for a slider.
        """
        gone = None
        if len(self._left) <= EXACTLY:
            gone = len(set(self._kind(value).find(self._view, self._asked)) - self._asked.placed)
        border = self.pairs.border(value, BORDER)
        return {
            "value": value, "rows": len(self._left), "gone": gone, "pairs": self.pairs.above(value),
            "border": [self._pair(*pair, value) for pair in border],
        }  # fmt: skip

    def _kind(self, value: float) -> Alike:
        return self._step.model_copy(update={"threshold": value})

    def _pair(self, one: int, other: int, likeness: float, value: float) -> dict[str, Any]:
        rows, texts = self._view.rows, self._view.said
        above = bool(np.float32(likeness) >= np.float32(value))  # as the pairs are counted
        return {
            "ids": [rows[one]["id"], rows[other]["id"]], "likeness": round(likeness, 4), "above": above,
            "difference": difference(texts[one], texts[other]),
        }  # fmt: skip

    def choose(self, value: float) -> None:
        """Take a threshold into the recipe."""
        self.value = value
        self.desk.set(self.filter, threshold=value)
