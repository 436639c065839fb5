"""Not more of one kind than of another."""

import random
from typing import ClassVar, Literal

from pydantic import Field

from etabli.core.contracts import Reason
from etabli.curation.features import View
from etabli.curation.filters.base import Asked, Filter
from etabli.data.columns import values_of


class Balance(Filter):
    """At most ``most`` rows of each value of ``by`` (lang, source, template or any column), chosen at random.

    Without ``most``, as many as the smallest value that has ``least`` rows or more.
    """

    alone: ClassVar[bool] = False
    protects: ClassVar[bool] = False

    filter: Literal["balance"] = "balance"
    by: str = "lang"
    most: int | None = Field(None, ge=1)
    least: int = Field(10, ge=1)

    def find(self, view: View, asked: Asked) -> dict[int, Reason]:
        """Rows beyond what their value may have; what a person keeps counts, and does not go."""
        strata: dict[str, list[int]] = {}
        for row, name in zip(
            asked.order, values_of([view.rows[row] for row in asked.order], self.by) if asked.order else []
        ):
            strata.setdefault(str(name), []).append(row)
        large = [len(rows) for rows in strata.values() if len(rows) >= self.least]
        most = self.most or min(large, default=len(asked.order))
        found = {}
        for name, rows in strata.items():
            free = [row for row in rows if row not in asked.placed]
            beyond = min(len(free), max(0, len(rows) - most))
            for row in random.Random(f"{asked.seed}-balance-{name}").sample(free, beyond):
                why = f"{self.by} {name} has {len(rows)} rows; {most} of them were drawn."
                found[row] = self.reason("balance", why, len(rows))
        return found
