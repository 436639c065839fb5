"""Groups of rows that a split must keep together, so that no near-copy of a test row is trained."""

from collections.abc import Sequence

from etabli.core.contracts import Row
from etabli.core.progress import show_progress
from etabli.curation.pairs import compute_signatures, find_lexical_pairs
from etabli.curation.texts import last_question

SIMILAR = 0.5  # Jaccard similarity of runs of three words from which two questions are near-copies


@show_progress("looking for near copies")
def group_near_copies(rows: Sequence[Row], similarity: float = SIMILAR) -> list[str]:
    """Return the name of each row's group: its template, or the id of the first row that its question is a copy of.

    Two rows are in one group if their last questions are near-copies (MinHash, ``curation.pairs``), also through a
    third row. Questions that are equal after case, blanks and punctuation are near-copies too.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs = find_lexical_pairs(compute_signatures([last_question(row) for row in rows]), similarity)
    shape = (len(rows), len(rows))
    graph = coo_matrix(([1] * len(pairs), (pairs.first, pairs.second)), shape=shape)
    _, labels = connected_components(graph, directed=False)
    names: dict[int, str] = {}
    return [row.get("template") or names.setdefault(int(label), row["id"]) for row, label in zip(rows, labels)]


def with_copy_groups(rows: Sequence[Row]) -> list[Row]:
    """Return the rows, those without a template with the name of their group as ``copy_group``."""
    groups = group_near_copies(rows)
    return [row if row.get("template") else {**row, "copy_group": group} for row, group in zip(rows, groups)]
