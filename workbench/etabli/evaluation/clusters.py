"""Which rows are one witness: what shares a template, a conversation, a document or a question."""

from collections.abc import Iterator, Sequence

from etabli.core.contracts import Row
from etabli.data.columns import values_of
from etabli.data.overlap import question_key
from etabli.data.questions import question

DOCUMENTS = 10  # from so many sources on rows are clustered by source; of fewer no error could be told
CONVERSATION = ("conversation", "conversation_id", "dialogue_id", "thread_id")


def cluster_rows(rows: Sequence[Row], column: str | None = None) -> tuple[str, list[str]]:
    """What rows stand or fall together by, and each row's cluster.

    Rows belong together if they share a template, an ancestor (``parents``, or a row that is another's), a
    conversation, a source where there are at least ten, or the whole question; also by way of a third row.
    A column, if one is named, decides alone; a row without a value is a cluster of its own.
    """
    if column:
        return column, [value or f"row {at}" for at, value in enumerate(values_of(rows, column))]
    kinds: dict[str, None] = {}
    by_source = _by_source(rows)
    keys = [list(_keys(row, by_source, kinds)) for row in rows]
    return ", ".join(kinds), _components(keys)


def _by_source(rows: Sequence[Row]) -> bool:
    return len({row.get("source") for row in rows} - {None}) >= DOCUMENTS


def _keys(row: Row, by_source: bool, kinds: dict[str, None]) -> Iterator[tuple[str, str]]:
    columns = row.get("columns") or {}
    if row.get("template"):
        kinds["template"] = None
        yield "template", str(row["template"])
    for parent in row.get("parents") or []:
        kinds["parents"] = None
        yield "row", str(parent)
    yield "row", str(row["id"])
    for name in CONVERSATION:
        if columns.get(name) is not None:
            kinds[name] = None
            yield name, str(columns[name])
    if by_source and row.get("source"):
        kinds["source"] = None
        yield "source", str(row["source"])
    kinds["question"] = None
    yield "question", question_key(question(row))


def _components(keys: list[list[tuple[str, str]]]) -> list[str]:
    """Rows that are joined by keys, directly or not; each named by its first key."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    numbers: dict[tuple[str, str], int] = {}
    pairs = [(row, len(keys) + numbers.setdefault(key, len(numbers))) for row, held in enumerate(keys) for key in held]
    size = len(keys) + len(numbers)
    rows, columns = zip(*pairs)
    labels = connected_components(coo_matrix(([1] * len(pairs), (rows, columns)), shape=(size, size)), directed=False)[
        1
    ]
    names: dict[int, str] = {}
    return [names.setdefault(label, "/".join(held[0])) for label, held in zip(labels, keys)]
