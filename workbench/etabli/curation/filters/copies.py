"""Rows that are there already: word for word, nearly, or in other words."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from etabli.core.contracts import Reason
from etabli.curation.features import View
from etabli.curation.filters.base import Asked, Filter
from etabli.curation.pairs import LEXICAL_FLOOR, SEMANTIC_FLOOR, Copies, Pairs, lexical_copies, semantic_copies
from etabli.curation.texts import whole
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


class Alike(Filter):
    """Rows that are at least ``threshold`` like one that stays; what likeness is, the kinds say."""

    alone: ClassVar[bool] = False
    why: ClassVar[str]

    def pairs(self, view: View) -> Pairs:
        """Pairs that a threshold could be about, to be looked at."""
        raise NotImplementedError

    def copies(self, view: View, asked: Asked) -> Copies:
        """Rows that another stands for, and how alike they are."""
        raise NotImplementedError

    def find(self, view: View, asked: Asked) -> dict[int, Reason]:
        """Rows that another stands for."""
        found = {}
        for row, (other, likeness) in self.copies(view, asked).items():
            like = view.rows[other]["id"]
            found[row] = self.reason(self.filter, self.why.format(likeness, like), round(likeness, 4), like)
        return found


class Near(Alike):
    """Rows that share most of their three-word shingles with one that stays (Jaccard, 0 to 1; MinHash finds them)."""

    why: ClassVar[str] = "{:.0%} of its three-word shingles are those of {}."

    filter: Literal["near"] = "near"
    threshold: float = Field(0.8, ge=LEXICAL_FLOOR, le=1)

    def pairs(self, view: View) -> Pairs:
        """Those that share words."""
        return view.lexical

    def copies(self, view: View, asked: Asked) -> Copies:
        """By their shingles."""
        return lexical_copies(view.signed, self.threshold, asked.order)


class Semantic(Alike):
    """Rows whose embedding is close to that of one that stays (cosine, 0 to 1)."""

    why: ClassVar[str] = "Means about the same ({:.2f}) as {}."

    filter: Literal["semantic"] = "semantic"
    threshold: float = Field(0.92, ge=SEMANTIC_FLOOR, le=1)

    def pairs(self, view: View) -> Pairs:
        """Those that mean about the same."""
        return view.semantic

    def copies(self, view: View, asked: Asked) -> Copies:
        """By their embeddings."""
        return semantic_copies(view.vectors, self.threshold, asked.order)
