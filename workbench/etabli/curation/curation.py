"""``Curation``: rows, a recipe and the decisions of people; it applies them and saves the result."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from etabli.core import folders, trust
from etabli.core.contracts import DECISIONS, VERSION, CurationSummary, Decision, Message, Row
from etabli.core.errors import BadData, BadInput
from etabli.core.wording import choose_form, count_of
from etabli.curation.apply import FilterResult, apply_filters, apply_fixes
from etabli.curation.decisions import Decisions
from etabli.curation.embedding import DEFAULT
from etabli.curation.features import ProgressCallback, RowFeatures
from etabli.curation.recipe import CurationRecipe
from etabli.data.dataset import Dataset, find_path, with_unique_ids
from etabli.data.names import split_entry
from etabli.data.splits import is_for_training


class Curation:
    """Rows to curate, with their filters and decisions. Rows with the split ``test`` are kept as they are.

    Attributes:
        source_rows: the rows to curate, as they are in the data; test_rows: the rows with the split ``test`` or
            ``validation``.
        evaluation_rows: rows whose questions must not be in the training rows.
        decisions: the file of decisions.
    """

    def __init__(
        self,
        recipe: CurationRecipe,
        author: str | None = None,
        workers: int = 1,
        say: ProgressCallback | None = None,
        recipe_file: Path | None = None,
        trust_code: bool = False,
    ):
        self.recipe, self._workers, self._say = recipe.locate_files(recipe_file), workers, say
        self.recipe.require_trust(trust_code)
        self.data = Dataset.open(recipe.data, recipe_file)
        rows = with_unique_ids([*self.data.rows, *filter(_can_return, self.data.rejected)])
        self._dropped_before = [row for row in self.data.rejected if not _can_return(row)]
        self._order = {row["id"]: position for position, row in enumerate(rows)}
        self.test_rows = [row for row in rows if not is_for_training(row)]
        self.source_rows = [_without_annotations(row) for row in rows if is_for_training(row)]
        if not self.source_rows:
            raise BadData(
                f"{recipe.data} has {count_of(len(rows), 'row')} and all are marked test or validation: "
                "there is none to curate."
            )
        self._source_path = find_path(split_entry(recipe.data, recipe_file)[0], recipe_file)
        self._eval_path = find_path(split_entry(recipe.eval_data or recipe.data, recipe_file)[0], recipe_file)
        self._old_decisions: dict[str, Decision] = {
            row["id"]: {**row["decision"], "do": "keep"} for row in rows if _decision_word(row) in ("keep", "fix")
        }
        self.decisions = Decisions(_decisions_path(recipe, self._source_path, recipe_file), author)
        self._by_id = {row["id"]: row for row in self.source_rows}
        self.evaluation_rows = self.test_rows
        if recipe.eval_data:
            eval_rows = Dataset.open(recipe.eval_data, recipe_file).rows
            self.evaluation_rows = [row for row in eval_rows if row.get("split") == "test"] or eval_rows
        self._features: RowFeatures | None = None
        self._result: FilterResult | None = None

    # --- filters ------------------------------------------------------------------------------------------------------

    @property
    def features(self) -> RowFeatures:
        """The rows with their fixes, and their features; after a fix only the changed rows are computed again."""
        rows = apply_fixes(self.source_rows, self.standing)
        if self._features is None or self._features.rows != rows:
            self._features = RowFeatures(
                rows, self.evaluation_rows, self.recipe.encoder, self._workers, self._say, self._features
            )
        return self._features

    @property
    def standing(self) -> dict[str, Decision]:
        """The decisions that count, by row id, with those of an earlier curation of this data."""
        return self._old_decisions | self.decisions.standing_for(self.source_rows)

    @property
    def result(self) -> FilterResult:
        """What the filters and the decisions do with every row."""
        standing = self.standing
        if self._result is None or self._result.decisions != standing:
            self._result = apply_filters(self.features, self.recipe, standing)
        return self._result

    def set(self, filter: str, **keys: object) -> Self:
        """Change keys of a filter: ``curation.set("near", threshold=0.85)``. Computed features are kept."""
        self.recipe, self._result = self.recipe.with_filter(filter, **keys), None
        if "rules" in keys:  # the user named the file in this call, and so trusts it
            trust.remember([trust.read_code(str(keys["rules"]), "rules")])
        return self

    # --- decisions ----------------------------------------------------------------------------------------------------

    def row(self, row_id: str) -> Row:
        """Return a row of the source.

        Raises:
            BadInput: there is no such row.
        """
        if row_id not in self._by_id:
            raise BadInput(
                f"There is no row {row_id!r} to curate among {len(self.source_rows)}: "
                "etabli data rows RECIPE lists their ids."
            )
        return self._by_id[row_id]

    def decide(self, do: str, row: str, why: str = "", messages: list[Message] | None = None) -> Decision:
        """Keep, fix or drop a row, or undo the last decision about it. It is on the disk when this returns."""
        return self.decisions.add(do, self.row(row), why, messages)

    def decide_all(self, do: str, reasons: Mapping[str, str]) -> list[Decision]:
        """Keep, drop or undo several rows, by id with the reason of each: all decisions are on the disk, or none."""
        return self.decisions.add_all(do, [(self.row(row_id), why) for row_id, why in reasons.items()])

    def rewrite_answer(self, row_id: str, answer: str | None) -> list[Message]:
        """Return a row's current messages with another last answer; for plain text, with another last stretch.

        Raises:
            BadInput: the answer is missing or blank.
        """
        if not answer or not answer.strip():
            raise BadInput(f"Row {row_id}: a fix needs a text; to leave the row out, drop it.")
        row, decision = self.row(row_id), self.standing.get(row_id)
        messages = [turn.copy() for turn in fixed_messages(row, decision)]
        turn = messages[find_last_answer(messages)]
        turn["content"] = answer
        turn.pop("spans", None)
        turn.pop("train_spans", None)
        turn.pop("tool_calls", None)
        return messages

    def evaluation_row(self, row_id: str) -> Row | None:
        """Return the evaluation row with this id, if there is one."""
        return next((row for row in self.evaluation_rows if row["id"] == row_id), None)

    # --- the curated data ---------------------------------------------------------------------------------------------

    def dataset(self) -> Dataset:
        """Return the kept rows with the test rows, and the rejected rows; each with its reasons and its decision.

        Raises:
            BadData: no row is left.
        """
        result = self.result
        kept_rows = [result.annotated_row(index) for index in result.kept_rows]
        if not kept_rows:
            raise BadData(
                f"Of {count_of(len(result.rows), 'row')} none is left ({_format_counts(result)}): loosen a filter."
            )
        rows = sorted([*kept_rows, *self.test_rows], key=lambda row: self._order[row["id"]])
        rejected_rows = [result.annotated_row(index) for index in sorted(result.rejections)]
        return Dataset(rows, self.provenance(), [*rejected_rows, *self._dropped_before])

    def provenance(self) -> dict[str, object]:
        """Return what is needed to make the result again: recipe, hashes, counts of decisions."""
        return {
            "curation": self.recipe.keys(),
            "curation_hash": self.compute_hash(),
            "source_hash": self.data.hash,
            "decisions": dict(Counter(decision["do"] for decision in self.standing.values())),
            "of": self.data.recipe,
        }

    def save(self, folder: str | Path) -> CurationSummary:
        """Write the curated Dataset: ``rows.parquet``, ``rejected.parquet``. Returns its ``summary``.

        Raises:
            BadInput: the folder is the source or the evaluation data, which are never replaced.
        """
        if Path(folder).resolve() in {self._source_path.resolve(), self._eval_path.resolve()}:
            raise BadInput(
                f"{folder} holds the data to curate or to test on: choose another folder. Nothing was changed."
            )
        return self.summary(self.dataset().save(folder))

    def summary(self, dataset: Dataset | None = None) -> CurationSummary:
        """Return what ``etabli data prepare --json`` prints."""
        result, dataset = self.result, dataset or self.dataset()
        return {
            "version": VERSION,
            "rows": len(result.rows),
            "kept": len(result.kept_rows),
            "dropped": result.drop_counts,
            "found": dict(Counter(reason["filter"] for reasons in result.reasons.values() for reason in reasons)),
            "protected": len(result.protections),
            "test": len(self.test_rows),
            "hash": dataset.hash,
            "recipe_hash": self.compute_hash(),
            "decisions": len(result.decisions),
            "not_run": list(self._not_run()),
            "warnings": self.data.warnings,
        }

    def compute_hash(self) -> str:
        """Return the hash of the recipe and the evaluation rows; with source and decisions it determines the result."""
        return hashlib.sha256(f"{self.recipe.compute_hash()} {Dataset(self.evaluation_rows).hash}".encode()).hexdigest()

    def _not_run(self) -> Iterator[str]:
        """Yield the filters that had nothing to look at, and the decisions that are not applied."""
        filters = {step.filter for step in self.recipe.filters}
        if not self.evaluation_rows and "contamination" in filters:
            yield "contamination: no row is marked test and no eval_data is named, so there is nothing to give away."
        if self.recipe.encoder == DEFAULT and "semantic" in filters:
            foreign_count = sum(lang not in (None, "en") for lang in self.features.languages)
            if foreign_count:
                yield (
                    f"semantic: {DEFAULT} knows English; "
                    f"of {count_of(foreign_count, 'row')} in other languages it only compares the words."
                )
        stale_count = len(self.decisions.standing()) - len(self.decisions.standing_for(self.source_rows))
        if stale_count:
            verb = choose_form(stale_count, "is", "are")
            yield f"decisions: {stale_count} {verb} about rows that are not here or say something else now."
        if self.decisions.skipped_lines:
            verb = choose_form(self.decisions.skipped_lines, "is no decision", "are no decisions")
            yield f"decisions: {count_of(self.decisions.skipped_lines, 'line')} of {self.decisions.path} {verb}."

    def __repr__(self) -> str:
        result = self.result
        verb = choose_form(len(result.kept_rows), "stays", "stay")
        rows_text = f"{len(result.kept_rows)} of {count_of(len(result.rows), 'row')} {verb}"
        counts = f"{rows_text} ({_format_counts(result)})"
        return f"Curation of {self.recipe.data}: {counts}"


def find_last_answer(messages: Sequence[Message]) -> int:
    """Return the index of the message that a fix rewrites: the last answer, else the last message."""
    answers = [index for index, turn in enumerate(messages) if turn["role"] == "assistant"]
    return answers[-1] if answers else len(messages) - 1


def fixed_messages(row: Row, decision: Decision | None) -> list[Message]:
    """Return the messages of a fix, if the decision about the row is one; else the row's own."""
    return decision["messages"] if decision and decision["do"] == "fix" else row["messages"]


