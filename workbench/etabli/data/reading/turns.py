"""Convert the turns of OpenAI, ShareGPT, TRL and LLaMA-Factory to messages."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from etabli.core import parsing
from etabli.core.contracts import Message
from etabli.data.notes import Note, escape_invisible, excerpt

_OPENAI = {role: role for role in ("system", "user", "assistant", "tool")} | {"developer": "system", "function": "tool"}
_SHAREGPT = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard", "model"), "assistant"),
    "system": "system",
    **dict.fromkeys(("observation", "tool", "function_response"), "tool"),
    **dict.fromkeys(("function_call", "tool_call"), "call"),
}
_KNOWN_KEYS = {
    *("name", "weight", "loss_weight", "train", "tool_calls", "tool_call_id", "function_call", "refusal", "audio"),
    *("reasoning_content", "thinking"),
}
CALL = "call"


@dataclass(frozen=True)
class Tags:
    """The keys of a turn's speaker and text, and the speakers' names with their roles."""

    role: str = "role"
    content: str = "content"
    roles: dict[str, str] = field(default_factory=lambda: _OPENAI)


OPENAI, SHAREGPT = Tags(), Tags("from", "value", _SHAREGPT)


def read_turns(turns: object, tags: Tags, notes: list[Note], where: str = "messages") -> list[Message]:
    """Return a message for each turn that can be read; mistakes are added to ``notes``."""
    turns = parse_list(turns)
    if not isinstance(turns, list):
        notes.append(wrong_type_note(where, turns, "a list of turns"))
        return []
    if not turns:
        notes.append(Note("no-messages", where, why="The conversation must be a list of turns that is not empty."))
    messages = [_turn(turn, tags, notes, f"{where}[{number}]") for number, turn in enumerate(turns)]
    return [message for message in messages if message is not None]


def parse_list(value: object) -> object:
    """Return a list that a table may hold as JSON text or as an array; other values as they are."""
    if isinstance(value, str) and value.lstrip()[:1] in "[{":
        try:
            return parsing.parse_json(value, lenient=True)
        except parsing.ParseError:
            return value
    return value.tolist() if hasattr(value, "tolist") else value


def wrong_type_note(where: str, value: object, wanted: str) -> Note:
    """Return the note for a value of another type than the format has."""
    name = where.rsplit(".", 1)[-1]
    return Note("wrong-type", where, excerpt(value), f"{name} is {type(value).__name__}, not {wanted}.")


def _turn(turn: object, tags: Tags, notes: list[Note], where: str) -> Message | None:
    if not isinstance(turn, Mapping):
        notes.append(wrong_type_note(where, turn, "an object with a role and a content"))
        return None
    for name in turn:
        if name not in (tags.role, tags.content) and name not in _KNOWN_KEYS and turn[name] is not None:
            notes.append(Note("unknown-key", f"{where}.{escape_invisible(str(name))}", excerpt(turn[name])))
    role = _role(turn, tags, notes, where)
    if role is None:
        return None
    if role == CALL:
        return _call_message(turn.get(tags.content), notes, f"{where}.{tags.content}")
    message: Message = {"role": role, "content": read_content(turn, tags, notes, where)}
    _train(turn, message, notes, where)
    _tools(turn, message, notes, where)
    return message


def _role(turn: Mapping[str, object], tags: Tags, notes: list[Note], where: str) -> str | None:
    speaker = turn.get(tags.role)
    if tags.role not in turn:
        notes.append(
            Note("missing-key", f"{where}.{tags.role}", excerpt(dict(turn)), f"The turn has no {tags.role!r}.")
        )
    elif not isinstance(speaker, str):
        notes.append(wrong_type_note(f"{where}.{tags.role}", speaker, "text"))
    elif speaker not in tags.roles:
        known_roles = ", ".join(sorted(tags.roles))
        notes.append(
            Note(
                "unknown-role",
                f"{where}.{tags.role}",
                excerpt(speaker),
                f"Nobody knows the role {escape_invisible(speaker)!r}; known are {known_roles}.",
            )
        )
    else:
        return tags.roles[speaker]
    return None


def read_content(turn: Mapping[str, object], tags: Tags, notes: list[Note], where: str) -> str:
    """Return a turn's text, with its parts joined if it has several."""
    name, value = f"{where}.{tags.content}", turn.get(tags.content)
    calls = turn.get("tool_calls") or turn.get("function_call")
    value = turn.get("refusal") if value is None and isinstance(turn.get("refusal"), str) else value
    if tags.content not in turn and not calls:
        notes.append(Note("missing-key", name, excerpt(dict(turn)), f"The turn has no {tags.content!r}."))
    elif isinstance(value, str):
        return value
    elif isinstance(value, Iterable) and not isinstance(value, Mapping):
        return "".join(_part(part, notes, f"{name}[{number}]") for number, part in enumerate(value))
    elif value is not None or not calls:
        notes.append(wrong_type_note(name, value, "text"))
    return ""


