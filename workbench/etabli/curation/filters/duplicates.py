"""Find duplicate rows: equal, nearly equal, or with the same meaning."""

from typing import ClassVar, Literal

from pydantic import Field

from etabli.core.contracts import Reason
from etabli.core.texts import fold_sentence
from etabli.curation.features import RowFeatures
from etabli.curation.filters.base import Filter, FilterInput
from etabli.curation.pairs import (
    LEXICAL_FLOOR,
    SEMANTIC_FLOOR,
    Duplicates,
    Pairs,
    find_lexical_duplicates,
    find_semantic_duplicates,
)
from etabli.curation.texts import ComparisonKey, comparison_key


class Exact(Filter):
    """Rows with the same question and answer as another row; case, blanks and outer punctuation do not count.

    ``by: question``: rows with the same question, whatever they answer.
    """

    row_by_row: ClassVar[bool] = False
    reversible: ClassVar[bool] = False

    filter: Literal["exact"] = "exact"
    by: Literal["row", "question"] = "row"

    def find(self, features: RowFeatures, filter_input: FilterInput) -> dict[int, Reason]:
        """Return all rows of a group of equal rows but the first in order."""
        first_rows: dict[ComparisonKey | str, int] = {}
        reasons = {}
        for index in filter_input.order:
            question = features.questions[index]
            key = comparison_key(features.rows[index]) if self.by == "row" else fold_sentence(question) or question
            first_row = first_rows.setdefault(key, index)
            if first_row != index:
                other_id = features.rows[first_row]["id"]
                reasons[index] = self.reason("exact", f"The same {self.by} as {other_id}.", 1.0, other_id)
        return reasons


class SimilarityFilter(Filter):
    """Rows whose similarity to a row that stays is ``threshold`` or more; the subclasses define the similarity."""

    row_by_row: ClassVar[bool] = False
    why: ClassVar[str]

    filter: str
    threshold: float

    def pairs(self, features: RowFeatures) -> Pairs:
        """Return the pairs that some threshold would call duplicates, for people to read."""
        raise NotImplementedError

    def find_duplicates(self, features: RowFeatures, filter_input: FilterInput) -> Duplicates:
        """Return the duplicates of rows that stay."""
        raise NotImplementedError

    def find(self, features: RowFeatures, filter_input: FilterInput) -> dict[int, Reason]:
        """Return the duplicates of rows that stay."""
        reasons = {}
        for index, (other, similarity) in self.find_duplicates(features, filter_input).items():
            other_id = features.rows[other]["id"]
            why = self.why.format(similarity, other_id)
            reasons[index] = self.reason(self.filter, why, round(similarity, 4), other_id)
        return reasons


class Near(SimilarityFilter):
    """Rows that share most of their runs of three words with a row that stays (Jaccard, 0 to 1; found by MinHash)."""

    why: ClassVar[str] = "Of the runs of three words in this row and in {1}, {0:.0%} are in both."

    filter: Literal["near"] = "near"
    threshold: float = Field(default=0.8, ge=LEXICAL_FLOOR, le=1)

    def pairs(self, features: RowFeatures) -> Pairs:
        """Return the pairs that share words."""
        return features.lexical_pairs

    def find_duplicates(self, features: RowFeatures, filter_input: FilterInput) -> Duplicates:
        """Return the duplicates by shingles."""
        return find_lexical_duplicates(features.signatures, self.threshold, filter_input.order)


class Semantic(SimilarityFilter):
    """Rows whose embedding is close to that of a row that stays (cosine, 0 to 1)."""

    why: ClassVar[str] = "Means about the same ({:.2f}) as {}."

    filter: Literal["semantic"] = "semantic"
    threshold: float = Field(default=0.92, ge=SEMANTIC_FLOOR, le=1)

    def pairs(self, features: RowFeatures) -> Pairs:
        """Return the pairs with a similar meaning."""
        return features.semantic_pairs

    def find_duplicates(self, features: RowFeatures, filter_input: FilterInput) -> Duplicates:
        """Return the duplicates by embeddings."""
        return find_semantic_duplicates(features.vectors, self.threshold, filter_input.order)
