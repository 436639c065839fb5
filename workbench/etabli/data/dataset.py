"""A Dataset: rows of conversations with lineage, in memory or in a folder.

datasets/NAME/
  rows.parquet      one row a conversation
  rejected.parquet  rows that are not trained, each with why; where there are any
  decisions.jsonl   what people decided about rows; where they did
  manifest.json     content hash, counts, what made it, checksum
"""

import hashlib
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etabli.core import folders, storage
from etabli.core.contracts import DATASET as FACTS
from etabli.core.contracts import DECISIONS, REJECTED, ROWS, VERSION, Message, Row
from etabli.core.errors import BadData
from etabli.data.parquet_rows import HOME_COMMANDS, read_folder, write_rows

KEPT_DATA = "data"  # within a mirrored run: what its recipe names
# What the manifest counts: the last four say what may be done with the rows.
COUNTED = ("split", "lang", "licence", "source", "terms", "generator")


@dataclass
class Dataset:
    """Rows and what made them; ``rejected`` are rows that nothing trains or tests on, kept to be read."""

    rows: list[Row]
    recipe: dict[str, Any] = field(default_factory=dict)
    rejected: list[Row] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def hash(self) -> str:
        """Content hash: changes when a row, its split or the order does."""
        digest = hashlib.sha256()
        for row in self.rows:
            said = [row["id"], row.get("split"), [_trained(m) for m in row["messages"]]]
            called = [row.get("tools"), [m.get("tool_calls") for m in row["messages"]]]
            if any(called[1]) or called[0]:
                said.append(called)
            if row.get("columns"):
                said.append(row["columns"])
            digest.update(json.dumps(said, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace"))
        return digest.hexdigest()

    @property
    def frame(self):
        """One line a conversation: id, lang, split, template, prompt, answer. A pandas frame."""
        import pandas as pd

        return pd.DataFrame([_line(row) for row in self.rows])

    def part(self, split: str, lang: str | None = None) -> list[Row]:
        """The rows of a split, and of a language if one is named."""
        return [row for row in self.rows if row.get("split") == split and lang in (None, row.get("lang"))]

    def with_test(self, share: float = 0.2, most: int = 150, seed: int = 0) -> "Dataset":
        """The same rows with some marked ``test``, whole templates where rows have one. Unchanged if some are."""
        if any(row.get("split") == "test" for row in self.rows):
            return self
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(row.get("template") or row["id"], []).append(row)
        names = sorted(groups)
        random.Random(f"test-{seed}").shuffle(names)
        chosen: set[str] = set()
        for name in names:
            if len(chosen) < min(most, share * len(self.rows)):
                chosen |= {row["id"] for row in groups[name]}
        rows = [{**row, "split": "test" if row["id"] in chosen else "train"} for row in self.rows]
        return Dataset(rows, {**self.recipe, "test": {"share": share, "most": most, "seed": seed}})

    def save(self, folder: str | Path) -> "Dataset":
        """Write the folder, whole or not at all."""
        if not self.rows:
            raise BadData(f"An empty data set is not written to {folder}: there are 0 rows.")
        with storage.whole(folder, self.facts(), FACTS, living=(DECISIONS,)) as place:
            write_rows(self.rows, place / ROWS)
            if self.rejected:
                write_rows(self.rejected, place / REJECTED)
        return self

    def facts(self) -> dict[str, Any]:
        """What ``manifest.json`` holds."""
        counts = {name: dict(Counter(str(row.get(name)) for row in self.rows)) for name in COUNTED}
        return {"version": VERSION, "hash": self.hash, "rows": len(self.rows), "counts": counts, "recipe": self.recipe}

    @classmethod
    @folders.takes_allow_outside
    def open(cls, name: str | Path, near: Path | None = None) -> "Dataset":
        """``home-commands``, a Dataset folder, or a file that ``data.reading.source.read`` can read.

        A relative name that is not found here is looked for beside ``near`` and its parents: a run folder can be
        opened from anywhere, and moved together with its data.

        Raises:
            BadData: nothing there, nothing in it, or not as it was written; OutsideFolder: a mapping file names a
            file that is not beside it (then say ``allow_outside=True``), or a link leads out of a Dataset's folder.
        """
        if str(name) == HOME_COMMANDS:
            from etabli.data.samples import home_commands

            return cls(home_commands(), {"sample": HOME_COMMANDS})
        folder = located(name, near)
        if (folder / ROWS).is_file():
            rows, rejected, facts = read_folder(folder)
            return cls(rows, facts.get("recipe") or {}, rejected)
        if folder.is_dir():
            raise BadData(f"{folder} is no Dataset: it has no {ROWS}.")
        from etabli.data.reading.source import read

        file = {"sha256": storage.sha256(folder)} if folder.is_file() else {}
        return cls(read(folder if file else _entry(name, near)), {"file": folder.name, **file})


def located(name: str | Path, near: Path | None) -> Path:
    """A path as it is, or beside ``near`` or one of its parents, or what a mirror has kept of it within ``near``."""
    places = [Path(), *(near.absolute().parents if near else ())]
    kept = [near.absolute() / kept_at(name)] if near else []
    return next((path for path in [*(place / name for place in places), *kept] if path.exists()), Path(name))


def kept_at(name: str | Path) -> Path:
    """Where a mirrored run keeps what its recipe names so: two files of one name don't meet."""
    return Path(KEPT_DATA) / hashlib.sha256(str(name).encode()).hexdigest()[:8] / Path(name).name


def _trained(message: Message) -> list[Any]:
    """What decides the tokens of a message and which of them are trained."""
    return [
        message["role"],
        message["content"],
        message.get("train"),
        *([message["spans"]] if "spans" in message else []),
    ]


def _entry(name: str | Path, near: Path | None) -> str:
    """``dataset_info.json#entry``, its file looked for as any other; or the name of a Hub data set."""
    file, mark, entry = str(name).partition("#")
    return f"{located(file, near)}{mark}{entry}" if mark else str(name)


def _line(row: Row) -> dict[str, Any]:
    said = {message["role"]: message["content"] for message in row["messages"]}
    about = {name: row.get(name) for name in ("id", "lang", "split", "template")}
    return about | {"prompt": said.get("user"), "answer": said.get("assistant")}


def unique(rows: list[Row]) -> list[Row]:
    """Rows of which no two have one id: the second ``ab`` becomes ``ab~2``."""
    seen: Counter = Counter()
    made = []
    taken = {row["id"] for row in rows}
    for row in rows:
        seen[row["id"]] += 1
        name = row["id"] if seen[row["id"]] == 1 else _free(row["id"], seen[row["id"]], taken)
        made.append(row if name == row["id"] else {**row, "id": name})
    return made


def _free(name: str, number: int, taken: set[str]) -> str:
    while f"{name}~{number}" in taken:
        number += 1
    taken.add(f"{name}~{number}")
    return f"{name}~{number}"
