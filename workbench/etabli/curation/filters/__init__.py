"""The filters of a curation recipe, one class for each kind, in the order in which they are best used."""

from typing import Annotated

from pydantic import Field

from etabli.curation.filters.balance import Balance
from etabli.curation.filters.base import Filter
from etabli.curation.filters.contamination import Contamination
from etabli.curation.filters.duplicates import Exact, Near, Semantic
from etabli.curation.filters.rows import Language, Length, Own, Quality

AnyFilter = Annotated[
    Exact | Near | Semantic | Language | Length | Quality | Contamination | Own | Balance, Field(discriminator="filter")
]
KINDS = (Exact, Near, Semantic, Language, Length, Quality, Contamination, Own, Balance)
NAMES = tuple(kind.model_fields["filter"].default for kind in KINDS)
PERSON = "person"  # stands for a filter in the reason of a row that a person dropped
PROTECT = "protect"  # stands for a filter in the reason of a row that protection gave back

__all__ = ["KINDS", "NAMES", "PERSON", "PROTECT", "AnyFilter", "Filter"]
