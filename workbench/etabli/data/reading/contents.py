"""Read the content of a turn: a text, or parts of it, of which some may be thoughts or have marks of their own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from etabli.data.notes import Note, escape_invisible, excerpt
from etabli.data.reading import marks, reasoning
from etabli.data.reading.values import wrong_type_note

_TEXT_TYPES = ("text", "input_text", "output_text")
_CALL_TYPES = {"tool_use", "tool_result", "server_tool_use", "toolUse", "toolResult"}  # Anthropic's and Bedrock's
# Gemini's and Bedrock's parts that are no text: they have a key of their own, and no type.
_MEDIA_KEYS = {"fileData", "file_data", "inlineData", "inline_data", "image", "document", "video", "audio"}
_PART_KEYS = {"type", "text", "value", "annotations", "cache_control", "logprobs", "citations"}


@dataclass
class Content:
    """The parts of a content: their texts, the mark of each of these, and the thoughts before them."""

    texts: list[str] = field(default_factory=list)
    marks: list[bool | None] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)

    @property
    def thought(self) -> str | None:
        """The thoughts as one text; None if there is none."""
        return "\n\n".join(self.thoughts) if self.thoughts else None


def read_content(turn: Mapping[str, object], key: str, notes: list[Note], where: str) -> Content:
    """Return the content that a turn has under ``key``."""
    name, value = f"{where}.{key}", turn.get(key)
    calls = turn.get("tool_calls") or turn.get("function_call")
    value = turn.get("refusal") if value is None and isinstance(turn.get("refusal"), str) else value
    if key not in turn and not calls:
        notes.append(Note("missing-key", name, excerpt(dict(turn)), f"The turn has no {key!r}."))
    elif isinstance(value, str):
        return Content([value], [None])
    elif isinstance(value, Iterable) and not isinstance(value, Mapping):
        return _read_parts(value, notes, name)
    elif value is not None or not calls:
        notes.append(wrong_type_note(name, value, "text"))
    return Content()


def join_parts(value: object, notes: list[Note], where: str) -> str:
    """Return the text of a value that is a text, or parts of a text."""
    parts = value if isinstance(value, list) else [value]
    return "".join(_read_parts(parts, notes, where).texts)


def _read_parts(parts: Iterable[object], notes: list[Note], where: str) -> Content:
    content = Content()
    for number, part in enumerate(parts):
        place = f"{where}[{number}]"
        if isinstance(part, Mapping) and part and part.keys() <= {"cachePoint", "cache_control"}:
            continue  # where a service may keep what came before: no text
        if isinstance(part, Mapping) and reasoning.is_thought(part):
            _add_thought(content, part, notes, place)
        else:
            content.texts.append(_part(part, notes, place))
            content.marks.append(marks.read_mark(part, notes, place) if isinstance(part, Mapping) else None)
    return content


def _add_thought(content: Content, part: Mapping[str, object], notes: list[Note], where: str) -> None:
    if any(content.texts):
        why = "A thought after a text: an answer has one thought, before its content. Write two turns, or leave it out."
        notes.append(Note("reasoning", where, excerpt(dict(part)), why))
    for name in sorted(marks.mark_names(part)):
        why = "A mark on a thought is not used: the recipe's train_on says whether thoughts are trained."
        notes.append(Note("unknown-key", f"{where}.{name}", excerpt(part[name]), why))
    content.thoughts.append(reasoning.read_part(part, notes, where))


def _part(part: object, notes: list[Note], where: str) -> str:
    """Return the text of one part."""
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        notes.append(wrong_type_note(where, part, "a part with a type"))
        return ""
    kind, text = part.get("type", "text"), part.get("text", part.get("value"))
    if kind == "text" and text is None and (media := sorted(_MEDIA_KEYS & part.keys())):
        kind = media[0]
    if kind in _CALL_TYPES or _CALL_TYPES & part.keys():
        why = "A tool call within a content: write it under tool_calls, and its result as a turn of the role tool."
        notes.append(Note("tool-call", where, excerpt(dict(part)), why))
    elif kind not in _TEXT_TYPES:
        why = f"A part of type {escape_invisible(str(kind))!r}: this trains text models."
        notes.append(Note("not-text", where, excerpt(dict(part)), why))
    elif not isinstance(text, str):
        notes.append(wrong_type_note(f"{where}.text", text, "text"))
    else:
        _note_unknown_keys(part, notes, where)
        return text
    return ""


def _note_unknown_keys(part: Mapping[str, object], notes: list[Note], where: str) -> None:
    for name in part.keys() - _PART_KEYS - marks.mark_names(part):
        if part[name] is not None:
            notes.append(Note("unknown-key", f"{where}.{escape_invisible(str(name))}", excerpt(part[name])))
