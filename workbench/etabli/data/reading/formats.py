"""The formats of rows: detect one by its keys, and convert rows to conversations.

Mistakes of a row are noted and not raised, so that a check can report all of them and a reader the first ten.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from etabli.core.contracts import Message, Row
from etabli.core.wording import choose_form
from etabli.data.licences import lineage_hints, terms_of
from etabli.data.notes import Note, escape_invisible, excerpt
from etabli.data.reading import marks, readers, reasoning, side_columns, split_columns
from etabli.data.reading.columns import NO_COLUMN, as_answer, refusal, task_columns
from etabli.data.reading.conversations import is_single_turn
from etabli.data.reading.exports import flatten
from etabli.data.reading.flags import read_flag
from etabli.data.reading.layout import Format, Item, Layout
from etabli.data.reading.padding import find_padded_keys, remove_padding
from etabli.data.reading.paths import find_value, has_value
from etabli.data.reading.states import STATUS, judge_state
from etabli.data.reading.values import parse_list, wrong_type_note
from etabli.data.splits import TRAIN, most_held_out, split_name

LINEAGE = ("lang", "source", "licence", "terms", "generator", "created", "parents", "split", "template", "copy_group")
_SPELT = {"license": "licence", "language": "lang"}
_MEDIA = {"images", "image", "videos", "video", "audios", "audio"}
_OTHER_KEYS = {"id", "tools", "functions"}
_LINEAGE_KEYS = {*LINEAGE, *_SPELT, *_MEDIA, *_OTHER_KEYS}
_TEXT_COLUMNS = {"prompt", "completion", "instruction", "input", "output"}
_OWN_ID = re.compile(r"([a-z]{2}-)?[0-9a-f]{12,16}(~\d+)?")  # one that établi gave; another is kept as a column
PREFERRED_FORMAT = "preferred"
_PREFERENCE_KEYS = (
    *("prompt", "chosen", "rejected", "label", "messages", "conversations", "completion", "instruction", "input"),
    *("preferred_output", "non_preferred_output", "output", "history"),
)
QUESTIONS = "questions"  # prompts without answers: of no use for training, but for evaluation
PLAIN_FORMATS = ("text", "segments")  # no conversations: they need no chat template


def guess_layout(items: Sequence[object], columns: Mapping[str, str] | None = None) -> Layout | None:
    """Return the layout that fits most of some rows, which ``exports.flatten`` has seen; None if none fits."""
    renamed_rows = [rename_columns(item, columns or {}) for item in items]
    votes = Counter(name for item in renamed_rows if (name := _format_of(item)))
    if not votes:
        return None
    name, count = votes.most_common(1)[0]
    is_plain = name == "text" and "text" not in (columns or {})
    if is_plain and any(isinstance(item, Mapping) and task_columns(item) for item in items):
        name = "task"
    keys = " and ".join(FORMATS[name].keys) or FORMATS[name].told_by
    rows_text = f"{count} of the first {len(items)} rows" if len(items) > 1 else "the first row"
    reason = f"{rows_text} {choose_form(count, 'has', 'have')} {keys}"
    return Layout(name, reason, dict(columns or {}), is_guessed=is_plain and name == "text")


def _format_of(item: object) -> str | None:
    if isinstance(item, list):
        turns_ = [turn for turn in item if isinstance(turn, dict) and ("from" in turn or "role" in turn)]
        return "sharegpt-lists" if turns_ and len(turns_) == len(item) else None
    if not isinstance(item, Mapping):
        return None
    if {"chosen", "rejected"} <= item.keys() or "preferred_output" in item:
        return "preference"
    if readers.thumb(item.get("label")) is not None and {"messages", "completion", "conversations"} & item.keys():
        return "kto"
    name = next((name for name, kind in FORMATS.items() if kind.keys and all(key in item for key in kind.keys)), None)
    return "turn" if name in (None, "text") and is_single_turn(item) else name


def rename_columns(item: object, columns: Mapping[str, str]) -> object:
    """Return a row with its columns renamed to the format's names."""
    if not isinstance(item, Mapping) or not columns:
        return item
    new_names = set(columns.values())
    rest = {name: value for name, value in item.items() if name not in new_names}
    return rest | {new: find_value(item, old) for new, old in columns.items() if has_value(item, old)}


def is_row(item: object, columns: Mapping[str, str] | None = None) -> bool:
    """Return whether a value has the keys of a known format."""
    return _format_of(rename_columns(flatten(item)[0], columns or {})) is not None


def _name_columns(item: object, columns: Mapping[str, str]) -> object:
    """Return a row with its columns renamed; the ones that are named as question or answer are made text."""
    renamed_row = rename_columns(item, columns)
    if not isinstance(renamed_row, Mapping):
        return renamed_row
    return {
        name: as_answer(value) if name in _TEXT_COLUMNS & columns.keys() else value
        for name, value in renamed_row.items()
    }


