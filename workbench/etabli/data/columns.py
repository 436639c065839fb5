"""What stands in a column of some rows, as text."""

from collections.abc import Sequence

from etabli.core.contracts import Row
from etabli.core.errors import BadData
from etabli.data.questions import truth


def values_of(rows: Sequence[Row], column: str) -> list[str | None]:
    """A column of the rows as text: a field of theirs, a column of their file, or ``length``; None where it is missing.

    Raises:
        BadData: no row has such a column.
    """
    if column == "length":
        return _lengths(rows)
    held = [row.get(column, (row.get("columns") or {}).get(column)) for row in rows]
    if all(value is None for value in held):
        known = sorted({name for row in rows for name in (*row, *(row.get("columns") or {}))} - {"messages", "columns"})
        raise BadData(f"No row has a column {column!r}; there are length, {', '.join(known)}.")
    return [None if value is None else str(value) for value in held]


def _lengths(rows: Sequence[Row]) -> list[str | None]:
    """Thirds by the words of the truth, named by what is in them; equal lengths are never parted."""
    import pandas as pd

    words = pd.Series([len(truth(row).split()) for row in rows])
    edges = sorted(set(words.quantile([1 / 3, 2 / 3], interpolation="lower")))
    third = words.map(lambda count: sum(count > edge for edge in edges))
    ends = words.groupby(third).agg(["min", "max"])
    names = {at: f"{low} words" if low == high else f"{low} to {high} words" for at, low, high in ends.itertuples()}
    return [names[at] for at in third]
