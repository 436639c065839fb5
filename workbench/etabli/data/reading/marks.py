"""Read the marks that say which turns, and which parts of a turn, are trained: other trainers have many names for them.

A message gets ``train`` where its whole content has one mark, and ``train_spans`` where its parts have different ones.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate

from etabli.core.contracts import Message
from etabli.data.notes import Note, excerpt

# OpenAI, LLaMA-Factory, axolotl, FastChat and established scripts; 1 or true means that the text is learned.
TRAIN_KEYS = ("train", "weight", "loss_weight", "training", "trainable", "train_on_turn", "loss", "loss_mask")
MASK_KEYS = ("masked",)  # torchtune's: true means that the text is not learned
ROW_KEYS = ("loss_mask", "train_mask")  # lists with one mark a turn, beside the turns


def mark_names(item: Mapping[str, object]) -> set[str]:
    """Return the keys of a turn or a part that are marks; a ``loss`` that is a number may be a measured one."""
    return {
        name
        for name in (*TRAIN_KEYS, *MASK_KEYS)
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
        if isinstance(value, str | list | dict) or value not in (0, 1):
            why = f"{name} is {excerpt(value)!r}; known are 0 and 1."
            notes.append(Note("wrong-type", f"{where}.{name}", excerpt(value), why))
        else:
            marks[name] = bool(value) != (name in MASK_KEYS)
    return _one_mark(marks, notes, where)


def _one_mark(marks: Mapping[str, bool], notes: list[Note], where: str) -> bool | None:
    if len(set(marks.values())) > 1:
        notes.append(Note("wrong-type", where, why=f"The marks {' and '.join(marks)} contradict each other."))
        return None
    return next(iter(marks.values()), None)


def set_mark(message: Message, mark: bool | None) -> None:
    """Set a message's ``train``; other turns than answers are not trained unless they are marked so."""
    if mark is not None and (mark or message["role"] == "assistant"):
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
        marks = item.get(name)
        if marks is None:
            continue
        if not isinstance(marks, list) or len(marks) != len(messages):
            why = f"{name} needs one mark a turn: a list of {len(messages)} entries that are 0 or 1."
            notes.append(Note("wrong-type", name, excerpt(marks), why))
            continue
        for number, (message, mark) in enumerate(zip(messages, marks)):
            turn = {"train": message.get("train"), name: mark}
            set_mark(message, read_mark(turn, notes, f"{name}[{number}]", (name,)))


def set_role_marks(messages: Sequence[Message], roles: Sequence[str] | None) -> None:
    """Mark every turn that has no mark by its role: axolotl's ``roles_to_train``. None changes nothing."""
    for message in messages if roles is not None else ():
        if message.get("train") is None and "train_spans" not in message:
            set_mark(message, message["role"] in (roles or ()))
