"""Columns that say what a review decided about a row: rejected, still open, or accepted.

What is surely rejected is left out with a note; what may be an ordinary column (the ``status`` of an order) is named.
``--column status=none`` says that no column is a review's.
"""

from collections.abc import Collection, Iterator, Mapping

from etabli.data.notes import Note, excerpt
from etabli.data.reading.columns import NO_COLUMN, fold_name
from etabli.data.reading.flags import read_flag
from etabli.data.reading.paths import list_leaves
from etabli.data.reading.state_words import (
    DOUBTFUL,
    FLAGS,
    GENERAL_NAMES,
    OPEN,
    PLACES,
    REJECTED,
    REVIEW_NAMES,
    UNSURE_FLAGS,
    VALUE_NAMES,
)
from etabli.data.reading.values import parse_list

STATUS = "status"  # the name that a person gives a column which holds such states


def judge_state(item: Mapping[str, object], column: str | None, without: Collection[str]) -> tuple[bool, list[Note]]:
    """Return whether a row is left out for what a review said, and the note about it.

    Args:
        item: the row.
        column: the column that a person named as one of states (it is ``status`` here); ``none`` says there is none.
        without: columns that the format reads.
    """
    unsure_notes: list[Note] = []
    for path, name, value in () if column == NO_COLUMN else _states(item, without):
        is_named = column is not None and path == STATUS
        is_surely = _leaves_out(fold_name(str(column).rpartition(".")[2]) if is_named else name, value, is_named)
        if is_surely:
            why = f"{excerpt(path)} is {excerpt(value)!r}: left out. To keep such rows: --column {STATUS}={NO_COLUMN}"
            return True, [Note("rejected", path, excerpt(value), why)]
        if is_surely is False:
            unsure_notes.append(_unsure_note(path, value))
    return False, unsure_notes[:1]


def _states(item: Mapping[str, object], without: Collection[str]) -> Iterator[tuple[str, str, object]]:
    """Yield the path, the folded name and the value of what may be a state of the row, and of nothing in it."""
    for path, value in list_leaves(item, without):
        *parents, name = path.split(".")
        if parents and fold_name(name) in VALUE_NAMES:  # {"status": {"value": "rejected"}}
            *parents, name = parents
        if len(str(value)) <= 40 and (not parents or path in item or fold_name(parents[0]) in PLACES):
            yield path, fold_name(name), value
    for place in item:
        if place not in without and fold_name(str(place)) in PLACES:
            yield from _listed_states(str(place), parse_list(item[place]))


def _listed_states(place: str, entries: object) -> Iterator[tuple[str, str, object]]:
    """Yield what leaves the row out in the last of some reviews or annotations; nothing if another one accepts it."""
    reviews = [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
    rejections = [
        [
            (f"{place}.{path}", fold_name(path), value)
            for path, value in list_leaves(entry)
            if _is_rejection(path, value)
        ]
        for entry in reviews
    ]
    if all(rejections) or fold_name(place) == "reviews":  # of reviews, the last one decides
        yield from rejections[-1] if rejections else ()


def _is_rejection(path: str, value: object) -> bool:
    return len(str(value)) <= 40 and _leaves_out(fold_name(path), value, is_named=False) is True


def is_rejected(entry: Mapping[str, object]) -> bool:
    """Return whether an annotation, or the last review of it, says that it was rejected."""
    return any(_leaves_out(name, value, is_named=False) is True for _, name, value in _states(entry, ("id", "result")))


def _unsure_note(path: str, value: object) -> Note:
    why = (
        f"{excerpt(path)} is {excerpt(value)!r}: the row is trained. If a review says so, leave such rows out with "
        f"--column {STATUS}={excerpt(path)}; if not: --column {STATUS}={NO_COLUMN}"
    )
    return Note("unsettled", path, excerpt(value), why)


def _leaves_out(name: str, value: object, is_named: bool) -> bool | None:
    """Return True for a row that is left out, False for one that may be meant so, None for an ordinary value."""
    text, flag, flags = fold_name(str(value)), read_flag(value), FLAGS | UNSURE_FLAGS
    if flag is not None and name in flags:
        return (is_named or name in FLAGS) if flag is flags[name] else None
    if flag is not None and is_named:
        return None if flag else True
    if name == "answer" and text in ("reject", "ignore", "skip"):  # Prodigy's
        return True
    if text in REJECTED:
        return is_named or name in REVIEW_NAMES | GENERAL_NAMES
    if text in OPEN | DOUBTFUL or _begins_with_rejection(value):
        return True if is_named or name in REVIEW_NAMES else False if name in GENERAL_NAMES else None
    return None


def _begins_with_rejection(value: object) -> bool:
    """Return whether a text is like ``rejected by QA``."""
    return fold_name(str(value).partition(" ")[0]) in REJECTED
