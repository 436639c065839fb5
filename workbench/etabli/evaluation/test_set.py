"""The test set of an evaluation: test rows with their clusters, slices and overlap, and the training rows."""

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from etabli.core.contracts import ALL, UNSEEN, Message, Row
from etabli.core.errors import BadData
from etabli.data import overlap
from etabli.data.columns import column_values
from etabli.data.dataset import Dataset, find_path
from etabli.data.names import split_entry
from etabli.data.questions import ends_in_call, has_answer, has_text_answer
from etabli.evaluation.call_turns import describe_split, has_earlier_call, split_at_calls
from etabli.evaluation.clusters import cluster_rows
from etabli.runs.run import Run
from etabli.runs.run_data import open_rows_of_run
from etabli.training.train_data import rows_to_train

MAX_SLICES = 40  # of one column


@dataclass
class TestSet:
    """Test rows, with one entry a row in ``clusters``, ``slices`` and ``overlaps``.

    A row of the data with tool calls before its last answer is several test rows here (``call_turns``).
    ``train`` are the run's training rows that the baselines may use. ``provenance`` goes into the results' log;
    ``warnings`` are sentences for the reader.
    """

    __test__ = False  # pytest would take the name for a test class

    tests: list[Row]
    train: list[Row]
    data_hash: str
    clusters: list[str] = field(default_factory=list)
    slices: list[list[str]] = field(default_factory=list)
    overlaps: list[str | None] = field(default_factory=list)
    provenance: dict[str, str | int | None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def build_test_set(
    run: Run,
    data: str | Path | None = None,
    limit: int | None = None,
    by: Sequence[str] = ("lang",),
    only: str | None = None,
    cluster: str | None = None,
    columns: Mapping[str, str] | None = None,
    with_training: bool = True,
) -> TestSet:
    """The test rows of a run's evaluation, with the training rows of the run.

    Args:
        run: the run; its training rows are compared with the test rows and used by the baselines.
        data: an evaluation set; its rows marked ``test``, or all if none is marked. By default the run's own data.
        limit: the greatest number of the data's test rows in each language, each with all its tool calls.
        by: columns to slice by: ``lang``, ``length`` (of the truth), ``source``, or any other.
        only: ``COLUMN=VALUE`` keeps only these test rows.
        cluster: the column that clusters the rows; by default see ``cluster_rows``.
        columns: of ``data``, as for ``etabli.read``.
        with_training: also select the training rows, which runs the recipe's rules.

    Raises:
        BadData: no test rows, an unknown column, or a slice without rows; OutsideFolder: the run's recipe names data
        that are not its own.
    """
    own_data = open_rows_of_run(run.recipe.data, run.folder, run.frozen.get("data_hash"))
    test_data = _open_evaluation_set(data, run, columns) if data else own_data
    candidates, warnings = _keep_conversations(_select_tests(test_data, own_data))
    rows = _limit_by_language(_select_slice(candidates, only), limit)
    if not rows:
        raise BadData(_describe_missing_tests(run, len(test_data)))
    warnings += [f"{data or run.recipe.data}: {text}" for text in test_data.warnings]
    if only:
        warnings.append(f"Only rows with {only} were asked.")
    if run.frozen.get("data_hash") not in (None, own_data.hash):
        warnings.append(
            f"The data ({run.recipe.data}) have changed since the run was trained: overlap, lookup and worked examples "
            "use other rows than the run learned from."
        )
    questions = [split_at_calls(row) for row in rows]
    warnings += describe_split(rows, questions)
    tests = [question for of_row in questions for question in of_row]
    train = _select_training(run, own_data) if with_training else []
    clustered_by, clusters = _cluster_questions(rows, questions, cluster)
    return TestSet(
        tests,
        train,
        test_data.hash,
        clusters,
        _slice_rows(tests, [by] if isinstance(by, str) else by),
        overlap.find_overlaps(tests, train),
        {
            "data": str(data or run.recipe.data),
            "limit": limit,
            "only": only,
            "rows_hash": _hash_rows(tests),
            "train_hash": _hash_rows(train),
            "clustered_by": clustered_by,
        },
        warnings,
    )


def build_prompt_set(
    run: Run, prompts: Sequence[str], system: str | None = None, with_training: bool = True
) -> TestSet:
    """Typed prompts as test rows without answers, with the run's training rows.

    Args:
        system: their system message; by default that of the run's first row, ``""`` for none.
        with_training: also select the training rows, which runs the recipe's rules; only the baselines need them.
    """
    data = open_rows_of_run(run.recipe.data, run.folder, run.frozen.get("data_hash"))
    if system is None:
        first = data.rows[0]["messages"][0] if data.rows else None
        system = first["content"] if first and first["role"] == "system" else None
    elif not system:
        system = None
    head: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    rows: list[Row] = [
        {"id": str(index), "messages": [*head, {"role": "user", "content": prompt}]}
        for index, prompt in enumerate(prompts)
    ]
    return TestSet(rows, _select_training(run, data) if with_training else [], data.hash)


def _cluster_questions(rows: list[Row], questions: list[list[Row]], column: str | None) -> tuple[str, list[str]]:
    """What the questions are clustered by, and the cluster of each; those of one row are always in one."""
    if column is None:  # by the questions' parents, and by what each of them asks
        return cluster_rows([question for of_row in questions for question in of_row])
    clustered_by, clusters = cluster_rows(rows, column)
    return clustered_by, [cluster for cluster, of_row in zip(clusters, questions) for _ in of_row]


def _describe_missing_tests(run: Run, count: int) -> str:
    """The refusal of an evaluation without test rows, with the command that sets some aside."""
    text = f"There are 0 test rows among {count} rows"
    if not run.recipe.data:  # an adapter from elsewhere
        return f"{text}: name a data set with --data FILE."
    name = Path(split_entry(run.recipe.data, run.folder)[0]).name.split(".")[0]
    folder = f"datasets/{name}-split"
    command = f"etabli data read {shlex.quote(run.recipe.data)} --test 0.2 --out {shlex.quote(folder)}"
    return (
        f"{text}, and a run is not judged on rows that it trained on. Set test rows aside and train again: {command}, "
        f"then data: {folder} in the recipe. Or ask rows that it has not seen: --data FILE (--column prompt=question "
        "names its columns)."
    )


def _open_evaluation_set(data: str | Path, run: Run, columns: Mapping[str, str] | None = None) -> Dataset:
    """Open an evaluation set. Prompts without answers are accepted, since some scores need no answer."""
    from etabli.data.reading.source import read_questions, read_with_notes

    path = find_path(data, run.folder)
    if path.is_file() and (rows := read_questions(path, columns)) is not None:
        return Dataset(rows, {"file": path.name})
    if not columns:
        return Dataset.open(data, run.folder)
    file, entry = split_entry(str(data), run.folder)
    outcome = read_with_notes(f"{find_path(file, run.folder)}{entry}", columns=columns)
    return Dataset(outcome.rows, {"file": path.name, "columns": dict(columns)}, warnings=outcome.warnings())


def _hash_rows(rows: Sequence[Row]) -> str:
    contents = [[row["id"], [_hashed_parts(turn) for turn in row["messages"]]] for row in rows]
    return hashlib.sha256(json.dumps(contents, ensure_ascii=True).encode()).hexdigest()


def _hashed_parts(turn: Message) -> list[object]:
    return [turn["role"], turn["content"], *([turn["tool_calls"]] if turn.get("tool_calls") else [])]


def _select_training(run: Run, data: Dataset) -> list[Row]:
    """The conversations that the run trained on. The baselines may not use rows that the run held out or left out."""
    rows = rows_to_train(run.recipe, data, run.folder)
    return [row for row in rows if row["messages"][0]["role"] != "text" and _has_judged_answer(row)]


def _has_judged_answer(row: Row) -> bool:
    return has_text_answer(row) or ends_in_call(row)


def _select_tests(test_data: Dataset, own_data: Dataset) -> list[Row]:
    """Rows marked ``test``; without any, all rows, but none of the run's own data."""
    tests = [row for row in test_data.rows if row.get("split") == "test"]
    return tests or ([] if test_data.hash == own_data.hash else test_data.rows)


def _keep_conversations(rows: list[Row]) -> tuple[list[Row], list[str]]:
    """The rows without those that end in an empty answer and have no call, and a warning if there are such rows."""
    if any(row["messages"][0]["role"] == "text" for row in rows):
        raise BadData("Plain text has no questions to ask: name a data set of conversations with --data.")
    conversations = [row for row in rows if _has_judged_answer(row) or not has_answer(row) or has_earlier_call(row)]
    if len(conversations) == len(rows):
        return rows, []
    count = len(rows) - len(conversations)
    if not conversations:
        raise BadData(f"All {count} test rows end in an empty answer: there is nothing to compare with.")
    return conversations, [f"{count} of {len(rows)} test rows end in an empty answer and were left out."]


def _select_slice(rows: list[Row], only: str | None) -> list[Row]:
    """The rows that have ``COLUMN=VALUE``."""
    if only is None:
        return rows
    column, equals, wanted_value = only.partition("=")
    if not equals:
        raise BadData(f"{only!r} is no slice: write COLUMN=VALUE.")
    values = column_values(rows, column)
    matches = [row for row, value in zip(rows, values) if value == wanted_value]
    if not matches:
        choices = ", ".join(sorted(set(filter(None, values)))[:10])
        raise BadData(
            f"No test row has {column} {wanted_value!r}: 0 of {len(rows)}. Values of {column} are: {choices}."
        )
    return matches


def _limit_by_language(rows: list[Row], limit: int | None) -> list[Row]:
    """The first ``limit`` rows of each language, in order."""
    if limit is None:
        return rows
    counts: Counter[str] = Counter()
    selection = []
    for row in rows:
        lang = str(row.get("lang"))
        counts[lang] += 1
        if counts[lang] <= limit:
            selection.append(row)
    return selection


def _slice_rows(rows: list[Row], columns: Sequence[str]) -> list[list[str]]:
    """The names of the slices that each row is in. A row without a value in a column is in no slice of it."""
    slices: list[list[str]] = [[] for _ in rows]
    for column in columns:
        if column == "lang" and not any(row.get("lang") for row in rows):
            continue
        values = column_values(rows, column)
        if len(set(values)) > MAX_SLICES:
            raise BadData(
                f"{column} has {len(set(values))} values in {len(rows)} rows: too many to slice by (at most "
                f"{MAX_SLICES})."
            )
        for names, value in zip(slices, values):
            is_language = column == "lang" and value not in (ALL, UNSEEN)
            if value is not None:
                names.append(value if is_language else f"{column}: {value}")
    return slices
