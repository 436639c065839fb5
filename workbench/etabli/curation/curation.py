"""Rows, a recipe and decisions at one desk: look, decide, save."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from etabli.core import folders, trust
from etabli.core.contracts import DECISIONS, VERSION, Decision, Message, Prepared, Row
from etabli.core.errors import BadData, BadInput
from etabli.curation.apply import Sifted, fixed, sift
from etabli.curation.decisions import Decisions
from etabli.curation.embedding import DEFAULT
from etabli.curation.features import Say, View
from etabli.curation.recipe import CurationRecipe
from etabli.data.dataset import Dataset, located, unique


class Curation:
    """What ``curate`` opens. Rows marked ``test`` are not curated: they are what must not be given away."""

    def __init__(
        self,
        recipe: CurationRecipe,
        author: str | None = None,
        workers: int = 1,
        say: Say | None = None,
        near: Path | None = None,
        trust_code: bool = False,
    ):
        self.recipe, self._workers, self._say = recipe.found(near), workers, say
        self.recipe.agree(trust_code)
        self.data = Dataset.open(recipe.data, near)
        rows = unique([*self.data.rows, *filter(_by_filters, self.data.rejected)])
        self._gone = [row for row in self.data.rejected if not _by_filters(row)]
        self._order = {row["id"]: at for at, row in enumerate(rows)}
        self.tests = [row for row in rows if row.get("split") == "test"]
        self.source = [_bare(row) for row in rows if row.get("split") != "test"]
        self._folder = located(recipe.data.partition("#")[0], near)
        self._tests_at = located((recipe.eval_data or recipe.data).partition("#")[0], near)
        self._before = {row["id"]: {**row["decision"], "do": "keep"} for row in rows if _wanted(row)}
        if not self.source:
            raise BadData(f"{recipe.data} has {len(rows)} rows and all are marked test: there is none to curate.")
        self.decisions = Decisions(_place(recipe, self._folder, near), author)
        self._by_id = {row["id"]: row for row in self.source}
        self.against = self._evaluated(near)
        self._view: View | None = None
        self._sifted: Sifted | None = None

    def _evaluated(self, near: Path | None) -> list[Row]:
        """The rows that must not be given away."""
        if not self.recipe.eval_data:
            return self.tests
        rows = Dataset.open(self.recipe.eval_data, near).rows
        return [row for row in rows if row.get("split") == "test"] or rows

    # --- what stays ---------------------------------------------------------------------------------------

    @property
    def view(self) -> View:
        """The rows as they are now; what is costly to know of them is kept until one is rewritten."""
        rows = fixed(self.source, self.standing)
        if self._view is None or self._view.rows != rows:
            self._view = View(rows, self.against, self.recipe.encoder, self._workers, self._say, self._view)
        return self._view

    @property
    def standing(self) -> dict[str, Decision]:
        """The decisions that count, by row id; of a curated Dataset what people kept before, too."""
        return self._before | self.decisions.of(self.source)

    @property
    def sifted(self) -> Sifted:
        """What came of every row, with what is decided now."""
        standing = self.standing
        if self._sifted is None or self._sifted.decisions != standing:
            self._sifted = sift(self.view, self.recipe, standing)
        return self._sifted

    def set(self, filter: str, **keys: Any) -> "Curation":
        """Change a filter's keys: ``desk.set("near", threshold=0.85)``. What was computed is kept."""
        self.recipe, self._sifted = self.recipe.with_filter(filter, **keys), None
        if "rules" in keys:  # named in this very call
            trust.remember([trust.read_code(keys["rules"], "rules")])
        return self

    # --- what people decide ---------------------------------------------------------------------------------------

    def row(self, name: str) -> Row:
        """A row by its id, as the source has it.

        Raises:
            BadInput: there is none.
        """
        if name not in self._by_id:
            raise BadInput(f"There is no row {name!r} to curate among {len(self.source)}.")
        return self._by_id[name]

    def decide(self, do: str, row: str, why: str = "", messages: list[Message] | None = None) -> Decision:
        """Keep, fix, drop a row, or undo what was last decided about it. It is on the disk when this returns."""
        return self.decisions.add(do, self.row(row), why, messages)

    def rewritten(self, name: str, answer: str | None) -> list[Message]:
        """A row's messages as they stand with another last answer; of plain text, with another last stretch.

        Raises:
            BadInput: no text is given, or nothing but blanks.
        """
        if not (answer or "").strip():
            raise BadInput(f"Row {name}: a fix needs a text; to leave the row out, drop it.")
        row = self.row(name)
        messages = [dict(turn) for turn in (self.standing.get(name) or {}).get("messages") or row["messages"]]
        last = last_said(messages)
        kept = {key: value for key, value in messages[last].items() if key not in ("spans", "tool_calls")}
        messages[last] = kept | {"content": answer}
        return messages

    def tested(self, name: str) -> Row | None:
        """The evaluation row of an id."""
        return next((row for row in self.against if row["id"] == name), None)

    # --- out of here ---------------------------------------------------------------------------------------

    def dataset(self) -> Dataset:
        """What stays (and the test rows) and what does not, each row with its reasons and its decision."""
        done = self.sifted
        kept = [done.told(at) for at in done.kept]
        if not kept:
            raise BadData(f"Of {len(done.rows)} rows none is left ({_counted(done)}): loosen a filter.")
        rows = sorted([*kept, *self.tests], key=lambda row: self._order[row["id"]])
        return Dataset(rows, self.made(), [*(done.told(at) for at in sorted(done.rejected)), *self._gone])

    def made(self) -> dict[str, Any]:
        """How the result was made: what is needed to make it again."""
        return {
            "curation": self.recipe.keys(), "curation_hash": self.hash, "source_hash": self.data.hash,
            "decisions": dict(Counter(one["do"] for one in self.standing.values())), "of": self.data.recipe,
        }  # fmt: skip

    def save(self, folder: str | Path) -> Prepared:
        """Write the curated Dataset: ``rows.parquet``, ``rejected.parquet``.

        Raises:
            BadInput: the folder is the source itself: nothing of it is ever replaced.
        """
        if Path(folder).resolve() in {self._folder.resolve(), self._tests_at.resolve()}:
            raise BadInput(f"{folder} is what is curated or tested on: choose another folder. Nothing was changed.")
        made = self.dataset().save(folder)
        return self.prepared(made)

    def prepared(self, made: Dataset | None = None) -> Prepared:
        """What ``etabli data prepare --json`` prints."""
        done, made = self.sifted, made or self.dataset()
        found = Counter(reason["filter"] for held in done.reasons.values() for reason in held)
        return {
            "version": VERSION, "rows": len(done.rows), "kept": len(done.kept), "dropped": done.dropped,
            "found": dict(found), "protected": len(done.protected), "test": len(self.tests), "hash": made.hash,
            "recipe_hash": self.hash, "decisions": len(done.decisions), "not_run": list(self._not_run()),
        }  # fmt: skip

    @property
    def hash(self) -> str:
        """Of the recipe and of the rows that must not be given away: with the source and the decisions it is all."""
        return hashlib.sha256(f"{self.recipe.hash} {Dataset(self.against).hash}".encode()).hexdigest()

    def _not_run(self) -> Iterator[str]:
        """What had nothing to look at, and decisions that are not applied: never a silent pass."""
        if not self.against and any(step.filter == "contamination" for step in self.recipe.filters):
            yield "contamination: no row is marked test and no eval_data is named, so there is nothing to give away."
        if self.recipe.encoder == DEFAULT and any(step.filter == "semantic" for step in self.recipe.filters):
            foreign = sum(lang not in (None, "en") for lang in self.view.languages)
            if foreign:
                yield f"semantic: {DEFAULT} knows English; of {foreign} rows in other languages it knows signs alone."
        stale = len(self.decisions.standing()) - len(self.decisions.of(self.source))
        if stale:
            yield f"decisions: {stale} are about rows that are not here or say something else now."
        if self.decisions.passed_over:
            yield f"decisions: {self.decisions.passed_over} lines of {self.decisions.path} are no decisions."

    def __repr__(self) -> str:
        done = self.sifted
        return f"Curation of {self.recipe.data}: {len(done.kept)} of {len(done.rows)} rows stay ({_counted(done)})"


