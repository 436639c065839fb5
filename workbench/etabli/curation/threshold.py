"""How alike is too alike: what each threshold would put away, and the pairs at its border."""

from typing import Any

from etabli.curation.curation import Curation
from etabli.curation.diff import difference
from etabli.curation.filters.copies import Near, Semantic
from etabli.errors import BadInput

KINDS = {"near": Near, "semantic": Semantic}
STEPS = 100
BORDER = 4  # pairs on each side
LONGEST = 4000


class Threshold:
    """The pairs of a filter and what follows from a threshold."""

    def __init__(self, desk: Curation, filter: str):
        if filter not in KINDS:
            raise BadInput(f"{filter!r} has no pairs to look at; there are {', '.join(KINDS)}.")
        self.desk, self.filter = desk, filter
        step = next((one for one in desk.recipe.filters if one.filter == filter), KINDS[filter]())
        self.value = step.threshold
        self.pairs = step.pairs(desk.view)

    @property
    def floor(self) -> float:
        """The least likeness that was looked for."""
        return next(bound.ge for bound in KINDS[self.filter].model_fields["threshold"].metadata if hasattr(bound, "ge"))

    def at(self, value: float) -> dict[str, Any]:
        """What a threshold does: rows put away, pairs above it, and the pairs at its border with what differs."""
        order = range(len(self.desk.view))
        gone = self.pairs.represented(value, order)
        return {
            "value": value, "rows": len(order), "gone": len(gone), "pairs": self.pairs.above(value),
            "border": [self._pair(*pair, value) for pair in self.pairs.border(value, BORDER)],
        }  # fmt: skip

    def _pair(self, one: int, other: int, likeness: float, value: float) -> dict[str, Any]:
        rows, texts = self.desk.view.rows, self.desk.view.said
        return {
            "ids": [rows[one]["id"], rows[other]["id"]], "likeness": round(likeness, 4), "above": likeness >= value,
            "difference": difference(texts[one][:LONGEST], texts[other][:LONGEST]),
        }  # fmt: skip

    def choose(self, value: float) -> None:
        """Take a threshold into the recipe."""
        self.value = value
        self.desk.set(self.filter, threshold=value)
