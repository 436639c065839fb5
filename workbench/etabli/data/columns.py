"""The values of a column of some rows, as text."""

from collections.abc import Sequence

from etabli.core.contracts import Row
from etabli.core.errors import BadData
from etabli.core.wording import count_of
from etabli.data.questions import truth


def column_values(rows: Sequence[Row], column: str) -> list[str | None]:
    """Return a column of the rows as text; None where a row has no value.

    Args:
        rows: the rows.
        column: a field of the rows, a column of their file, or ``length``.

    Raises:
        BadData: no row has such a column.
    """
    if column == "length":
        return _lengths(rows)
    values = [row.get(column, (row.get("columns") or {}).get(column)) for row in rows]
    if all(value is None for value in values):
        names = sorted({name for row in rows for name in (*row, *(row.get("columns") or {}))} - {"messages", "columns"})
        raise BadData(f"No row has a column {column!r}; there are length, {', '.join(names)}.")
    return [None if value is None else str(value) for value in values]


def describe_value(column: str, value: str | None) -> str:
    """Return a column with a value of ``column_values``, for a sentence: ``source wiki``, or ``no source``."""
    return f"no {column}" if value is None else f"{column} {value}"


def _lengths(rows: Sequence[Row]) -> list[str | None]:
    """Return for each row its third by words of the reference answer; equal lengths are in the same third."""
    import pandas as pd

    words = pd.Series([len(truth(row).split()) for row in rows])
    edges = sorted(set(words.quantile([1 / 3, 2 / 3], interpolation="lower")))
    third = words.map(lambda count: sum(count > edge for edge in edges))
    ends = words.groupby(third).agg(["min", "max"])
    names = {
        number: count_of(low, "word") if low == high else f"{low} to {high} words"
        for number, low, high in ends.itertuples()
    }
    return [names[number] for number in third]
