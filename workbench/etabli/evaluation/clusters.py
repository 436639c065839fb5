"""Clusters of rows that are not independent: they share a template, a conversation, a question and the like."""

from collections.abc import Iterator, Sequence

from etabli.core.contracts import Row
from etabli.data.columns import column_values
from etabli.data.overlap import question_key
from etabli.data.questions import question

MIN_SOURCES = 10  # with fewer sources, clusters by source would be too few to estimate an error
CONVERSATION = ("conversation", "conversation_id", "dialogue_id", "thread_id")

Key = tuple[str, str]  # kind and value


def cluster_rows(rows: Sequence[Row], column: str | None = None) -> tuple[str, list[str]]:
    """The names of what the rows are clustered by, and each row's cluster.

    Rows are in one cluster if they share a template, a group of near-copies, an ancestor (``parents``, or a row that
    is another's), a conversation, a source where there are at least ten, or the whole question; also through a third
    row. With ``column``, only that column decides; a row without a value is a cluster of its own.
    """
    if column:
        return column, [value or f"row {index}" for index, value in enumerate(column_values(rows, column))]
    with_source = len({row.get("source") for row in rows} - {None}) >= MIN_SOURCES
    kinds: dict[str, None] = {}
    keys = [list(_cluster_keys(row, with_source, kinds)) for row in rows]
    return ", ".join(kinds), _connect(keys)


def _cluster_keys(row: Row, with_source: bool, kinds: dict[str, None]) -> Iterator[Key]:
    """The keys that the row may share with others; their kinds are added to ``kinds``."""
    columns = row.get("columns") or {}
    for kind, name in (("template", row.get("template")), ("near-copies", row.get("copy_group"))):
        if name:
            kinds[kind] = None
            yield kind, name
    for parent in row.get("parents") or []:
        kinds["parents"] = None
        yield "row", str(parent)
    yield "row", str(row["id"])
    for name in CONVERSATION:
        if columns.get(name) is not None:
            kinds[name] = None
            yield name, str(columns[name])
    if with_source and row.get("source"):
        kinds["source"] = None
        yield "source", str(row["source"])
    kinds["question"] = None
    yield "question", question_key(question(row))


def _connect(keys: list[list[Key]]) -> list[str]:
    """Each row's cluster: rows that share a key, directly or through other rows; named by its first row's first key."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    nodes: dict[Key, int] = {}
    edges = [
        (row, len(keys) + nodes.setdefault(key, len(nodes))) for row, row_keys in enumerate(keys) for key in row_keys
    ]
    size = len(keys) + len(nodes)
    graph = coo_matrix(([1] * len(edges), tuple(zip(*edges))), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    names: dict[int, str] = {}
    return [names.setdefault(label, "/".join(row_keys[0])) for label, row_keys in zip(labels, keys)]
