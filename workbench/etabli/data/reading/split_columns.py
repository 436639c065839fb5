"""Columns that hold splits under names of their own, told by their values: ``Partition``, ``meta.split``, ``is_test``.

A column whose values in the first rows are all splits is used as one; where that is not sure, it is named.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from etabli.data.notes import Note, excerpt
from etabli.data.reading import paths
from etabli.data.reading.columns import ANSWER_NAMES, fold_name
from etabli.data.splits import TEST, TRAIN, VALIDATION, most_held_out, split_name, whole_split_name

_NAMES = {
    *("split", "splits", "datasplit", "set", "subset", "usage", "partition", "phase", "stage", "fold"),
    *("verwendung", "teilmenge", "ensemble", "conjunto", "particion"),
}
_FLAG_NAME = re.compile(
    r"(is|in|for)?_*(?P<split>train(?:ing)?|test(?:ing)?|val|validation|dev|eval(?:uation)?|hold_?out|held_?out)"
    r"(_*(set|split|row|example))?"
)
_MASKS = {"train", "training"}  # without is_ they are marks of what is trained
_FLAGS = {
    **dict.fromkeys(("true", "1", "1.0", "yes"), True),
    **dict.fromkeys(("false", "0", "0.0", "no"), False),
}


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
        return all(text.strip().casefold() in _FLAGS for text in texts)
    is_known = fold_name(name) in _NAMES
    splits = {whole_split_name(text) for text in texts}
    if None in splits:
        return None if is_known and len(splits) > 1 else False
    if fold_name(name) in ANSWER_NAMES or not (is_known or TRAIN in splits):
        return None
    return True


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
    split, flag = _flag_split(_leaf_name(name)), _FLAGS.get(str(value).strip().casefold())
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
        if known_columns.get(path):
            used.add(split)
        if split in (VALIDATION, TEST):
            notes.append(_note(path, value, split, is_used=bool(known_columns.get(path))))
    return most_held_out(used)


def _marks(
    item: Mapping[str, object], known_columns: Mapping[str, bool], without: Collection[str]
) -> Iterator[tuple[str, object, str]]:
    for path, value in paths.list_leaves(item, without):
        state = known_columns.get(path)
        split = None if state is False else read_flag(path, value) or whole_split_name(str(value))
        if split is not None:
            yield path, value, split


def _note(path: str, value: object, split: str, is_used: bool) -> Note:
    column = f"The column {excerpt(path)!r} says {excerpt(value)!r}"
    if is_used:
        why = f"{column}: the row is kept out of training, as one of the split {split}."
    else:
        why = f"{column}, and is not read: the row would be trained. If it is a split: --column split={excerpt(path)}"
    return Note("split-column", path, excerpt(value), why)
