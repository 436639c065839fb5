"""Columns of a table's rows as arrays, by which a hundred thousand rows are filtered, sorted and charted at once."""

from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from etabli.curation.histograms import CategoryHistogram, HistogramCounts, Indices, NumberHistogram

NOTHING = "nothing"  # the category of a row without a finding
NO_SOURCE = "no source"  # the category of a row without a source
Ranks = NDArray[np.int64] | NDArray[np.float64]


class RowColumns:
    """What the rows of a table are filtered and sorted by; charts and orders are computed when first asked for.

    Args:
        texts: the whole text of each row, casefolded; questions, answers: its last ones.
        findings: the names of the filters that found something in each row; sources: each row's source.
        likeness: how similar each row is to the row it is most similar to; -1 where there is none.
    """

    def __init__(
        self,
        texts: Sequence[str],
        questions: Sequence[str],
        answers: Sequence[str],
        findings: Sequence[Collection[str]],
        sources: Sequence[str],
        likeness: Sequence[float],
    ):
        self.texts, self.findings, self.sources = texts, findings, sources
        self.lengths = _lengths(texts)
        self._texts_by_column = {"question": questions, "answer": answers}
        self._likeness = np.asarray(likeness, float)
        self._ranks: dict[str, Ranks] = {}
        self._charts: dict[str, NumberHistogram | CategoryHistogram] = {}

    def select(self, search: str, finding: str, source: str) -> NDArray[np.bool_]:
        """Return for each row whether it contains the text and has the finding and the source; "" allows any.

        Where no source has exactly this name, every source counts that contains it, in small or capital letters.
        """
        needle = search.casefold()
        selected = np.ones(len(self.texts), bool)
        if needle:
            selected &= _mask(needle in text for text in self.texts)
        if finding:
            selected &= _mask(finding in names for names in self.findings)
        if source:
            selected &= self._has_source(source)
        return selected

    def _has_source(self, source: str) -> NDArray[np.bool_]:
        is_exact = _mask(source == name for name in self.sources)
        needle = source.casefold()
        return is_exact if is_exact.any() else _mask(needle in name.casefold() for name in self.sources)

    def ranks(self, column: str) -> Ranks:
        """Return numbers by which the rows are sorted as the column sorts them."""
        if column not in self._ranks:
            ranks: dict[str, Callable[[], Ranks]] = {
                "row": lambda: np.arange(len(self.texts), dtype=np.int64),
                "length": lambda: self.lengths,
                "likeness": lambda: self._likeness,
                "finding": lambda: _rank([(not names, list(names)) for names in self.findings]),
                "source": lambda: _rank(self.sources),
            }
            make_ranks = ranks.get(column, lambda: _rank([text.casefold() for text in self._texts_by_column[column]]))
            self._ranks[column] = make_ranks()
        return self._ranks[column]

    def charts(self, shown_rows: Indices) -> dict[str, HistogramCounts]:
        """Return the chart of each column, over all rows and over those shown."""
        if not self._charts:
            lengths = {name: _lengths(texts) for name, texts in self._texts_by_column.items()}
            self._charts = {
                "row": NumberHistogram(np.arange(len(self.texts), dtype=float)),
                "finding": CategoryHistogram([names or (NOTHING,) for names in self.findings]),
                "source": CategoryHistogram([(name,) for name in self.sources]),
                "length": NumberHistogram(self.lengths.astype(float)),
                **{name: NumberHistogram(values.astype(float), "lengths") for name, values in lengths.items()},
            }
        return {name: chart.counts(shown_rows) for name, chart in self._charts.items()}


def _mask(values: Iterable[bool]) -> NDArray[np.bool_]:
    return np.fromiter(values, bool)


def _lengths(texts: Sequence[str]) -> NDArray[np.int64]:
    return np.fromiter(map(len, texts), np.int64, len(texts))


def _rank(values: Sequence[str] | Sequence[tuple[bool, list[str]]]) -> NDArray[np.int64]:
    """Return the place of each value among all values in order; equal values have the same place."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    ranks = np.zeros(len(values), np.int64)
    rank = 0
    for previous, index in zip([order[0], *order] if order else [], order):
        rank += values[previous] != values[index]
        ranks[index] = rank
    return ranks