def last_said(messages: Sequence[Message]) -> int:
    """The place of the turn that a fix rewrites: the last answer; of plain text, the last stretch."""
    roles = [turn["role"] for turn in messages]
    return len(roles) - 1 - roles[::-1].index("assistant") if "assistant" in roles else len(roles) - 1


def _counted(done: Sifted) -> str:
    return ", ".join(f"{name} {count}" for name, count in done.dropped.items()) or "none rejected"


def _bare(row: Row) -> Row:
    """A row without what an earlier curation said of it; what was rewritten stays rewritten."""
    return {name: value for name, value in row.items() if name not in ("reasons", "decision")}


def _by_filters(row: Row) -> bool:
    """Was a row of an earlier curation rejected by filters? What a person dropped does not come back."""
    return (row.get("decision") or {}).get("do") != "drop"


def _wanted(row: Row) -> bool:
    """Did somebody keep or rewrite a row in an earlier curation?"""
    return (row.get("decision") or {}).get("do") in ("keep", "fix")


def _place(recipe: CurationRecipe, found: Path, near: Path | None) -> Path:
    """Where decisions are written: where the recipe says (seen from it), in a Dataset's folder, or beside the file."""
    if recipe.decisions:
        folder = near.parent if near else Path()
        return folder / recipe.decisions if folders.is_outside_allowed() else folders.inside(folder, recipe.decisions)
    return found / DECISIONS if found.is_dir() else found.with_name(f"{found.name}.{DECISIONS}")