def _part(part: object, notes: list[Note], where: str) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        notes.append(wrong_type_note(where, part, "a part with a type"))
        return ""
    text = part.get("text", part.get("value"))
    if part.get("type", "text") not in ("text", "input_text", "output_text"):
        notes.append(
            Note(
                "not-text",
                where,
                excerpt(dict(part)),
                f"A part of type {escape_invisible(str(part['type']))!r}: this trains text models.",
            )
        )
    elif not isinstance(text, str):
        notes.append(wrong_type_note(where, text, "text"))
    else:
        return text
    return ""


def _train(turn: Mapping[str, object], message: Message, notes: list[Note], where: str) -> None:
    """OpenAI's weight, LLaMA-Factory's loss_weight, and our own train: 0 means that an answer is not learned."""
    for name in ("weight", "loss_weight", "train"):
        value = turn.get(name)
        if value is None:
            continue
        if isinstance(value, str | list | dict) or value not in (0, 1):
            notes.append(
                Note(
                    "wrong-type", f"{where}.{name}", excerpt(value), f"{name} is {excerpt(value)!r}; known are 0 and 1."
                )
            )
        elif message["role"] == "assistant":
            message["train"] = bool(value)


def _tools(turn: Mapping[str, object], message: Message, notes: list[Note], where: str) -> None:
    calls = parse_list(turn.get("tool_calls"))
    if turn.get("function_call"):
        calls = [{"type": "function", "function": turn["function_call"]}]
    if calls is not None and not isinstance(calls, list):
        notes.append(wrong_type_note(f"{where}.tool_calls", calls, "a list"))
    elif calls:
        parsed_calls = [_call(call, notes, f"{where}.tool_calls[{number}]") for number, call in enumerate(calls)]
        message["tool_calls"] = [call for call in parsed_calls if call]
    for name in ("name", "tool_call_id"):
        if isinstance(value := turn.get(name), str):
            message[name] = value


def _call_message(value: object, notes: list[Note], where: str) -> Message:
    """Return the message of a ShareGPT turn of calls: JSON of one call or of several."""
    calls = parse_list(value)
    calls = calls if isinstance(calls, list) else [calls]
    parsed_calls = [_call(call, notes, where) for call in calls]
    return {"role": "assistant", "content": "", "tool_calls": [call for call in parsed_calls if call]}


def _call(call: Any, notes: list[Note], where: str) -> dict[str, object] | None:
    """Return a call in the form that chat templates expect: its arguments are an object, not text."""
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        notes.append(Note("tool-call", where, excerpt(call), "A tool call needs the name of a function."))
        return None
    arguments = parse_list(function.get("arguments") or {})
    if not isinstance(arguments, Mapping):
        notes.append(
            Note(
                "tool-call",
                f"{where}.arguments",
                excerpt(arguments),
                "The arguments of a tool call must be a JSON object.",
            )
        )
        return None
    call_id = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    return {**call_id, "type": "function", "function": {"name": function["name"], "arguments": dict(arguments)}}
