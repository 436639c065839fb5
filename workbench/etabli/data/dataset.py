"""A Dataset: rows of conversations with lineage, in memory or in a folder.

datasets/NAME/
  rows.parquet      one row a conversation
  rejected.parquet  rows that are not trained, each with the reason; only if there are any
  decisions.jsonl   what people decided about rows; only if they did
  manifest.json     content hash, counts, what made it, checksum
"""

import hashlib
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etabli.core import folders, storage
from etabli.core.contracts import DATASET as FACTS
from etabli.core.contracts import DECISIONS, REJECTED_ROWS, ROWS, VERSION, Message, Row
from etabli.core.errors import BadData
from etabli.core.wording import count_of
from etabli.data.content import list_source_files
from etabli.data.names import find_path as find_path
from etabli.data.names import split_entry
from etabli.data.parquet_rows import HOME_COMMANDS, read_folder, write_rows
from etabli.data.splits import TEST, TRAIN, is_for_training, split_group

if TYPE_CHECKING:
    import pandas as pd

# The manifest counts the values of these; the last four say what the rows may be used for.
COUNTED_FIELDS = ("split", "lang", "licence", "source", "terms", "generator")


@dataclass
class Dataset:
    """Rows and the recipe that made them; ``rejected`` are rows that are neither trained nor tested, only kept."""

    rows: list[Row]
    recipe: dict[str, Any] = field(default_factory=dict)
    rejected: list[Row] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)  # of the reading of a source; they are not saved

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def hash(self) -> str:
        """The content hash; it changes with any row, its split or the order."""
        digest = hashlib.sha256()
        for row in self.rows:
            facts: list[object] = [row["id"], row.get("split"), [_training_fields(m) for m in row["messages"]]]
            calls = [message.get("tool_calls") for message in row["messages"]]
            if any(calls) or row.get("tools"):
                facts.append([row.get("tools"), calls])
            if row.get("columns"):
                facts.append(row["columns"])
            digest.update(json.dumps(facts, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace"))
        return digest.hexdigest()

    @property
    def frame(self) -> "pd.DataFrame":
        """A pandas frame with one row a conversation: id, lang, split, template, prompt, answer."""
        import pandas as pd

        return pd.DataFrame([_frame_row(row) for row in self.rows])

    def part(self, split: str, lang: str | None = None) -> list[Row]:
        """Return the rows of a split, and of one language if it is given."""
        return [row for row in self.rows if row.get("split") == split and lang in (None, row.get("lang"))]

    def with_test(self, share: float = 0.2, most: int = 150, seed: int = 0) -> "Dataset":
        """Return the rows with some of them in the split ``test``, or ``self`` if there is a test split.

        Rows of one template or one ``copy_group`` stay together; a group of more than half of the rows is trained.
        Rows marked ``validation`` stay so. ``curation.groups`` finds near-copies.

        Args:
            share: share of the rows to test on.
            most: the greatest number of test rows.
            seed: decides which rows.

        Raises:
            BadData: every group holds more than half of the rows.
        """
        if any(row.get("split") == "test" for row in self.rows):
            return self
        rows_of: dict[str, list[Row]] = {}
        for row in filter(is_for_training, self.rows):
            rows_of.setdefault(split_group(row), []).append(row)
        names = [name for name in sorted(rows_of) if 2 * len(rows_of[name]) <= len(self.rows)]
        if not names:
            raise BadData(
                f"{count_of(len(self.rows), 'row')} can't be split into training and test rows: all are copies of "
                "each other or of one template. Mark test rows in a column split."
            )
        random.Random(f"test-{seed}").shuffle(names)
        test_ids: set[str] = set()
        for name in names:
            if len(test_ids) < min(most, share * len(self.rows)):
                test_ids |= {row["id"] for row in rows_of[name]}
        rows: list[Row] = [
            {**row, "split": TEST if row["id"] in test_ids else TRAIN} if is_for_training(row) else row
            for row in self.rows
        ]
        return Dataset(rows, {**self.recipe, "test": {"share": share, "most": most, "seed": seed}})

    def save(self, folder: str | Path) -> "Dataset":
        """Write the folder, completely or not at all, and return ``self``."""
        if not self.rows:
            raise BadData(f"An empty data set is not written to {folder}: there are 0 rows.")
        with storage.write_folder(folder, self.facts(), FACTS, living=(DECISIONS,)) as place:
            write_rows(self.rows, place / ROWS)
            if self.rejected:
                write_rows(self.rejected, place / REJECTED_ROWS)
        return self

    def facts(self) -> dict[str, object]:
        """Return the content of ``manifest.json``."""
        counts = {name: dict(Counter(str(row.get(name)) for row in self.rows)) for name in COUNTED_FIELDS}
        return {"version": VERSION, "hash": self.hash, "rows": len(self.rows), "counts": counts, "recipe": self.recipe}

    @classmethod
    @folders.add_allow_outside
    def open(cls, name: str | Path, near: Path | None = None) -> "Dataset":
        """Open ``home-commands``, a Dataset folder, or a source that ``data.reading.source.read`` can read.

        Args:
            name: the name or path. A relative path that does not exist here is searched beside ``near`` and its
                parents: so a run folder can be opened from anywhere, and moved together with its data.
            near: a run's folder.

        Raises:
            BadData: there is no such data, it is empty, or it was altered.
            OutsideFolder: a mapping file names a file that is not beside it (allowed by ``allow_outside=True``), or a
                link leads out of a Dataset's folder.
        """
        if str(name) == HOME_COMMANDS:
            from etabli.data.samples import home_commands

            return cls(home_commands(), {"sample": HOME_COMMANDS})
        path, entry = split_entry(str(name), near)
        folder = find_path(path, near)
        if (folder / ROWS).is_file():
            rows, rejected, facts = read_folder(folder)
            return cls(rows, facts.get("recipe") or {}, rejected)
        from etabli.data.reading.source import read_with_notes

        outcome = read_with_notes(f"{folder}{entry}" if entry else folder)
        recipe = {"file": folder.name + entry, **_hashes(folder)}
        return cls(outcome.rows, recipe, warnings=outcome.warnings())


def _hashes(path: Path) -> dict[str, Any]:
    """Return the sha256 of a file, or of each file of a glob or a folder, for the provenance of rows."""
    if path.is_file():
        return {"sha256": storage.sha256(path)}
    files = list_source_files(path)
    return {"files": {name: storage.sha256(file) for name, file in files.items()}} if files else {}


def _training_fields(message: Message) -> list[object]:
    """Return the fields that decide a message's tokens and which of them are trained."""
    spans = [message["spans"]] if "spans" in message else []
    # Fields that came later: a message without them keeps the hash that it always had.
    later_fields = {name: message.get(name) for name in ("reasoning", "train_spans") if name in message}
    return [message["role"], message["content"], message.get("train"), *spans, *filter(None, [later_fields])]


def _frame_row(row: Row) -> dict[str, object]:
    contents = {message["role"]: message["content"] for message in row["messages"]}
    fields = {name: row.get(name) for name in ("id", "lang", "split", "template")}
    return fields | {"prompt": contents.get("user"), "answer": contents.get("assistant")}


def with_unique_ids(rows: list[Row]) -> list[Row]:
    """Return the rows with unique ids: the second ``ab`` becomes ``ab~2``."""
    counts: Counter[str] = Counter()
    unique_rows = []
    ids = {row["id"] for row in rows}
    for row in rows:
        counts[row["id"]] += 1
        name = row["id"] if counts[row["id"]] == 1 else _free_id(row["id"], counts[row["id"]], ids)
        unique_rows.append(row if name == row["id"] else {**row, "id": name})
    return unique_rows


def _free_id(name: str, number: int, ids: set[str]) -> str:
    while f"{name}~{number}" in ids:
        number += 1
    ids.add(f"{name}~{number}")
    return f"{name}~{number}"
