"""Filters and decisions, applied to rows: which stay, and of every row why or why not. A pure function."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from etabli.core.contracts import Decision, Reason, Row
from etabli.curation.features import View
from etabli.curation.filters import PERSON, PROTECT, Filter
from etabli.curation.filters.base import Asked
from etabli.curation.recipe import CurationRecipe, Protect
from etabli.data.columns import values_of

PLACED_FIRST = ("keep", "fix")  # what a person wants to stay stays, and stands for its copies


@dataclass
class Sifted:
    """What came of rows, by their index.

    ``reasons`` has every filter's, rejecting or not; ``rejected`` the one that decided; ``protected`` rows that would
    have been rejected were their source not so small.
    """

    rows: list[Row]
    reasons: dict[int, list[Reason]] = field(default_factory=dict)
    rejected: dict[int, Reason] = field(default_factory=dict)
    protected: dict[int, Reason] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)

    @property
    def kept(self) -> list[int]:
        """Indices of the rows that stay."""
        return [at for at in range(len(self.rows)) if at not in self.rejected]

    @property
    def dropped(self) -> dict[str, int]:
        """How many rows each filter rejected; a row counts for the first that did."""
        return dict(Counter(reason["filter"] for reason in self.rejected.values()))

    def told(self, at: int) -> Row:
        """A row with everything that was said about it."""
        row = dict(self.rows[at])
        if at in self.reasons:
            row["reasons"] = self.reasons[at]
        if row["id"] in self.decisions:
            row["decision"] = self.decisions[row["id"]]
        return row


def fixed(rows: Sequence[Row], decisions: Mapping[str, Decision]) -> list[Row]:
    """Rows with what people rewrote."""
    fixes = {name: one["messages"] for name, one in decisions.items() if one["do"] == "fix"}
    return [{**row, "messages": fixes[row["id"]]} if row["id"] in fixes else row for row in rows]


def sift(view: View, recipe: CurationRecipe, decisions: Mapping[str, Decision], until: str = "") -> Sifted:
    """Apply a recipe's filters in their order, and what people decided over all of them.

    A person's word is the last: what was dropped is out before the first filter looks, what was kept or fixed is
    rejected by none, and copies of it go rather than it.

    Args:
        view: the rows, with fixes applied; decisions: those that stand, by row id.
        until: stop before the filter of this name.
    """
    done = Sifted(view.rows, decisions=dict(decisions))
    for at, row in enumerate(view.rows):
        one = decisions.get(row["id"])
        if one and one["do"] == "drop":
            done.rejected[at] = _dropped(one)
            done.reasons[at] = [done.rejected[at]]
    for step in recipe.filters:
        if step.filter == until:
            return done
        _apply(step, view, recipe.seed, done)
    _protect(recipe, view, done)
    return done


def _dropped(one: Decision) -> Reason:
    why = f"Dropped by {one['by']}" + (f": {one['why']}" if one["why"] else ".")
    return {"filter": PERSON, "why": why, "value": None, "like": None, "rejects": True}


def asked_of(step: Filter, view: View, seed: int, done: Sifted) -> Asked:
    """What a filter is to look at once those before it have."""
    said = [done.decisions[row["id"]]["do"] if row["id"] in done.decisions else "" for row in view.rows]
    placed = frozenset(at for at, do in enumerate(said) if do in PLACED_FIRST)
    left = (at for at in range(len(view)) if step.alone or at not in done.rejected)
    return Asked(sorted(left, key=lambda at: (at not in placed, at)), placed, seed)


def _apply(step: Filter, view: View, seed: int, done: Sifted) -> None:
    asked = asked_of(step, view, seed, done)
    for at, reason in step.find(view, asked).items():
        done.reasons.setdefault(at, []).append(reason)
        if reason["rejects"] and at not in asked.placed:
            done.rejected.setdefault(at, reason)


def _protect(recipe: CurationRecipe, view: View, done: Sifted) -> None:
    """Give small sources back what filters of opinion took: rows with the fewest reasons first."""
    for name, rows, kept in _poor(recipe.protect, view, done):
        back = [at for at in rows if at in done.rejected and not _hard(recipe, done, at)]
        back.sort(key=lambda at: (len(done.reasons[at]), at))
        copies = _copies(recipe, view, done, back) if back else set()
        back = [at for at in back if at not in copies]
        for at in back[: recipe.protect.least - kept]:
            done.protected[at] = done.rejected.pop(at)
            why = f"Given back: {recipe.protect.by} {name} would have {kept} of {len(rows)} rows left."
            done.reasons[at].append({"filter": PROTECT, "why": why, "value": None, "like": None, "rejects": False})


def _hard(recipe: CurationRecipe, done: Sifted, at: int) -> bool:
    """Was a row rejected by what no protection undoes?"""
    names = {step.filter for step in recipe.filters if not step.protects} | {PERSON}
    return any(reason["filter"] in names and reason["rejects"] for reason in done.reasons[at])


def _copies(recipe: CurationRecipe, view: View, done: Sifted, back: list[int]) -> set[int]:
    """Which of the rows that are to come back filters that never saw them would reject for good: copies, too many."""
    steps = [step for step in recipe.filters if step.rejects and not step.protects and not step.alone]
    kept = [at for at in range(len(view)) if at not in done.rejected]
    asked = Asked([*kept, *back], frozenset(kept), recipe.seed)
    return {at for step in steps for at in step.find(view, asked)} & set(back)


def _poor(protect: Protect, view: View, done: Sifted) -> Iterator[tuple[str, list[int], int]]:
    """Sources that have fewer rows left than they should: name, all their rows, and how many are left.

    Where there is but one source there is none to be wiped out by the others.
    """
    groups: dict[str, list[int]] = {}
    for at, name in enumerate(_values(view.rows, protect.by)):
        groups.setdefault(name, []).append(at)
    for name, rows in groups.items() if len(groups) > 1 else ():
        kept = sum(at not in done.rejected for at in rows)
        if kept < min(protect.least, len(rows)):
            yield name, rows, kept


def _values(rows: Sequence[Row], column: str) -> list[str]:
    """A column as text. Rows need not say their source; another column that none has is a mistake."""
    if column == "source" and not any(row.get("source") for row in rows):
        return [""] * len(rows)
    return [str(value) for value in values_of(rows, column)] if rows else []