def convert_row(item: object, layout: Layout, lineage: Mapping[str, object]) -> tuple[Row | None, list[Note]]:
    """Return a row's conversation with its lineage (None if it can't be read), and all notes about it."""
    flat_item, notes = flatten(item)
    if flat_item is None and notes:
        return None, notes
    columns = _read_columns(flat_item, layout, notes)
    if columns is None:
        return None, notes
    for name in _MEDIA & columns.keys():
        if media := columns[name]:
            notes.append(Note("not-text", name, excerpt(media), f"The row comes with {name}: this trains text models."))
    messages = FORMATS[layout.name].read(columns, notes, layout)
    if not messages:
        return None, notes
    for number, message in enumerate(messages):
        reasoning.split_thought(message, notes, f"messages[{number}].content")
    marks.settle(messages, columns, layout.tags.trained_roles if layout.tags else None, notes)
    row = _row(messages, columns, lineage, layout, notes)
    unused_names = _unused_columns(columns, layout)
    notes += side_columns.note_side_columns(columns, unused_names, layout)
    if other_columns := _other_columns(columns, unused_names):
        row["columns"] = other_columns
    return row, notes


def _read_columns(item: object, layout: Layout, notes: list[Note]) -> Item | None:
    """Return a row's columns by the format's names; None, with notes, if some are missing or it was rejected."""
    _note_task(item, layout, notes)
    if layout.padded_keys and isinstance(item, Mapping):
        item = remove_padding(item, layout.padded_keys, notes)
    item = _name_columns(item, layout.columns)
    if isinstance(item, list) and layout.name == "sharegpt-lists":
        item = {"conversations": item}
    if not isinstance(item, Mapping):
        why = f"A row must be an object; this is {type(item).__name__}."
        notes[:] = [Note("not-an-object", excerpt=excerpt(item), why=why)]
        return None
    if missing := [key for key in FORMATS[layout.name].keys if key not in item]:
        has = escape_invisible(", ".join(map(str, item))[:80])
        names = [(name, layout.columns.get(name, name)) for name in missing]
        notes[:] = [
            Note("missing-key", name, has, f"There is no {theirs!r}; the row has {has or 'nothing'}.")
            for name, theirs in names
        ]
        return None
    is_left_out, state_notes = judge_state(item, layout.columns.get(STATUS), _read_names(layout.name))
    if is_left_out:
        notes[:] = state_notes
        return None
    notes += state_notes
    return item


def _note_task(item: object, layout: Layout, notes: list[Note]) -> None:
    """Note a turn, or the columns of a task, in a row of a file whose first rows are plain text."""
    if layout.is_guessed and is_single_turn(item):
        notes.append(Note("single-turn", excerpt=excerpt(item)))
    if layout.is_guessed and isinstance(item, Mapping) and task_columns(item):
        notes.append(Note("task-columns", excerpt=excerpt(dict(item)), why=refusal("task-columns", [item])))


def _other_columns(item: Item, names: set[str]) -> dict[str, object]:
    """Return the values of columns that no format reads, without empty ones."""
    values = {name: item.get(name) for name in sorted(names)}
    return {name: value for name, value in values.items() if value is not None and not _blank(value)}


def _blank(value: object) -> bool:
    return isinstance(value, str | float) and (value == "" or value != value)


def unused_columns(item: object, layout: Layout) -> list[str]:
    """Return the columns of a row that nothing reads, sorted."""
    flat_item = rename_columns(flatten(item)[0], layout.columns)
    return sorted(_unused_columns(flat_item, layout)) if isinstance(flat_item, Mapping) else []


def known_names(layout: Layout | None) -> set[str]:
    """Return the names of columns that a layout's format reads; without a layout, or where it is refused, of all."""
    kinds = [FORMATS[layout.name]] if layout and not FORMATS[layout.name].refused else FORMATS.values()
    return {name for kind in kinds for name in (*kind.keys, *kind.optional)} | {*_LINEAGE_KEYS, *marks.ROW_KEYS, STATUS}


def _unused_columns(item: Item, layout: Layout) -> set[str]:
    used_splits = {name for name, is_split in layout.split_columns.items() if is_split}
    system_names = readers.system_names(item) if "system" in FORMATS[layout.name].optional else ()
    names = {str(name) for name in item} - _read_names(layout.name) - {*system_names}
    names |= {"id"} if item.get("id") is not None and not _OWN_ID.fullmatch(str(item["id"])) else set()
    names |= {"split"} & item.keys() if layout.columns.get("split") == NO_COLUMN else set()
    return names - marks.row_mark_names(item) - used_splits


def _read_names(format_name: str) -> set[str]:
    """Return the names of the columns that a format reads."""
    kind = FORMATS[format_name]
    return {*kind.keys, *kind.optional, *_LINEAGE_KEYS}


def _names_without_marks(format_name: str) -> set[str]:
    """Return the names in which no split is looked for; what établi kept as ``columns`` was looked at when read."""
    return _read_names(format_name) | {"columns"}


