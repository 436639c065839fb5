"""Counts of a column's values for a small chart: of all rows, and of the rows that are shown."""

from collections.abc import Collection, Sequence
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

MAX_BARS = 16
MAX_CATEGORIES = 6
OTHERS = "others"

Kind = Literal["numbers", "lengths", "categories"]
Indices = NDArray[np.intp]


class HistogramCounts(TypedDict):
    """A chart as the table's widget draws it. ``lengths``: of the texts of a column, in characters."""

    kind: Kind
    labels: list[str]  # of categories, the commonest first
    edges: list[float]  # of bars of numbers: one more than there are bars
    counts: list[int]  # all rows
    shown: list[int]  # the rows shown


class NumberHistogram:
    """Bars of equal width up to the 99th percentile; the last bar also has everything beyond it."""

    def __init__(self, values: NDArray[np.float64], kind: Kind = "numbers"):
        self.kind: Kind = kind
        low, high = (float(values.min()), float(np.percentile(values, 99))) if len(values) else (0.0, 0.0)
        bar_count = int(min(MAX_BARS, max(1, high - low + 1)))
        inner_edges = np.linspace(low, max(high, low + 1), bar_count + 1)[:-1]
        self.edges = [*map(float, inner_edges), float(values.max()) if len(values) else 0.0]
        self._bar_of_row = np.clip(np.searchsorted(inner_edges, values, side="right") - 1, 0, bar_count - 1)
        self._counts = self._count(self._bar_of_row)

    def _count(self, bars: Indices) -> list[int]:
        return [int(count) for count in np.bincount(bars, minlength=len(self.edges) - 1)]

    def counts(self, shown_rows: Indices) -> HistogramCounts:
        """Return the bars of all rows and of these."""
        shown = self._count(self._bar_of_row[shown_rows])
        return {"kind": self.kind, "labels": [], "edges": self.edges, "counts": self._counts, "shown": shown}


class CategoryHistogram:
    """Shares of the commonest categories. A row may have several, and counts for each."""

    def __init__(self, categories: Sequence[Collection[str]]):
        members: dict[str, list[int]] = {}
        for index, names in enumerate(categories):
            for name in names:
                members.setdefault(name, []).append(index)
        ranking = sorted(members, key=lambda name: (-len(members[name]), name))
        common = ranking if len(ranking) <= MAX_CATEGORIES else ranking[: MAX_CATEGORIES - 1]
        rare_rows = sorted({index for name in ranking[len(common) :] for index in members[name]})
        groups = {name: members[name] for name in common} | ({OTHERS: rare_rows} if rare_rows else {})
        self.labels = list(groups)
        self._masks = np.zeros((len(groups), len(categories)), bool)
        for mask, rows in zip(self._masks, groups.values()):
            mask[rows] = True

    def counts(self, shown_rows: Indices) -> HistogramCounts:
        """Return how many of all rows, and of these, have each category."""
        counts = [int(mask.sum()) for mask in self._masks]
        shown = [int(mask[shown_rows].sum()) for mask in self._masks]
        return {"kind": "categories", "labels": self.labels, "edges": [], "counts": counts, "shown": shown}


def count_categories(names: Sequence[str], codes: Indices, shown_rows: Indices) -> HistogramCounts:
    """Return how many of all rows, and of those shown, have each name; ``codes``: each row's place in ``names``."""
    counts = np.bincount(codes, minlength=len(names))
    shown = np.bincount(codes[shown_rows], minlength=len(names))
    ranking = [code for code in np.argsort(-counts, kind="stable") if counts[code]]
    return {
        "kind": "categories",
        "labels": [names[code] for code in ranking],
        "edges": [],
        "counts": [int(counts[code]) for code in ranking],
        "shown": [int(shown[code]) for code in ranking],
    }
