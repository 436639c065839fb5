"""Columns that hold splits under names of their own, told by their values: ``Partition``, ``meta.split``, ``is_test``.

A column is used as one if its values in the first rows are splits; beside two of them a few other values may stand,
which are named. Where that is not sure, the column is named. ``--column split=none`` says that none is one.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from etabli.data.notes import Note, excerpt
from etabli.data.reading import flags, paths
from etabli.data.reading.columns import ANSWER_NAMES, NO_COLUMN, fold_name
from etabli.data.splits import TEST, TRAIN, VALIDATION, most_held_out, split_name, whole_split_name

_NAMES = {
    *("split", "splits", "datasplit", "set", "subset", "usage", "partition", "phase", "stage", "fold"),
    *("verwendung", "teilmenge", "ensemble", "conjunto", "particion"),
    *("part", "teil", "partie", "parte", "jeu", "datenteil", "partizione", "aufteilung", "repartition"),
}
_MOST_VALUES = 6  # of a column whose values are not all splits, among the first rows
_FLAG_NAME = re.compile(
    r"(is|in|for)?_*(?P<split>train(?:ing)?|test(?:ing)?|val|validation|dev|eval(?:uation)?|hold_?out|held_?out)"
    r"(_*(set|split|row|example))?"
)
_MASKS = {"train", "training"}  # without is_ they are marks of what is trained


def find_split_columns(items: Sequence[object], without: Collection[str]) -> dict[str, bool]:
    """Return the paths of columns in the first rows that are splits (True), and of those that are none (False).

    A path that is in neither may be one: its name says so and some values do not, or all values are one held-out split.

    Args:
        items: the first rows.
        without: columns that the format reads.
    """
    values: dict[str, set[str]] = {}
    for item in items:
        for path, value in paths.list_leaves(item, without) if isinstance(item, Mapping) else ():
            texts = values.setdefault(path, set())
            if str(value).strip() and len(texts) <= len(items):
                texts.add(str(value))
    judged = {path: _is_split_column(path, texts) for path, texts in values.items()}
    return {path: is_split for path, is_split in judged.items() if is_split is not None}


def _is_split_column(path: str, texts: set[str]) -> bool | None:
    name = _leaf_name(path)
    if _flag_split(name):
        return _is_flag_column(name, texts)
    is_known = fold_name(name) in _NAMES
    splits = {whole_split_name(text) for text in texts}
    known_splits = splits - {None}
    if fold_name(name) in ANSWER_NAMES or not known_splits:
        return None if is_known or known_splits == splits else False
    if None in splits:
        is_sure = len(texts) <= _MOST_VALUES and (len(known_splits) > 1 or (is_known and TRAIN in known_splits))
        return True if is_sure else None if is_known or len(texts) <= _MOST_VALUES else False
    return True if is_known or TRAIN in splits else None


def _is_flag_column(name: str, texts: set[str]) -> bool | None:
    """Return whether the values are flags; beside some of them others may stand where the name says ``is``."""
    unknown_texts = [text for text in texts if flags.read_flag(text) is None]
    if not texts or len(unknown_texts) == len(texts) or any(char.isdigit() for text in unknown_texts for char in text):
        return False
    return True if not unknown_texts or name.casefold().startswith("is") or len(texts) <= _MOST_VALUES else None


def _leaf_name(path: str) -> str:
    return path.rpartition(".")[2]


def _flag_split(name: str) -> str | None:
    """Return the split of a column that is true or false, by its name."""
    snake_name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).casefold().replace("-", "_").replace(" ", "_").strip("_")
    match = _FLAG_NAME.fullmatch(snake_name)
    return split_name(match["split"]) if match and snake_name not in _MASKS else None


def is_flag(name: str) -> bool:
    """Return whether a column is true or false for a split, by its name: ``is_test``."""
    return _flag_split(_leaf_name(name)) is not None


def read_flag(name: str, value: object) -> str | None:
    """Return the split that a column of true and false means: ``is_test: true``; None if it is no such column.

    ``is_train: false`` is a test; ``is_test: false`` says nothing.
    """
    split, flag = _flag_split(_leaf_name(name)), flags.read_flag(value)
    if split is None or flag is None:
        return None
    if split == TRAIN:
        return TRAIN if flag else TEST
    return split if flag else None


def read_splits(
    item: Mapping[str, object], known_columns: Mapping[str, bool], without: Collection[str], notes: list[Note]
) -> str | None:
    """Return the split that a row's columns say beside ``split``; what is not sure is noted and not used.

    Args:
        item: the row.
        known_columns: as ``find_split_columns`` returns them.
        without: columns that the format reads.
        notes: gets a note for each column that holds the row out.
    """
    used: set[str] = set()
    for path, value, split in _marks(item, known_columns, without):
        is_used = bool(known_columns.get(path))
        if is_used and split:
            used.add(split)
        if split is None or split in (VALIDATION, TEST):
            notes.append(_note(path, value, split, is_used))
    return most_held_out(used)


def _marks(
    item: Mapping[str, object], known_columns: Mapping[str, bool], without: Collection[str]
) -> Iterator[tuple[str, object, str | None]]:
    """Yield the path, the value and the split of each mark; no split for an unknown value of a column of splits."""
    for path, value in paths.list_leaves(item, without):
        state = known_columns.get(path)
        split = None if state is False else read_flag(path, value) or whole_split_name(str(value))
        if split is not None or (state and _is_unknown(path, value)):
            yield path, value, split


def _is_unknown(path: str, value: object) -> bool:
    return bool(str(value).strip()) and not (is_flag(path) and flags.read_flag(value) is not None)


def _note(path: str, value: object, split: str | None, is_used: bool) -> Note:
    column = f"The column {excerpt(path)!r} says {excerpt(value)!r}"
    command = f"--column split={excerpt(path)}"
    if split is None:
        why = f"{column}, which is no split: the row is trained. Write train, validation or test ({command})."
        return Note("unknown-split", path, excerpt(value), why)
    if is_used:
        why = (
            f"{column}: the row is kept out of training, as one of the split {split}. "
            f"If it is no split: --column split={NO_COLUMN}"
        )
    else:
        why = f"{column}, and is not read: the row would be trained. If it is a split: {command}"
    return Note("split-column", path, excerpt(value), why)
