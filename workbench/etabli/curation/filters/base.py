"""What every filter is: keys of a recipe, and a function of rows to reasons."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from etabli.core.contracts import Reason
from etabli.curation.features import View


@dataclass(frozen=True)
class Asked:
    """What a filter is to look at.

    ``order``: rows by their index, those that a person wants to stay first; ``placed``: which these are; ``seed``: for
    what is left to chance.
    """

    order: Sequence[int]
    placed: frozenset[int] = frozenset()
    seed: int = 0


class Filter(BaseModel):
    """One step of a curation recipe.

    ``rejects``: rows it finds are not trained; else it only shows them. ``alone``: it looks at every row by itself;
    else at rows that the filters before it have left, in an order in which those that a person keeps come first.
    ``protects``: a source that it would nearly wipe out gets rows back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    alone: ClassVar[bool] = True
    protects: ClassVar[bool] = True

    rejects: bool = Field(True)

    def find(self, view: View, asked: Asked) -> dict[int, Reason]:
        """Why rows should not stay, by their index."""
        raise NotImplementedError

    def reason(self, name: str, why: str, value: float | None = None, like: str | None = None) -> Reason:
        """One reason of this filter."""
        return {"filter": name, "why": why, "value": value, "like": like, "rejects": self.rejects}
