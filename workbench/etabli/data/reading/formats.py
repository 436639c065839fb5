"""The formats of rows: detect one by its keys, and convert rows to conversations.

Mistakes of a row are noted and not raised, so that a check can report all of them and a reader the first ten.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

from etabli.core.contracts import Message, Row
from etabli.data.licences import lineage_hints, terms_of
from etabli.data.notes import Note, escape_invisible, excerpt
from etabli.data.reading import marks, readers, reasoning
from etabli.data.reading.columns import as_answer, task_columns
from etabli.data.reading.exports import flatten
from etabli.data.reading.layout import Format, Item, Layout
from etabli.data.reading.values import parse_list, wrong_type_note
from etabli.data.splits import TRAIN, split_name

LINEAGE = ("lang", "source", "licence", "terms", "generator", "created", "parents", "split", "template", "copy_group")
_SPELT = {"license": "licence", "language": "lang"}
_MEDIA = {"images", "image", "videos", "video", "audios", "audio"}
_OTHER_KEYS = {"id", "tools", "functions"}
_LINEAGE_KEYS = {*LINEAGE, *_SPELT, *_MEDIA, *_OTHER_KEYS}
_SPLIT_COLUMNS = {"Split", "SPLIT", "_split", "set", "subset", "partition", "phase", "fold", "data_split", "usage"}
_TEXT_COLUMNS = {"prompt", "completion", "instruction", "input", "output"}
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
    if (
        name == "text"
        and "text" not in (columns or {})
        and any(isinstance(row, Mapping) and task_columns(row) for row in renamed_rows)
    ):
        name = "task"
    keys = " and ".join(FORMATS[name].keys) or FORMATS[name].told_by
    reason = f"{count} of the first {len(items)} rows have {keys}"
    return Layout(name, reason, dict(columns or {}))


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
    return next((name for name, kind in FORMATS.items() if kind.keys and all(key in item for key in kind.keys)), None)


def rename_columns(item: object, columns: Mapping[str, str]) -> object:
    """Return a row with its columns renamed to the format's names."""
    if not isinstance(item, Mapping) or not columns:
        return item
    new_names = set(columns.values())
    rest = {name: value for name, value in item.items() if name not in new_names}
    return rest | {new: item[old] for new, old in columns.items() if old in item}


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
    item, notes = flatten(item)
    if item is None and notes:
        return None, notes
    item = _name_columns(item, layout.columns)
    kind = FORMATS[layout.name]
    if isinstance(item, list) and layout.name == "sharegpt-lists":
        item = {"conversations": item}
    if not isinstance(item, Mapping):
        return None, [
            Note("not-an-object", excerpt=excerpt(item), why=f"A row must be an object; this is {type(item).__name__}.")
        ]
    missing = [key for key in kind.keys if key not in item]
    if missing:
        has = escape_invisible(", ".join(map(str, item))[:80])
        return None, [
            Note("missing-key", name, has, f"There is no {name!r}; the row has {has or 'nothing'}.") for name in missing
        ]
    for name in _MEDIA & item.keys():
        if media := item[name]:
            notes.append(Note("not-text", name, excerpt(media), f"The row comes with {name}: this trains text models."))
    messages = kind.read(item, notes, layout)
    if not messages:
        return None, notes
    for number, message in enumerate(messages):
        reasoning.split_thought(message, notes, f"messages[{number}].content")
    row = _row(messages, item, lineage, notes)
    if other_columns := _other_columns(item, _unused_columns(item, layout)):
        row["columns"] = other_columns
    return row, notes


def _other_columns(item: Item, names: set[str]) -> dict[str, object]:
    """Return the values of columns that no format reads, without empty ones."""
    values = {name: item.get(name) for name in sorted(names)}
    return {name: value for name, value in values.items() if value is not None and not _blank(value)}


def _blank(value: object) -> bool:
    return isinstance(value, str | float) and (value == "" or value != value)


def unused_columns(item: object, layout: Layout) -> set[str]:
    """Return the columns of a row that nothing reads."""
    flat_item = rename_columns(flatten(item)[0], layout.columns)
    return _unused_columns(flat_item, layout) if isinstance(flat_item, Mapping) else set()


def known_names(layout: Layout | None) -> set[str]:
    """Return the names of columns that a layout's format reads; without a layout, or where it is refused, of all."""
    kinds = [FORMATS[layout.name]] if layout and not FORMATS[layout.name].refused else FORMATS.values()
    return {name for kind in kinds for name in (*kind.keys, *kind.optional)} | _LINEAGE_KEYS


def _unused_columns(item: Item, layout: Layout) -> set[str]:
    kind = FORMATS[layout.name]
    return {str(name) for name in item} - {*kind.keys, *kind.optional} - _LINEAGE_KEYS


def _row(messages: list[Message], item: Item, lineage: Mapping[str, object], notes: list[Note]) -> Row:
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
    _set_split(fields, item, notes)
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


def _set_split(fields: dict[str, object], item: Item, notes: list[Note]) -> None:
    """Set a row's split as ``train``, ``validation`` or ``test``; note marks that are none of them."""
    mark = fields.get("split")
    if mark is not None and (name := split_name(str(mark))):
        fields["split"] = name
    elif mark is not None:
        notes.append(Note("unknown-split", "split", excerpt(mark)))
    for name in item.keys() & _SPLIT_COLUMNS if mark is None else ():
        if split_name(str(item[name])) not in (None, TRAIN):
            why = f"The column {name!r} says {excerpt(item[name])!r}, and is not read: the row would be trained."
            notes.append(Note("split-column", str(name), excerpt(item[name]), f"{why} --column split={name}"))


_SYSTEM, _THOUGHT, _MARKS = readers.SYSTEM_KEYS, reasoning.KEYS, marks.ROW_KEYS
# If a row fits several formats, the first one counts: more specific keys come first.
FORMATS: dict[str, Format] = {
    "pretokenised": Format(("input_ids",), readers.reject_rows, ("labels", "attention_mask"), refused="pretokenised"),
    "preference": Format((), readers.reject_rows, refused="preference-data", told_by="a preferred and another answer"),
    "kto": Format((), readers.reject_rows, refused="feedback-data", told_by="an answer and a label"),
    PREFERRED_FORMAT: Format((), readers.preferred, (*_PREFERENCE_KEYS, *_SYSTEM, *_THOUGHT)),
    "chat": Format(("messages",), readers.chat, (*_SYSTEM, *_MARKS)),
    "sharegpt": Format(("conversations",), readers.sharegpt, (*_SYSTEM, *_MARKS)),
    "sharegpt-lists": Format(("conversations",), readers.sharegpt, told_by="turns"),
    "segments": Format(("segments",), readers.segments),
    "alpaca": Format(("instruction", "output"), readers.alpaca, ("input", "history", *_SYSTEM, *_THOUGHT)),
    "prompt-completion": Format(("prompt", "completion"), readers.pair, (*_SYSTEM, *_THOUGHT)),
    "text": Format(("text",), readers.plain),
    "task": Format((), readers.reject_rows, refused="task-columns", told_by="a text and columns of a task"),
    "prompt-only": Format(("prompt",), readers.reject_rows, refused="prompt-only"),
    QUESTIONS: Format(("prompt",), readers.question, _SYSTEM, told_by="whoever asks for questions"),
}
