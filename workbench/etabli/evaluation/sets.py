"""What an evaluation asks: test rows, the training rows they are held against, their clusters and their slices."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from etabli.contracts import ALL, UNSEEN, Message, Row
from etabli.data import own
from etabli.data.dataset import Dataset, located
from etabli.errors import BadData
from etabli.training.run import Run

DOCUMENTS = 20  # from so many sources on, a source is a document and its rows a cluster; fewer are whole collections
WIDE = 40  # slices a column may make


@dataclass
class TestSet:
    """Rows to ask, and what is known about each: one entry a row."""

    __test__ = False  # no test class, whatever pytest thinks

    tests: list[Row]
    train: list[Row]
    data_hash: str
    clusters: list[str] = field(default_factory=list)
    clustered_by: str = ""
    slices: list[list[str]] = field(default_factory=list)
    overlaps: list[str | None] = field(default_factory=list)


def question(row: Row) -> list[Message]:
    """A row's messages before its last answer."""
    return row["messages"][: _last_answer(row)]


def truth(row: Row) -> str:
    """A row's last answer."""
    return row["messages"][_last_answer(row)]["content"]


def _last_answer(row: Row) -> int:
    return max((at for at, message in enumerate(row["messages"]) if message["role"] == "assistant"), default=0)


def asked(row: Row) -> str:
    """What the person says in a row: its last user turn."""
    turns = [message["content"] for message in question(row) if message["role"] == "user"]
    return turns[-1] if turns else ""


def gather(
    run: Run,
    data: str | Path | None = None,
    limit: int | None = None,
    by: Sequence[str] = ("lang",),
    only: str | None = None,
    cluster: str | None = None,
) -> TestSet:
    """The rows of a run's evaluation.

    Args:
        run: whose training rows the rivals may use, and overlaps are looked for in.
        data: an evaluation set; its rows marked ``test``, or all if none is marked. By default the run's own data.
        limit: at most this many test rows a language.
        by: columns to slice by: ``lang``, ``length`` (of the truth), ``source``, or any other.
        only: ``COLUMN=VALUE``: no other test rows.
        cluster: the column whose values stand or fall together; by default told by ``_clusters``.

    Raises:
        BadData: no test rows, no training rows, an unknown column, or a slice without rows.
    """
    own_data = Dataset.open(run.recipe.data, run.folder)
    given = Dataset.open(data, run.folder) if data else own_data
    train = _training(run, own_data)
    tests = _limited(_only(_conversations(_tests(given, own_data)), only), limit)
    if not tests or not train:
        raise BadData(
            f"There are {len(tests)} test rows and {len(train)} training rows; a comparison needs both. Mark rows with "
            "split 'test' (Dataset.with_test does), or name a data set that has them."
        )
    clustered_by, clusters = _clusters(tests, cluster)
    found = overlaps(tests, train)
    slices = _sliced(tests, [column for column in by if column != "lang" or any(row.get("lang") for row in tests)])
    if any(found):
        slices = [[*names, *([] if like else [UNSEEN])] for names, like in zip(slices, found)]
    return TestSet(tests, train, given.hash, clusters, clustered_by, slices, found)


def _training(run: Run, data: Dataset) -> list[Row]:
    """What the run trained on: rows that its filters left out are no rival's either."""
    rows = [row for row in data.rows if row.get("split") != "test"]
    file = located(run.recipe.rules, run.folder) if run.recipe.rules else None
    return [row for row in own.keep(rows, own.rules(file))[0] if truth(row)]


def _tests(given: Dataset, own_data: Dataset) -> list[Row]:
    marked = [row for row in given.rows if row.get("split") == "test"]
    return marked or ([] if given.hash == own_data.hash else given.rows)


def _conversations(rows: list[Row]) -> list[Row]:
    if any(row["messages"][0]["role"] == "text" for row in rows):
        raise BadData("Plain text has no questions to ask: name a data set of conversations with --data.")
    for row in rows:
        if not any(message["role"] == "assistant" for message in row["messages"]):
            raise BadData(f"Row {row['id']} has no answer to compare with: give every test row one.")
    return rows


