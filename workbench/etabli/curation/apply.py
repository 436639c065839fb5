"""Apply filters and decisions to rows: which rows stay, and the reasons for each row. Pure functions."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from etabli.core.contracts import Decision, Reason, Row
from etabli.core.wording import count_of
from etabli.curation.features import RowFeatures
from etabli.curation.filters import PERSON, PROTECT, Filter
from etabli.curation.filters.base import FilterInput
from etabli.curation.recipe import CurationRecipe, Protect
from etabli.data.columns import column_values, describe_value

KEEP_DECISIONS = ("keep", "fix")  # rows that a person wants to keep: their duplicates are rejected instead of them


@dataclass
class FilterResult:
    """What the filters and decisions did; all keys are row indices, but those of ``decisions`` (row ids).

    ``reasons`` has the findings of every filter; ``rejections`` the reason that decided; ``protections`` the reason
    from which a row was protected because its source is small.
    """

    rows: list[Row]
    reasons: dict[int, list[Reason]] = field(default_factory=dict)
    rejections: dict[int, Reason] = field(default_factory=dict)
    protections: dict[int, Reason] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)

    @property
    def kept_rows(self) -> list[int]:
        """Indices of the rows that stay."""
        return [index for index in range(len(self.rows)) if index not in self.rejections]

    @property
    def drop_counts(self) -> dict[str, int]:
        """How many rows each filter rejected; a row counts for the first filter that rejected it."""
        return dict(Counter(reason["filter"] for reason in self.rejections.values()))

    def annotated_row(self, index: int) -> Row:
        """Return a copy of the row with its reasons and its decision."""
        row = self.rows[index].copy()
        if index in self.reasons:
            row["reasons"] = self.reasons[index]
        if row["id"] in self.decisions:
            row["decision"] = self.decisions[row["id"]]
        return row


def apply_fixes(rows: Sequence[Row], decisions: Mapping[str, Decision]) -> list[Row]:
    """Return the rows with the messages that people rewrote."""
    fixes = {row_id: decision["messages"] for row_id, decision in decisions.items() if decision["do"] == "fix"}
    return [{**row, "messages": fixes[row["id"]]} if row["id"] in fixes else row for row in rows]


def apply_filters(
    features: RowFeatures, recipe: CurationRecipe, decisions: Mapping[str, Decision], stop_before: str = ""
) -> FilterResult:
    """Apply the recipe's filters in their order, and the decisions of people.

    Decisions win over filters: a dropped row is out before the first filter runs. A kept or fixed row is rejected by
    no filter, and its duplicates are rejected instead of it.

    Args:
        features: the rows, with fixes applied; decisions: the standing ones, by row id.
        stop_before: the name of a filter; it and the filters after it are not applied.
    """
    result = FilterResult(features.rows, decisions=dict(decisions))
    for index, row in enumerate(features.rows):
        decision = decisions.get(row["id"])
        if decision and decision["do"] == "drop":
            result.rejections[index] = _drop_reason(decision)
            result.reasons[index] = [result.rejections[index]]
    for step in recipe.filters:
        if step.filter == stop_before:
            return result
        _apply_filter(step, features, recipe.seed, result)
    _protect_small_sources(recipe, features, result)
    return result


def _drop_reason(decision: Decision) -> Reason:
    why = f"Dropped by {decision['by']}" + (f": {decision['why']}" if decision["why"] else ".")
    return {"filter": PERSON, "why": why, "value": None, "like": None, "rejects": True}


def make_filter_input(step: Filter, features: RowFeatures, seed: int, result: FilterResult) -> FilterInput:
    """Return the rows that a filter looks at after the filters before it; rows that a person keeps come first."""
    must_stay = frozenset(
        index
        for index, row in enumerate(features.rows)
        if row["id"] in result.decisions and result.decisions[row["id"]]["do"] in KEEP_DECISIONS
    )
    remaining = (index for index in range(len(features)) if step.row_by_row or index not in result.rejections)
    return FilterInput(sorted(remaining, key=lambda index: (index not in must_stay, index)), must_stay, seed)


def _apply_filter(step: Filter, features: RowFeatures, seed: int, result: FilterResult) -> None:
    filter_input = make_filter_input(step, features, seed, result)
    for index, reason in step.find(features, filter_input).items():
        result.reasons.setdefault(index, []).append(reason)
        if reason["rejects"] and index not in filter_input.must_stay:
            result.rejections.setdefault(index, reason)


def _protect_small_sources(recipe: CurationRecipe, features: RowFeatures, result: FilterResult) -> None:
    """Restore rows of small sources that reversible filters rejected: rows with the fewest reasons first."""
    for source, rows, kept_count in _small_sources(recipe.protect, features, result):
        candidates = [index for index in rows if index in result.rejections and not _is_final(recipe, result, index)]
        candidates.sort(key=lambda index: (len(result.reasons[index]), index))
        excluded_rows = _still_rejected(recipe, features, result, candidates) if candidates else set()
        candidates = [index for index in candidates if index not in excluded_rows]
        for index in candidates[: recipe.protect.least - kept_count]:
            result.protections[index] = result.rejections.pop(index)
            rows_text = f"{count_of(len(rows), 'row')} with {describe_value(recipe.protect.by, source)}"
            why = f"Given back: only {kept_count} of {rows_text} would be left."
            result.reasons[index].append({"filter": PROTECT, "why": why, "value": None, "like": None, "rejects": False})


def _is_final(recipe: CurationRecipe, result: FilterResult, index: int) -> bool:
    """Was the row rejected by a person, or by a filter that protection does not undo?"""
    final_filters = {step.filter for step in recipe.filters if not step.reversible} | {PERSON}
    return any(reason["filter"] in final_filters and reason["rejects"] for reason in result.reasons[index])


def _still_rejected(
    recipe: CurationRecipe, features: RowFeatures, result: FilterResult, candidates: list[int]
) -> set[int]:
    """Return the candidates that final filters which have not seen them would reject, such as duplicates."""
    steps = [step for step in recipe.filters if step.rejects and not step.reversible and not step.row_by_row]
    filter_input = FilterInput([*result.kept_rows, *candidates], frozenset(result.kept_rows), recipe.seed)
    return {index for step in steps for index in step.find(features, filter_input)} & set(candidates)


def _small_sources(
    protect: Protect, features: RowFeatures, result: FilterResult
) -> Iterator[tuple[str | None, list[int], int]]:
    """Yield the sources with fewer kept rows than the recipe wants: name, indices of all its rows, count of kept rows.

    A single source is never protected: no other source could replace it.
    """
    groups: dict[str | None, list[int]] = {}
    for index, source in enumerate(_column_texts(features.rows, protect.by)):
        groups.setdefault(source, []).append(index)
    for source, rows in groups.items() if len(groups) > 1 else ():
        kept_count = sum(index not in result.rejections for index in rows)
        if kept_count < min(protect.least, len(rows)):
            yield source, rows, kept_count


def _column_texts(rows: Sequence[Row], column: str) -> list[str | None]:
    """Return a column as text. Rows without a source are allowed; any other missing column is an error."""
    if column == "source" and not any(row.get("source") for row in rows):
        return [None] * len(rows)
    return column_values(rows, column) if rows else []
