"""The formats that rows come in: told by their keys, turned into conversations.

What is wrong with a row is noted, never raised, so that a check can name all of it and a reader the first ten.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from etabli.core.contracts import Message, Row
from etabli.data.licences import hints, terms_of
from etabli.data.notes import Note, escaped, excerpt
from etabli.data.reading import readers, turns
from etabli.data.reading.layout import Format, Item, Layout
from etabli.data.reading.turns import wrong_type

LINEAGE = ("lang", "source", "licence", "terms", "generator", "created", "parents", "split", "template")
_SPELT = {"license": "licence", "language": "lang"}
_MEDIA = {"images", "image", "videos", "video", "audios", "audio"}
_ABOUT = {
    *LINEAGE,
    *_SPELT,
    "id",
    "tools",
    "functions",
    "parallel_tool_calls",
    "chat_template_kwargs",
    "system",
    *_MEDIA,
}
PREFERRED = "preferred"
QUESTIONS = "questions"  # prompts without answers: nothing to train on, but something to ask
PLAIN_FORMATS = ("text", "segments")  # no conversations: no chat template is asked for


def guess(items: Sequence[Any], columns: Mapping[str, str] | None = None) -> Layout | None:
    """The format that fits most of some rows, and the reason."""
    renamed = [rename(item, columns or {}) for item in items]
    votes = Counter(name for item in renamed if (name := _told(item)))
    if not votes:
        return None
    name, count = votes.most_common(1)[0]
    keys = " and ".join(FORMATS[name].keys) or FORMATS[name].told_by
    reason = f"{count} of the first {len(items)} rows have {keys}"
    return Layout(name, reason, dict(columns or {}))


def _told(item: Any) -> str | None:
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


def rename(item: Any, columns: Mapping[str, str]) -> Any:
    """A row with its columns called as the format calls them."""
    if not isinstance(item, Mapping) or not columns:
        return item
    taken = set(columns.values())
    rest = {name: value for name, value in item.items() if name not in taken}
    return rest | {new: item[old] for new, old in columns.items() if old in item}


def convert(item: Any, layout: Layout, about: Mapping[str, Any]) -> tuple[Row | None, list[Note]]:
    """A row's conversation with its lineage, if there is one to be had, and all that is wrong with it."""
    notes: list[Note] = []
    item = rename(item, layout.columns)
    kind = FORMATS[layout.name]
    if isinstance(item, list) and layout.name == "sharegpt-lists":
        item = {"conversations": item}
    if not isinstance(item, Mapping):
        return None, [
            Note("not-an-object", excerpt=excerpt(item), why=f"A row must be an object; this is {type(item).__name__}.")
        ]
    missing = [key for key in kind.keys if key not in item]
    if missing:
        has = escaped(", ".join(map(str, item))[:80])
        return None, [
            Note("missing-key", name, has, f"There is no {name!r}; the row has {has or 'nothing'}.") for name in missing
        ]
    for name in _MEDIA & item.keys():
        if held := item[name]:
            notes.append(Note("not-text", name, excerpt(held), f"The row comes with {name}: this trains text models."))
    messages = kind.read(item, notes, layout)
    if not messages:
        return None, notes
    row = _row(messages, item, about, notes)
    if others := _others(item, unused(item, layout)):
        row["columns"] = others
    return row, notes


def _others(item: Item, names: set[str]) -> dict[str, Any]:
    """What stands in columns that no format reads, where anything does."""
    held = {name: item.get(name) for name in sorted(names)}
    return {name: value for name, value in held.items() if value is not None and not _blank(value)}


def _blank(value: Any) -> bool:
    return isinstance(value, str | float) and (value == "" or value != value)


def unused(item: Any, layout: Layout) -> set[str]:
    """Columns that nothing reads."""
    if not isinstance(item, Mapping):
        return set()
    kind = FORMATS[layout.name]
    return {str(name) for name in rename(item, layout.columns)} - {*kind.keys, *kind.optional} - _ABOUT


def _row(messages: list[Message], item: Item, about: Mapping[str, Any], notes: list[Note]) -> Row:
    said = json.dumps(messages, ensure_ascii=True, default=str)
    row: Row = {"id": hashlib.sha256(said.encode()).hexdigest()[:16], "messages": messages, **about}
    for name in (*LINEAGE, *_SPELT):
        value = item.get(name)
        if value is not None and value == value and str(value).strip():
            several = name == "parents" and isinstance(value, list)
            row[_SPELT.get(name, name)] = [str(part) for part in value] if several else str(value)
    for name, value in hints(row.get("source") or "").items():
        row.setdefault(name, value)
    if row.get("generator") and not row.get("terms") and (terms := terms_of(row["generator"])):
        row["terms"] = terms
    tools = turns.listed(item.get("tools") or item.get("functions"))
    if isinstance(tools, list) and all(isinstance(tool, Mapping) for tool in tools):
        row.update({"tools": [dict(tool) for tool in tools]} if tools else {})
    elif tools is not None and tools != "":
        notes.append(wrong_type("tools", tools, "a list of tools"))
    return row


# The order decides where a row fits several: the more telling keys first.
FORMATS: dict[str, Format] = {
    "pretokenised": Format(("input_ids",), readers.refused, ("labels", "attention_mask"), refused="pretokenised"),
    "preference": Format((), readers.refused, refused="preference-data", told_by="a preferred and another answer"),
    "kto": Format((), readers.refused, refused="feedback-data", told_by="an answer and a label"),
    PREFERRED: Format((), readers.preferred, (
        "prompt", "chosen", "rejected", "label", "messages", "conversations", "completion", "instruction", "input",
        "preferred_output", "non_preferred_output",
    )),
    "chat": Format(("messages",), readers.chat),
    "sharegpt": Format(("conversations",), readers.sharegpt),
    "sharegpt-lists": Format(("conversations",), readers.sharegpt, told_by="turns"),
    "segments": Format(("segments",), readers.segments),
    "alpaca": Format(("instruction", "output"), readers.alpaca, ("input", "history")),
    "prompt-completion": Format(("prompt", "completion"), readers.pair),
    "text": Format(("text",), readers.plain),
    "prompt-only": Format(("prompt",), readers.refused, refused="prompt-only"),
    QUESTIONS: Format(("prompt",), readers.question, told_by="whoever asks for questions"),
}  # fmt: skip
