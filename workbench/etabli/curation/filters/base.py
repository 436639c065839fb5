"""``Filter``: keys of a recipe, and a method that returns for each row the reason why it should not stay."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from etabli.core.contracts import Reason
from etabli.curation.features import RowFeatures


@dataclass(frozen=True)
class FilterInput:
    """The rows that a filter looks at.

    ``order``: row indices, those of ``must_stay`` first; ``must_stay``: rows that a person keeps; ``seed``: for random
    choices.
    """

    order: Sequence[int]
    must_stay: frozenset[int] = frozenset()
    seed: int = 0


class Filter(BaseModel):
    """One step of a curation recipe.

    ``rejects``: its findings reject rows; else they are only shown. ``row_by_row``: it looks at each row by itself, and
    at all rows; else at the rows that the filters before it leave. ``reversible``: a small source gets back rows that
    this filter rejected.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    row_by_row: ClassVar[bool] = True
    reversible: ClassVar[bool] = True

    rejects: bool = Field(default=True)

    def find(self, features: RowFeatures, filter_input: FilterInput) -> dict[int, Reason]:
        """Return the reasons why rows should not stay, by row index."""
        raise NotImplementedError

    def reason(self, name: str, why: str, value: float | None = None, like: str | None = None) -> Reason:
        """Return one reason of this filter."""
        return {"filter": name, "why": why, "value": value, "like": like, "rejects": self.rejects}