def _format_counts(result: FilterResult) -> str:
    return ", ".join(f"{name} {count}" for name, count in result.drop_counts.items()) or "none rejected"


def _without_annotations(row: Row) -> Row:
    """Return the row without reasons and decision of an earlier curation; a rewritten row stays rewritten."""
    row = row.copy()
    row.pop("reasons", None)
    row.pop("decision", None)
    return row


def _decision_word(row: Row) -> str | None:
    """Return what an earlier curation decided about a row: keep, fix, drop, or None."""
    decision = row.get("decision")
    return decision["do"] if decision else None


def _can_return(row: Row) -> bool:
    """Can a rejected row of an earlier curation be kept now? Not if a person dropped it."""
    return _decision_word(row) != "drop"


def _decisions_path(recipe: CurationRecipe, source_path: Path, recipe_file: Path | None) -> Path:
    """Return the file of decisions: the one that the recipe names, else one in the Dataset or beside the data file."""
    if recipe.decisions:
        folder = recipe_file.parent if recipe_file else Path()
        return (
            folder / recipe.decisions
            if folders.is_outside_allowed()
            else folders.resolve_inside(folder, recipe.decisions)
        )
    return source_path / DECISIONS if source_path.is_dir() else source_path.with_name(f"{source_path.name}.{DECISIONS}")