def add_what_rows_tell(layout: Layout, items: Sequence[object]) -> Layout:
    """Return a layout with what only several rows tell: the columns that hold splits, and objects that are padded."""
    if layout.columns.get("split") == NO_COLUMN:
        return replace(layout, padded_keys=find_padded_keys(items))
    renamed_rows = [rename_columns(item, layout.columns) for item in items]
    columns = split_columns.find_split_columns(renamed_rows, _names_without_marks(layout.name))
    return replace(
        layout,
        split_columns=columns,
        padded_keys=find_padded_keys(items),
        measures=side_columns.find_measures(renamed_rows),
    )


def _row(messages: list[Message], item: Item, lineage: Mapping[str, object], layout: Layout, notes: list[Note]) -> Row:
    """Return a row: its id is a hash of its messages; fields of ``item`` have precedence over ``lineage``."""
    text = json.dumps(messages, ensure_ascii=True, default=str)
    row_id = hashlib.sha256(text.encode()).hexdigest()[:16]
    fields: dict[str, Any] = {"id": row_id, "messages": messages, **lineage}
    for name in (*LINEAGE, *_SPELT):
        value = item.get(name)
        if name == "parents" and isinstance(value, list):
            fields[name] = [str(part) for part in value]
        elif value is not None and value == value and str(value).strip():
            fields[_SPELT.get(name, name)] = str(value)
    _set_split(fields, item, layout, notes)
    for name, value in lineage_hints(fields.get("source") or "").items():
        fields.setdefault(name, value)
    if fields.get("generator") and not fields.get("terms") and (terms := terms_of(fields["generator"])):
        fields["terms"] = terms
    tools = parse_list(item.get("tools") or item.get("functions"))
    if isinstance(tools, list) and all(isinstance(tool, Mapping) for tool in tools):
        fields.update({"tools": [dict(tool) for tool in tools]} if tools else {})
    elif tools is not None and tools != "":
        notes.append(wrong_type_note("tools", tools, "a list of tools"))
    return cast(Row, fields)


def _set_split(fields: dict[str, object], item: Item, layout: Layout, notes: list[Note]) -> None:
    """Set a row's split as ``train``, ``validation`` or ``test``; note marks that are none of them."""
    mark, column = fields.get("split"), layout.columns.get("split")
    if column == NO_COLUMN:
        fields.pop("split", None)
        return
    names: set[str | None] = set()
    if mark is not None:
        by_flag = split_columns.read_flag(column or "", mark) or (TRAIN if read_flag(mark) is False else None)
        names.add(split_name(str(mark)) or (by_flag if column and split_columns.is_flag(column) else None))
        if names == {None}:
            why = f"split is {excerpt(mark)!r}, which is no split: the row is trained."
            notes.append(Note("unknown-split", "split", excerpt(mark), why))
    if column is None:
        names.add(split_columns.read_splits(item, layout.split_columns, _names_without_marks(layout.name), notes))
    if name := most_held_out(names):
        fields["split"] = name


_SYSTEM, _THOUGHT = readers.SYSTEM_KEYS, reasoning.KEYS
# If a row fits several formats, the first one counts: more specific keys come first.
FORMATS: dict[str, Format] = {
    "pretokenised": Format(("input_ids",), readers.reject_rows, ("labels", "attention_mask"), refused="pretokenised"),
    "preference": Format((), readers.reject_rows, refused="preference-data", told_by="a preferred and another answer"),
    "kto": Format((), readers.reject_rows, refused="feedback-data", told_by="an answer and a label"),
    PREFERRED_FORMAT: Format((), readers.preferred, (*_PREFERENCE_KEYS, *_SYSTEM, *_THOUGHT)),
    "chat": Format(("messages",), readers.chat, _SYSTEM),
    "sharegpt": Format(("conversations",), readers.sharegpt, _SYSTEM),
    "sharegpt-lists": Format(("conversations",), readers.sharegpt, told_by="turns"),
    "segments": Format(("segments",), readers.segments),
    "alpaca": Format(("instruction", "output"), readers.alpaca, ("input", "history", *_SYSTEM, *_THOUGHT)),
    "prompt-completion": Format(("prompt", "completion"), readers.pair, (*_SYSTEM, *_THOUGHT)),
    "dolly": Format(("instruction", "response"), readers.dolly, ("input", "context", *_SYSTEM, *_THOUGHT)),
    "text": Format(("text",), readers.plain),
    "task": Format((), readers.reject_rows, refused="task-columns", told_by="a text and columns of a task"),
    "turn": Format((), readers.reject_rows, refused="single-turn", told_by="a text and who says it"),
    "prompt-only": Format(("prompt",), readers.reject_rows, refused="prompt-only"),
    QUESTIONS: Format(("prompt",), readers.question, _SYSTEM, told_by="whoever asks for questions"),
}
