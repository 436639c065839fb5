"""What an evaluation asks: test rows, the training rows they are held against, and what is known of each."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etabli.core.contracts import ALL, UNSEEN, Message, Row
from etabli.core.errors import BadData
from etabli.data import overlap
from etabli.data.columns import values_of
from etabli.data.dataset import Dataset, located
from etabli.data.questions import answered, asked, has_answer, question, truth
from etabli.evaluation import clusters as grouping
from etabli.runs.run import Run
from etabli.runs.run_data import open_rows_of_run
from etabli.training.train_data import rows_to_train

__all__ = ["TestSet", "answered", "asked", "build_test_set", "question", "truth"]

WIDE = 40  # slices a column may make


@dataclass
class TestSet:
    """Rows to ask, and what is known of each, one entry a row; ``about`` is for the log, ``said`` for the reader."""

    __test__ = False  # no test class, whatever pytest thinks

    tests: list[Row]
    train: list[Row]
    data_hash: str
    clusters: list[str] = field(default_factory=list)
    slices: list[list[str]] = field(default_factory=list)
    overlaps: list[str | None] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)


def build_test_set(
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
        cluster: the column whose values stand or fall together; by default told by ``grouping.clusters``.

    Raises:
        BadData: no test rows, an unknown column, or a slice without rows; OutsideFolder: the run's recipe names data
        that are not its own.
    """
    own_data = open_rows_of_run(run.recipe.data, run.folder, run.frozen.get("data_hash"))
    given = _opened(data, run) if data else own_data
    candidates, said = _conversations(_tests(given, own_data))
    tests = _limited(_only(candidates, only), limit)
    if not tests:
        raise BadData(
            f"There are 0 test rows among {len(given)}: nothing can be asked. Mark rows with split 'test' "
            "(Dataset.with_test does), or name a data set with --data."
        )
    train = _training(run, own_data)
    clustered_by, clusters = grouping.cluster_rows(tests, cluster)
    about = {"data": str(data or run.recipe.data), "limit": limit, "only": only, "rows_hash": _hash(tests),
             "train_hash": _hash(train), "clustered_by": clustered_by}  # fmt: skip
    said += [f"Only rows with {only} were asked."] * bool(only) + _changed(run, own_data)
    slices = _sliced(tests, [by] if isinstance(by, str) else by)
    return TestSet(tests, train, given.hash, clusters, slices, overlap.overlaps(tests, train), about, said)


def build_prompt_set(run: Run, prompts: Sequence[str], system: str | None = None, with_training: bool = True) -> TestSet:
    """Typed prompts as test rows without answers, with the run's training rows.

    Args:
        system: their system message; by default the one that the run's rows begin with, ``""`` for none.
        with_training: also gather the training rows, which runs the recipe's rules; only rivals need them.
    """
    data = open_rows_of_run(run.recipe.data, run.folder, run.frozen.get("data_hash"))
    opening = _system(data.rows) if system is None else [{"role": "system", "content": system}] * bool(system)
    rows: list[Row] = [
        {"id": str(at), "messages": [*opening, {"role": "user", "content": prompt}]}
        for at, prompt in enumerate(prompts)
    ]
    return TestSet(rows, _training(run, data) if with_training else [], data.hash)


def _system(rows: Sequence[Row]) -> list[Message]:
    first = rows[0]["messages"][0]
    return [{"role": "system", "content": first["content"]}] if first["role"] == "system" else []


def _opened(data: str | Path, run: Run) -> Dataset:
    """An evaluation set. Prompts without answers are welcome here: some scores need none."""
    from etabli.data.reading.source import questions

    place = located(data, run.folder)
    rows = questions(place) if place.is_file() else None
    return Dataset(rows, {"file": place.name}) if rows is not None else Dataset.open(data, run.folder)


def _hash(rows: Sequence[Row]) -> str:
    said = [[row["id"], [[turn["role"], turn["content"]] for turn in row["messages"]]] for row in rows]
    return hashlib.sha256(json.dumps(said, ensure_ascii=True).encode()).hexdigest()


def _changed(run: Run, data: Dataset) -> list[str]:
    promised = run.frozen.get("data_hash")
    if promised in (None, data.hash):
        return []
    return [
        f"The data ({run.recipe.data}) have changed since the run was trained: overlap, lookup and worked examples are "
        "those of other rows than it learned from."
    ]


def _training(run: Run, data: Dataset) -> list[Row]:
    """The conversations that the run trained on: what it held out or left out is no rival's either."""
    rows = rows_to_train(run.recipe, data, run.folder)
    return [row for row in rows if row["messages"][0]["role"] != "text" and answered(row)]


def _tests(given: Dataset, own_data: Dataset) -> list[Row]:
    marked = [row for row in given.rows if row.get("split") == "test"]
    return marked or ([] if given.hash == own_data.hash else given.rows)


def _conversations(rows: list[Row]) -> tuple[list[Row], list[str]]:
    """Rows that have a question; what ends in a tool call has no text to compare with."""
    if any(row["messages"][0]["role"] == "text" for row in rows):
        raise BadData("Plain text has no questions to ask: name a data set of conversations with --data.")
    kept = [row for row in rows if not (has_answer(row) and not answered(row))]
    left = len(rows) - len(kept)
    if left and not kept:
        raise BadData(
            f"All {left} test rows end in a tool call or in an empty answer: there is no text to compare with."
        )
    said = [f"{left} of {len(rows)} test rows end in a tool call or in an empty answer and were left out."] * bool(left)
    return kept, said


def _only(rows: list[Row], only: str | None) -> list[Row]:
    if only is None:
        return rows
    column, mark, value = only.partition("=")
    if not mark:
        raise BadData(f"{only!r} names no slice: write COLUMN=VALUE.")
    held = values_of(rows, column)
    kept = [row for row, here in zip(rows, held) if here == value]
    if not kept:
        there = ", ".join(sorted(set(filter(None, held)))[:10])
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


def _sliced(rows: list[Row], by: Sequence[str]) -> list[list[str]]:
    """The slices of each row. A row without a value is in none."""
    made: list[list[str]] = [[] for _ in rows]
    for column in by:
        if column == "lang" and not any(row.get("lang") for row in rows):
            continue
        values = values_of(rows, column)
        if len(set(values)) > WIDE:
            raise BadData(
                f"{column} has {len(set(values))} values in {len(rows)} rows: too many to slice by (at most {WIDE})."
            )
        for names, value in zip(made, values):
            short = column == "lang" and value not in (ALL, UNSEEN)
            names += [] if value is None else [value if short else f"{column}: {value}"]
    return made
