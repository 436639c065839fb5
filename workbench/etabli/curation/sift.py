"""Filters and decisions, applied to rows: which stay, and of every row why or why not. A pure function."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from etabli.contracts import Decision, Reason, Row
from etabli.curation.filters import PERSON, Filter
from etabli.curation.recipe import CurationRecipe, Protect
from etabli.curation.views import View

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


def sift(view: View, recipe: CurationRecipe, decisions: Mapping[str, Decision]) -> Sifted:
    """Apply a recipe's filters in their order, and what people decided over all of them.

    A person's word is the last: what was dropped is out before the first filter looks, what was kept or fixed is
    rejected by none, and copies of it go rather than it.

    Args:
        view: the rows, with fixes applied; decisions: those that stand, by row id.
    """
    done = Sifted(view.rows, decisions=dict(decisions))
    said = [decisions[row["id"]]["do"] if row["id"] in decisions else "" for row in view.rows]
    for at, do in enumerate(said):
        if do == "drop":
            one = decisions[view.rows[at]["id"]]
            done.rejected[at] = _dropped(one)
            done.reasons[at] = [done.rejected[at]]
    for step in recipe.filters:
        _apply(step, view, recipe.seed, done, said)
    _protect(recipe, view, done)
    return done


def _dropped(one: Decision) -> Reason:
    why = f"Dropped by {one['by']}" + (f": {one['why']}" if one["why"] else ".")
    return {"filter": PERSON, "why": why, "value": None, "like": None, "rejects": True}


def _apply(step: Filter, view: View, seed: int, done: Sifted, said: list[str]) -> None:
    order = sorted(
        (at for at in range(len(view)) if step.alone or at not in done.rejected),
        key=lambda at: (said[at] not in PLACED_FIRST, at),
    )
    for at, reason in step.find(view, order, seed).items():
        done.reasons.setdefault(at, []).append(reason)
        if reason["rejects"] and said[at] not in PLACED_FIRST:
            done.rejected.setdefault(at, reason)


def _protect(recipe: CurationRecipe, view: View, done: Sifted) -> None:
    """Give small sources back what filters of opinion took: rows with the fewest reasons first."""
    hard = {step.filter for step in recipe.filters if not step.protects} | {PERSON}
    soft = [at for at, reason in done.rejected.items() if reason["filter"] not in hard]
    for rows, kept in _poor(recipe.protect, view, done):
        back = [at for at in rows if at in set(soft) and not any(_hard(reason, hard) for reason in done.reasons[at])]
        back.sort(key=lambda at: (len(done.reasons[at]), at))
        for at in back[: recipe.protect.least - kept]:
            done.protected[at] = done.rejected.pop(at)


def _values(rows: Sequence[Row], column: str) -> list[str]:
    """A column as text; one value for all where no row has it."""
    return [str(row.get(column, (row.get("columns") or {}).get(column))) for row in rows]


def _hard(reason: Reason, hard: set[str]) -> bool:
    return reason["filter"] in hard and reason["rejects"]


def _poor(protect: Protect, view: View, done: Sifted) -> Iterator[tuple[list[int], int]]:
    """Sources that have fewer rows left than they should: all their rows, and how many are left.

    Where there is but one source there is none to be wiped out by the others.
    """
    groups: dict[str, list[int]] = {}
    for at, name in enumerate(_values(view.rows, protect.by)):
        groups.setdefault(name, []).append(at)
    for rows in groups.values() if len(groups) > 1 else ():
        kept = sum(at not in done.rejected for at in rows)
        if kept < min(protect.least, len(rows)):
            yield rows, kept
