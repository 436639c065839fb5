"""Limit the number of rows of each kind."""

import random
from typing import ClassVar, Literal

from pydantic import Field

from etabli.core.contracts import Reason
from etabli.core.wording import choose_form, count_of
from etabli.curation.features import RowFeatures
from etabli.curation.filters.base import Filter, FilterInput
from etabli.data.columns import column_values, describe_value


class Balance(Filter):
    """At most ``most`` rows of each value of ``by`` (lang, source, template or any column), chosen at random.

    Without ``most``: as many rows as the smallest value that has ``least`` rows or more.
    """

    row_by_row: ClassVar[bool] = False
    reversible: ClassVar[bool] = False

    filter: Literal["balance"] = "balance"
    by: str = "lang"
    most: int | None = Field(None, ge=1)
    least: int = Field(10, ge=1)

    def find(self, features: RowFeatures, filter_input: FilterInput) -> dict[int, Reason]:
        """Return a random choice of the surplus rows; rows that a person keeps are counted, but never chosen."""
        order = filter_input.order
        groups: dict[str | None, list[int]] = {}
        for index, value in zip(
            order, column_values([features.rows[index] for index in order], self.by) if order else []
        ):
            groups.setdefault(value, []).append(index)
        large_sizes = [len(rows) for rows in groups.values() if len(rows) >= self.least]
        limit = self.most or min(large_sizes, default=len(order))
        reasons = {}
        for name, rows in groups.items():
            removable = [index for index in rows if index not in filter_input.must_stay]
            surplus = min(len(removable), max(0, len(rows) - limit))
            for index in random.Random(f"{filter_input.seed}-balance-{name}").sample(removable, surplus):
                rows_text = f"{count_of(len(rows), 'row has', 'rows have')} {describe_value(self.by, name)}"
                why = f"{rows_text}; {limit} of them {choose_form(limit, 'was', 'were')} drawn."
                reasons[index] = self.reason("balance", why, len(rows))
        return reasons