def _only(rows: list[Row], only: str | None) -> list[Row]:
    if only is None:
        return rows
    column, mark, value = only.partition("=")
    if not mark:
        raise BadData(f"{only!r} names no slice: write COLUMN=VALUE.")
    kept = [row for row, held in zip(rows, values_of(rows, column)) if held == value]
    if not kept:
        there = ", ".join(sorted(set(values_of(rows, column)))[:10])
        raise BadData(f"No test row has {column} {value!r}: 0 of {len(rows)}. There is {there}.")
    return kept


def _limited(rows: list[Row], limit: int | None) -> list[Row]:
    taken: Counter[str] = Counter()
    kept = []
    for row in rows:
        taken[str(row.get("lang"))] += 1
        if limit is None or taken[str(row.get("lang"))] <= limit:
            kept.append(row)
    return kept


# --- slices and clusters ----------------------------------------------------------------------------------------------


def values_of(rows: Sequence[Row], column: str) -> list[str]:
    """A column of the rows as text: a field of theirs, a column of their file, or ``length``.

    Raises:
        BadData: no row has such a column.
    """
    if column == "length":
        return _lengths(rows)
    held = [row.get(column, (row.get("columns") or {}).get(column)) for row in rows]
    if all(value is None for value in held):
        known = sorted({name for row in rows for name in (*row, *(row.get("columns") or {}))} - {"messages", "columns"})
        raise BadData(f"No test row has a column {column!r}; there are length, {', '.join(known)}.")
    return [str(value) for value in held]


def _lengths(rows: Sequence[Row]) -> list[str]:
    """Thirds by the words of the truth, named by what is in them; equal lengths are never parted."""
    import pandas as pd

    words = pd.Series([len(truth(row).split()) for row in rows])
    edges = sorted(set(words.quantile([1 / 3, 2 / 3], interpolation="lower")))
    third = words.map(lambda count: sum(count > edge for edge in edges))
    ends = words.groupby(third).agg(["min", "max"])
    names = {at: f"{low} words" if low == high else f"{low} to {high} words" for at, low, high in ends.itertuples()}
    return [names[at] for at in third]


def _sliced(rows: list[Row], by: Sequence[str]) -> list[list[str]]:
    columns = []
    for column in by:
        values = values_of(rows, column)
        if len(set(values)) > WIDE:
            raise BadData(
                f"{column} has {len(set(values))} values in {len(rows)} rows: too many to slice by (at most {WIDE})."
            )
        columns.append(values if column == "lang" else [f"{column}: {value}" for value in values])
    return [list(names) for names in zip(*columns)] if columns else [[] for _ in rows]


def _clusters(rows: list[Row], column: str | None) -> tuple[str, list[str]]:
    """What rows stand or fall together by: template, conversation, document, or nothing but the same question."""
    if column:
        return column, values_of(rows, column)
    for name in ("template", "parents"):
        if any(row.get(name) for row in rows):
            return name, [str(row.get(name) or row["id"]) for row in rows]
    sources = [row.get("source") for row in rows]
    if all(sources) and len(set(sources)) >= DOCUMENTS:
        return "source", list(map(str, sources))
    return "question", [plain(asked(row)) or row["id"] for row in rows]


# --- overlap ----------------------------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Text without case, accents of form, punctuation or blanks: what two copies of one question share."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.sub(r"[\W_]+", " ", folded).split())


def overlaps(tests: Sequence[Row], train: Sequence[Row]) -> list[str | None]:
    """For each test row how a training row is like it: ``row`` (question and answer), ``question``, or None.

    Case, punctuation and blanks aside. A question is all that comes before the last answer but for system turns: rows
    that share no more than a short last turn do not overlap.
    """
    questions = {_said(row) for row in train}
    whole = {(_said(row), plain(truth(row))) for row in train}
    return [_likeness(row, questions, whole) for row in tests]


def _likeness(row: Row, questions: set, whole: set) -> str | None:
    said = _said(row)
    if said not in questions:
        return None
    return "row" if (said, plain(truth(row))) in whole else "question"


def _said(row: Row) -> tuple[str, ...]:
    return tuple(plain(turn["content"]) or turn["content"] for turn in question(row) if turn["role"] != "system")


def named(names: list[list[str]]) -> list[str]:
    """Every slice that has rows, in order, the whole last; a single slice that is the whole is not said twice."""
    found = sorted({name for row in names for name in row})
    whole = len(found) == 1 and all(row == found for row in names)
    return found if whole else [*found, ALL]
