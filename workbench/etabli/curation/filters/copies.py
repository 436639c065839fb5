"""Rows that are there already: word for word, nearly, or in other words."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from etabli.contracts import Reason
from etabli.curation.filters.base import Asked, Filter
from etabli.curation.pairs import LEXICAL_FLOOR, SEMANTIC_FLOOR, Copies, Pairs, lexical_copies, semantic_copies
from etabli.curation.texts import whole
from etabli.curation.views import View
from etabli.data.overlap import plain


class Exact(Filter):
    """Rows with the question and answer of another, but for case, blanks and what stands about a sentence.

    ``by: question`` takes rows with the same question for copies, whatever they answer.
    """

    alone: ClassVar[bool] = False
    protects: ClassVar[bool] = False

    filter: Literal["exact"] = "exact"
    by: Literal["row", "question"] = "row"

    def find(self, view: View, asked: Asked) -> dict[int, Reason]:
        """The first in order stays."""
        first: dict[Any, int] = {}
        found = {}
        for row in asked.order:
            key = whole(view.rows[row]) if self.by == "row" else plain(view.asked[row]) or view.asked[row]
            stays = first.setdefault(key, row)
            if stays != row:
                other = view.rows[stays]["id"]
                found[row] = self.reason("exact", f"The same {self.by} as {other}.", 1.0, other)
        return found


class Near(Filter):
    """Rows that share most of their three-word shingles with one that stays (Jaccard, 0 to 1; MinHash finds them)."""

    alone: ClassVar[bool] = False

    filter: Literal["near"] = "near"
    threshold: float = Field(0.8, ge=LEXICAL_FLOOR, le=1)

    def pairs(self, view: View) -> Pairs:
        """Pairs that a threshold could be about, to be looked at."""
        return view.lexical

    def find(self, view: View, asked: Asked) -> dict[int, Reason]:
        """Rows that another stands for."""
        found = lexical_copies(view.signed, self.threshold, asked.order)
        return _reasons(self, "near", "{:.0%} of its three-word shingles are those of {}.", view, found)


class Semantic(Filter):
    """Rows whose embedding is close to that of one that stays (cosine, 0 to 1)."""

    alone: ClassVar[bool] = False

    filter: Literal["semantic"] = "semantic"
    threshold: float = Field(0.92, ge=SEMANTIC_FLOOR, le=1)

    def pairs(self, view: View) -> Pairs:
        """Pairs that a threshold could be about, to be looked at."""
        return view.semantic

    def find(self, view: View, asked: Asked) -> dict[int, Reason]:
        """Rows that another stands for."""
        found = semantic_copies(view.vectors, self.threshold, asked.order)
        return _reasons(self, "semantic", "Means about the same ({:.2f}) as {}.", view, found)


def _reasons(kind: Near | Semantic, name: str, why: str, view: View, copies: Copies) -> dict[int, Reason]:
    found = {}
    for row, (other, likeness) in copies.items():
        like = view.rows[other]["id"]
        found[row] = kind.reason(name, why.format(likeness, like), round(likeness, 4), like)
    return found
