"""The formats that rows come in: told by their keys, turned into conversations.

What is wrong with a row is noted, never raised, so that a check can name all of it and a reader the first ten.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from etabli.contracts import Message, Row
from etabli.data.licences import hints, terms_of
from etabli.data.notes import Note, escaped, excerpt
from etabli.data.reading import turns
from etabli.data.reading.turns import OPENAI, SHAREGPT, Tags, wrong_type

Item = dict[str, Any]
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
PLAIN_FORMATS = ("text", "segments")  # no conversations: no chat template is asked for


@dataclass(frozen=True)
class Layout:
    """How the rows of a source are read: the format, why it was chosen, and its column names.

    ``columns`` maps the format's name of a column to the file's.
    """

    name: str
    reason: str = "named by you"
    columns: Mapping[str, str] = field(default_factory=dict)
    tags: Tags | None = None


@dataclass(frozen=True)
class Format:
    """Keys that tell it, keys it may have besides, and what makes messages of a row."""

    keys: tuple[str, ...]
    read: Callable[[Item, list[Note], Layout], list[Message]]
    optional: tuple[str, ...] = ()
    refused: str = ""  # the code that says why rows like these are not read
    told_by: str = ""  # where keys alone don't tell it


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
    if _thumb(item.get("label")) is not None and {"messages", "completion", "conversations"} & item.keys():
        return "kto"
    return next((name for name, kind in FORMATS.items() if kind.keys and all(key in item for key in kind.keys)), None)


def _thumb(label: Any) -> bool | None:
    """Up, down, or no thumb at all."""
    return label if isinstance(label, bool) else {"true": True, "false": False}.get(str(label).casefold())


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
    return _row(messages, item, about, notes), notes


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


# --- formats: each makes messages of a row ---------------------------------------------------------------------------


def _text(item: Item, key: str, notes: list[Note], code: str) -> str:
    """A text that has to be there. ``code``: what it is called if it is empty."""
    value = item.get(key)
    if not isinstance(value, str):
        notes.append(wrong_type(key, value, "text"))
        return ""
    if not value.strip():
        notes.append(Note(code, key, why=f"{key} is empty."))
    return value


def _extra(item: Item, key: str, notes: list[Note]) -> str:
    value = item.get(key)
    if value is None or value != value:
        return ""
    if not isinstance(value, str):
        notes.append(wrong_type(key, value, "text"))
        return ""
    return value


def _said(role: str, text: str) -> list[Message]:
    return [{"role": role, "content": text}] if text.strip() else []


def _alpaca(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    context = _extra(item, "input", notes)
    if context.strip().casefold().strip("<>[]() .").replace(" ", "") in ("noinput", "n/a", "na", "none", "nan", "null"):
        notes.append(Note("placeholder", "input", excerpt(context), "A placeholder stands where there is no input."))
    # An empty instruction is one only if there is no input to work on either.
    asked = _extra(item, "instruction", notes) if context.strip() else _text(item, "instruction", notes, "empty-prompt")
    asked = "\n\n".join(part for part in (asked, context) if part.strip()) or asked
    system = _said("system", _extra(item, "system", notes))
    return [*system, *_history(item, notes), {"role": "user", "content": asked}, _answer(item, "output", notes)]


def _history(item: Item, notes: list[Note]) -> list[Message]:
    past = turns.listed(item.get("history")) or []
    if not isinstance(past, list) or not all(map(_is_pair, past)):
        notes.append(wrong_type("history", past, "a list of pairs of texts"))
        return []
    return [{"role": role, "content": text} for pair in past for role, text in zip(("user", "assistant"), pair)]


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)


def _answer(item: Item, key: str, notes: list[Note]) -> Message:
    return {"role": "assistant", "content": _text(item, key, notes, "empty-answer")}


def _pair(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Prompt and completion, each text or turns (TRL's standard and conversational)."""
    system = _said("system", _extra(item, "system", notes))
    return [*system, *_side(item, "prompt", "user", notes), *_side(item, "completion", "assistant", notes)]


def _side(item: Item, key: str, role: str, notes: list[Note], tags: Tags | None = None) -> list[Message]:
    value = item.get(key)
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, list) or (
        isinstance(value, str) and isinstance(turns.listed(value), list) and '"role"' in value
    ):
        return turns.conversation(value, tags or _tags(value), notes, key)
    return [
        {"role": role, "content": _text(item, key, notes, "empty-answer" if role == "assistant" else "empty-prompt")}
    ]


