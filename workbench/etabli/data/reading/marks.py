"""Read the marks that say which turns, and which parts of a turn, are trained: other trainers have many names for them.

A message gets ``train`` where its whole content has one mark, and ``train_spans`` where its parts have different ones.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate

from etabli.core.contracts import Message
from etabli.data.notes import Note, excerpt
from etabli.data.reading.flags import read_flag
from etabli.data.reading.values import parse_list

# OpenAI, LLaMA-Factory, axolotl, FastChat and established scripts; 1 or true means that the text is learned.
TRAIN_KEYS = (
    *("train", "weight", "loss_weight", "training", "trainable", "train_on_turn", "loss", "loss_mask"),
    *("is_trainable", "train_on", "do_train", "learn", "use_for_training"),
)
MASK_KEYS = ("masked", "ignore")  # torchtune's, and scripts': true means that the text is not learned
# Marks whose meaning is not sure (1 is trained, or is masked), or which are not carried out: such rows are refused.
UNSURE_KEYS = ("mask", "train_detail", "label_mask", "labels_mask")
# Beside the turns: a list with one mark a turn, or one mark for the whole row.
ROW_KEYS = (*TRAIN_KEYS, "train_mask", "weights", "sample_weight", "example_weight", *MASK_KEYS)
_ORDINARY_LISTS = ("weights", *UNSURE_KEYS)  # a list of other values is an ordinary column
_TRAINED_ROLES = ("assistant", "text")


def mark_names(item: Mapping[str, object]) -> set[str]:
    """Return the keys of a turn or a part that are marks; a ``loss`` that is a number may be a measured one."""
    return {
        name
        for name in (*TRAIN_KEYS, *MASK_KEYS, *UNSURE_KEYS)
        if name in item and (name != "loss" or isinstance(item[name], bool | None))
    }


def read_mark(item: Mapping[str, object], notes: list[Note], where: str, names: Sequence[str] = ()) -> bool | None:
    """Return whether a turn or a part is marked as trained; None if it has no mark.

    Args:
        names: other names of marks, which a mapping file gives.
    """
    marks: dict[str, bool] = {}
    for name in sorted({*mark_names(item), *names}):
        value = item.get(name)
        if value is None:
            continue
        if name in UNSURE_KEYS and name not in names:
            notes.append(_unsure_note(name, value, where))
        elif isinstance(value, str | list | dict) or value not in (0, 1):
            why = f"{name} is {excerpt(value)!r}: a mark is 1 (true) to train it, or 0 (false) to leave it out."
            notes.append(Note("unknown-mark", f"{where}.{name}", excerpt(value), why))
        else:
            marks[name] = bool(value) != (name in MASK_KEYS)
    return _one_mark(marks, notes, where)


def _unsure_note(name: str, value: object, where: str) -> Note:
    why = f"{name} is a mark of what is trained, and whether 1 means trained is not sure: write train, 1 or 0."
    if name == "train_detail":
        why = 'train_detail is not read: write content as parts, [{"type": "text", "text": "…", "train": false}, …].'
    return Note("unknown-mark", f"{where}.{name}", excerpt(value), why)


def _one_mark(marks: Mapping[str, bool], notes: list[Note], where: str) -> bool | None:
    if len(set(marks.values())) > 1:
        notes.append(Note("unknown-mark", where, why=f"The marks {' and '.join(marks)} contradict each other."))
        return None
    return next(iter(marks.values()), None)


def set_mark(message: Message, mark: bool | None) -> None:
    """Set a message's ``train``; ``settle`` removes what says nothing once all marks of the row are read."""
    if mark is not None:
        message["train"] = mark


def set_part_marks(message: Message, texts: Sequence[str], marks: Sequence[bool | None]) -> None:
    """Set ``train`` or ``train_spans`` of a message from the marks of its parts.

    A part without a mark is as its message: marked so, or trained if it is an answer.
    """
    if all(mark is None for mark in marks):
        return
    default = message.get("train", message["role"] == "assistant")
    flags = [bool(default if mark is None else mark) for mark, text in zip(marks, texts) if text]
    ends = list(accumulate(len(text) for text in texts if text))
    if len(set(flags)) <= 1:
        set_mark(message, flags[0] if flags else None)
        return
    message.pop("train", None)
    starts = [0, *ends]
    message["train_spans"] = [[starts[index], end] for index, end in enumerate(ends) if flags[index]]


def set_row_marks(messages: Sequence[Message], item: Mapping[str, object], notes: list[Note]) -> None:
    """Set the marks of a row's turns from a list beside them."""
    for name in ROW_KEYS:
        marks = _listed_marks(item, name)
        if marks is None:
            continue
        if len(marks) != len(messages):
            why = f"{name} needs one mark a turn: a list of {len(messages)} entries that are 0 or 1."
            notes.append(Note("unknown-mark", name, excerpt(marks), why))
            continue
        for number, (message, mark) in enumerate(zip(messages, marks)):
            turn = {"its turn": message.get("train"), name: mark}
            set_mark(message, read_mark(turn, notes, f"{name}[{number}]", ("its turn", name)))


def _listed_marks(item: Mapping[str, object], name: str) -> list[object] | None:
    """Return a list of marks beside the turns; None if there is none, or an ordinary column of such a name."""
    values = parse_list(item.get(name))
    if not isinstance(values, list):
        return None
    is_ordinary = name in _ORDINARY_LISTS and not all(value is None or value in (0, 1) for value in values)
    return None if is_ordinary else values


def row_mark_names(item: Mapping[str, object]) -> set[str]:
    """Return the columns of a row that are marks: of all its turns, or a list with one a turn."""
    return {
        name
        for name in ROW_KEYS
        if name in item and (read_flag(item[name]) is not None or _listed_marks(item, name) is not None)
    }


def _read_row_mark(item: Mapping[str, object], messages: Sequence[Message], notes: list[Note]) -> bool | None:
    """Return the one mark of a whole row; a number that is none is noted, since rows are not weighted here."""
    marks: dict[str, bool] = {}
    for name in UNSURE_KEYS if len(messages) > 1 else ():
        if _listed_marks(item, name):
            notes.append(_unsure_note(name, item[name], "the row"))
    for name in (name for name in ROW_KEYS if name in item):
        value = item[name]
        if (mark := read_flag(value)) is not None:
            marks[name] = mark != (name in MASK_KEYS)
        elif name != "loss" and _is_number(value):
            notes.append(
                Note("row-weight", name, excerpt(value), f"{name} is {excerpt(value)}: every row counts once.")
            )
    return _one_mark(marks, notes, "the row")


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, str | int | float) and abs(float(value)) < float("inf")
    except (ValueError, OverflowError):
        return False


def settle(
    messages: Sequence[Message], item: Mapping[str, object], roles: Sequence[str] | None, notes: list[Note]
) -> None:
    """Set the marks of turns that have none of their own: by the row's mark, else by their role.

    Args:
        roles: the roles that are trained, axolotl's ``roles_to_train``; None leaves that to the recipe.
    """
    row_mark = _read_row_mark(item, messages, notes)
    for message in messages:
        if message.get("train") is None and "train_spans" not in message:
            by_role = None if roles is None else message["role"] in roles
            set_mark(message, False if row_mark is False else by_role)
        if message.get("train") is False and message["role"] not in _TRAINED_ROLES:
            del message["train"]  # other turns are not trained unless they are marked so
