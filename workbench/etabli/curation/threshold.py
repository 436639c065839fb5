"""Choose a similarity threshold: how many rows each threshold rejects, and the pairs close to it."""

from typing import TypedDict

import numpy as np

from etabli.core.errors import BadInput
from etabli.curation.apply import apply_filters, make_filter_input
from etabli.curation.curation import Curation
from etabli.curation.diff import compare_words
from etabli.curation.filters.duplicates import Near, Semantic
from etabli.curation.pairs import LEXICAL_FLOOR, SEMANTIC_FLOOR

FILTERS = {"near": Near(), "semantic": Semantic()}
FLOORS = {"near": LEXICAL_FLOOR, "semantic": SEMANTIC_FLOOR}
BORDER_PAIRS = 4  # on each side of the threshold
MAX_COUNTED_ROWS = 20_000  # with more rows, counting the rejected ones is too slow for a slider


class BorderPair(TypedDict):
    """Two rows whose similarity is close to the threshold; ``difference``: as ``compare_words`` returns."""

    ids: list[str]
    likeness: float
    above: bool
    outcome: str  # which of the two goes, and which stays
    difference: list[tuple[str, str]]


class ThresholdEffect(TypedDict):
    """What a threshold does."""

    value: float
    rows: int
    gone: int | None  # rejected rows; None when there are too many rows to count
    pairs: int  # at the threshold or above
    border: list[BorderPair]


class Threshold:
    """The pairs of a similarity filter, for the rows that the filters before it leave."""

    def __init__(self, curation: Curation, filter: str):
        if filter not in FILTERS:
            raise BadInput(f"{filter!r} has no pairs to look at; there are {', '.join(FILTERS)}.")
        self.curation, self.filter, self._features = curation, filter, curation.features
        steps = (step for step in curation.recipe.filters if isinstance(step, Near | Semantic))
        self._step = next((step for step in steps if step.filter == filter), FILTERS[filter])
        result = apply_filters(self._features, curation.recipe, curation.standing, stop_before=filter)
        self._input = make_filter_input(self._step, self._features, curation.recipe.seed, result)
        self.value = self._step.threshold
        self.pairs = self._step.pairs(self._features).restrict_to(set(self._input.order))

    @property
    def floor(self) -> float:
        """The lowest threshold that can be chosen."""
        return FLOORS[self.filter]

    def at(self, value: float) -> ThresholdEffect:
        """Return what a threshold does: rejected rows, pairs above it, and the pairs close to it with differences.

        With more than ``MAX_COUNTED_ROWS`` rows the rejected rows are not counted.
        """
        rejected: set[int] | None = None
        if len(self._input.order) <= MAX_COUNTED_ROWS:
            step = self._step.model_copy(update={"threshold": value})
            rejected = set(step.find(self._features, self._input)) - self._input.must_stay
        border = self.pairs.closest_to(value, BORDER_PAIRS)
        return {
            "value": value,
            "rows": len(self._input.order),
            "gone": None if rejected is None else len(rejected),
            "pairs": self.pairs.count_above(value),
            "border": [self._border_pair(*pair, value, rejected) for pair in border],
        }

    def _border_pair(
        self, first: int, second: int, similarity: float, threshold: float, rejected: set[int] | None
    ) -> BorderPair:
        rows, texts = self._features.rows, self._features.texts
        is_above = bool(np.float32(similarity) >= np.float32(threshold))  # in float32, as pairs are counted
        ids = [rows[first]["id"], rows[second]["id"]]
        gone = None if rejected is None else [rows[index]["id"] for index in (first, second) if index in rejected]
        return {
            "ids": ids,
            "likeness": round(similarity, 4),
            "above": is_above,
            "outcome": _describe_outcome(ids, gone, is_above),
            "difference": compare_words(texts[first], texts[second]),
        }

    def choose(self, value: float) -> None:
        """Set the threshold in the recipe."""
        self.value = value
        self.curation.set(self.filter, threshold=value)


def _describe_outcome(ids: list[str], gone: list[str] | None, is_above: bool) -> str:
    """Return which row of a pair is removed. ``gone``: ids of the rows that are; None if they were not counted."""
    first, second = (f"row {row_id}" for row_id in ids)
    if gone is None:
        return f"one is removed: {first} or {second}" if is_above else f"this pair removes neither {first} nor {second}"
    if not gone:
        return f"{first} and {second} both stay" + (": neither may be removed" if is_above else "")
    if len(gone) == 2:
        return f"{first} and {second} are both removed: another row that is like them stays"
    removed, stays = (first, second) if gone == ids[:1] else (second, first)
    return f"{removed} is removed" + ("" if is_above else " for another pair") + f", {stays} stays"