def _tags(value: Any) -> Tags:
    return SHAREGPT if "from" in _first_turn(value) else OPENAI


def _first_turn(value: Any) -> Mapping:
    held = turns.listed(value)
    return held[0] if isinstance(held, list) and held and isinstance(held[0], Mapping) else {}


def _chat(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    return turns.conversation(item["messages"], layout.tags or _tags(item["messages"]), notes)


def _sharegpt(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    system = _said("system", _extra(item, "system", notes))
    tags = layout.tags or replace(SHAREGPT, **_names(item["conversations"]))
    return [*system, *turns.conversation(item["conversations"], tags, notes, "conversations")]


def _names(value: Any) -> dict[str, str]:
    """ShareGPT turns that are written as role and content."""
    return {"role": "role", "content": "content"} if "role" in _first_turn(value) else {}


def _plain(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    return [{"role": "text", "content": _text(item, "text", notes, "empty-answer")}]


def _segments(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """axolotl's input_output: stretches of text, each trained or not."""
    made: list[Message] = []
    segments = turns.listed(item["segments"])
    if not isinstance(segments, list):
        notes.append(wrong_type("segments", segments, "a list"))
        return []
    for number, part in enumerate(segments):
        if (
            not isinstance(part, Mapping)
            or not isinstance(part.get("text"), str)
            or not isinstance(part.get("label"), bool)
        ):
            notes.append(
                Note(
                    "wrong-type",
                    f"segments[{number}]",
                    excerpt(part),
                    "A segment needs a text and a label that is true or false.",
                )
            )
        else:
            made.append({"role": "text", "content": part["text"], "train": part["label"]})
    return made


def _preferred(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """The preferred answer of preference data; of feedback (KTO), the answers with a thumb up."""
    if "label" in item and "chosen" not in item:
        if not _thumb(item["label"]):
            notes.append(Note("left-out", "label", excerpt(item["label"])))
            return []
        name = next((name for name in ("messages", "conversations", "completion") if name in item), "completion")
        kind = {"messages": _chat, "conversations": _sharegpt, "completion": _pair}[name]
        return kind(item, notes, layout)
    if "preferred_output" in item:
        given, name = item.get("input"), "preferred_output"
        asked = given.get("messages") if isinstance(given, Mapping) else given
        return [*turns.conversation(asked, OPENAI, notes, "input.messages"), *_side(item, name, "assistant", notes)]
    if "chosen" not in item:
        notes.append(Note("missing-key", "chosen", why="There is no 'chosen'."))
        return []
    return [*_question(item, notes, layout), *_side(item, "chosen", "assistant", notes, layout.tags)]


def _question(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    if "conversations" in item:
        return _sharegpt(item, notes, layout)
    if "instruction" in item:
        return _alpaca({**item, "output": "-"}, notes, layout)[:-1]
    if "prompt" in item:
        return [*_said("system", _extra(item, "system", notes)), *_side(item, "prompt", "user", notes)]
    return []  # the prompt is within the answers


def _refused(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    return []


# The order decides where a row fits several: the more telling keys first.
FORMATS: dict[str, Format] = {
    "pretokenised": Format(("input_ids",), _refused, ("labels", "attention_mask"), refused="pretokenised"),
    "preference": Format((), _refused, refused="preference-data", told_by="a preferred and another answer"),
    "kto": Format((), _refused, refused="feedback-data", told_by="an answer and a label"),
    PREFERRED: Format((), _preferred, (
        "prompt", "chosen", "rejected", "label", "messages", "conversations", "completion", "instruction", "input",
        "preferred_output", "non_preferred_output",
    )),
    "chat": Format(("messages",), _chat),
    "sharegpt": Format(("conversations",), _sharegpt),
    "sharegpt-lists": Format(("conversations",), _sharegpt, told_by="turns"),
    "segments": Format(("segments",), _segments),
    "alpaca": Format(("instruction", "output"), _alpaca, ("input", "history")),
    "prompt-completion": Format(("prompt", "completion"), _pair),
    "text": Format(("text",), _plain),
    "prompt-only": Format(("prompt",), _refused, refused="prompt-only"),
}  # fmt: skip
