"""Turns of a conversation, as OpenAI, ShareGPT, TRL and LLaMA-Factory write them, to messages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from etabli.core import parsing
from etabli.core.contracts import Message
from etabli.data.notes import Note, escaped, excerpt

_OPENAI = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
    "function": "tool",
}  # fmt: skip
_SHAREGPT = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "bard": "assistant", "model": "assistant", "system": "system", "observation": "tool",
    "tool": "tool", "function_response": "tool", "function_call": "call", "tool_call": "call",
}  # fmt: skip
_KNOWN = {
    "name", "weight", "loss_weight", "train", "tool_calls", "tool_call_id", "function_call", "refusal", "audio",
    "reasoning_content", "thinking",
}  # fmt: skip
CALL = "call"


@dataclass(frozen=True)
class Tags:
    """Under which keys a turn keeps its speaker and its text, and what speakers are called."""

    role: str = "role"
    content: str = "content"
    roles: dict[str, str] = field(default_factory=lambda: _OPENAI)


OPENAI, SHAREGPT = Tags(), Tags("from", "value", _SHAREGPT)


def conversation(turns: Any, tags: Tags, notes: list[Note], where: str = "messages") -> list[Message]:
    """Every turn that can be read; what is wrong goes into ``notes``."""
    turns = listed(turns)
    if not isinstance(turns, list):
        notes.append(wrong_type(where, turns, "a list of turns"))
        return []
    if not turns:
        notes.append(Note("no-messages", where, why="The conversation must be a list of turns that is not empty."))
    made = [_turn(turn, tags, notes, f"{where}[{number}]") for number, turn in enumerate(turns)]
    return [message for message in made if message is not None]


def listed(value: Any) -> Any:
    """A list, also where a table holds it as JSON text."""
    if isinstance(value, str) and value.lstrip()[:1] in "[{":
        try:
            return parsing.parse_json(value, lenient=True)
        except parsing.Unparsed:
            return value
    return value.tolist() if hasattr(value, "tolist") else value


def wrong_type(where: str, value: Any, wanted: str) -> Note:
    """The note of a value that is something else than the format says."""
    name = where.rsplit(".", 1)[-1]
    return Note("wrong-type", where, excerpt(value), f"{name} is {type(value).__name__}, not {wanted}.")


def _turn(turn: Any, tags: Tags, notes: list[Note], where: str) -> Message | None:
    if not isinstance(turn, Mapping):
        notes.append(wrong_type(where, turn, "an object with a role and a content"))
        return None
    for name in turn:
        if name not in (tags.role, tags.content) and name not in _KNOWN and turn[name] is not None:
            notes.append(Note("unknown-key", f"{where}.{escaped(str(name))}", excerpt(turn[name])))
    role = _role(turn, tags, notes, where)
    if role is None:
        return None
    if role == CALL:
        return _called(turn.get(tags.content), notes, f"{where}.{tags.content}")
    message: Message = {"role": role, "content": content(turn, tags, notes, where)}
    _train(turn, message, notes, where)
    _tools(turn, message, notes, where)
    return message


def _role(turn: Mapping, tags: Tags, notes: list[Note], where: str) -> str | None:
    said = turn.get(tags.role)
    if tags.role not in turn:
        notes.append(
            Note("missing-key", f"{where}.{tags.role}", excerpt(dict(turn)), f"The turn has no {tags.role!r}.")
        )
    elif not isinstance(said, str):
        notes.append(wrong_type(f"{where}.{tags.role}", said, "text"))
    elif said not in tags.roles:
        known = ", ".join(sorted(tags.roles))
        notes.append(
            Note(
                "unknown-role",
                f"{where}.{tags.role}",
                excerpt(said),
                f"Nobody knows the role {escaped(said)!r}; known are {known}.",
            )
        )
    else:
        return tags.roles[said]
    return None


def content(turn: Mapping, tags: Tags, notes: list[Note], where: str) -> str:
    """A turn's text; its parts joined, if it has several."""
    name, value = f"{where}.{tags.content}", turn.get(tags.content)
    calls = turn.get("tool_calls") or turn.get("function_call")
    value = turn.get("refusal") if value is None and isinstance(turn.get("refusal"), str) else value
    if tags.content not in turn and not calls:
        notes.append(Note("missing-key", name, excerpt(dict(turn)), f"The turn has no {tags.content!r}."))
    elif isinstance(value, str):
        return value
    elif hasattr(value, "__iter__") and not isinstance(value, Mapping):
        return "".join(_part(part, notes, f"{name}[{number}]") for number, part in enumerate(value))
    elif value is not None or not calls:
        notes.append(wrong_type(name, value, "text"))
    return ""


def _part(part: Any, notes: list[Note], where: str) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        notes.append(wrong_type(where, part, "a part with a type"))
        return ""
    text = part.get("text", part.get("value"))
    if part.get("type", "text") not in ("text", "input_text", "output_text"):
        notes.append(
            Note(
                "not-text",
                where,
                excerpt(dict(part)),
                f"A part of type {escaped(str(part['type']))!r}: this trains text models.",
            )
        )
    elif not isinstance(text, str):
        notes.append(wrong_type(where, text, "text"))
    else:
        return text
    return ""


def _train(turn: Mapping, message: Message, notes: list[Note], where: str) -> None:
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


def _tools(turn: Mapping, message: Message, notes: list[Note], where: str) -> None:
    calls = listed(turn.get("tool_calls"))
    if turn.get("function_call"):
        calls = [{"type": "function", "function": turn["function_call"]}]
    if calls is not None and not isinstance(calls, list):
        notes.append(wrong_type(f"{where}.tool_calls", calls, "a list"))
    elif calls:
        made = [_call(call, notes, f"{where}.tool_calls[{number}]") for number, call in enumerate(calls)]
        message["tool_calls"] = [call for call in made if call]
    for name in ("name", "tool_call_id"):
        if isinstance(turn.get(name), str):
            message[name] = turn[name]


def _called(value: Any, notes: list[Note], where: str) -> Message:
    """A ShareGPT turn that is a call: JSON of one call or of several."""
    calls = listed(value)
    calls = calls if isinstance(calls, list) else [calls]
    made = [_call(call, notes, where) for call in calls]
    return {"role": "assistant", "content": "", "tool_calls": [call for call in made if call]}


def _call(call: Any, notes: list[Note], where: str) -> dict[str, Any] | None:
    """A call as chat templates want it: its arguments an object, not text."""
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        notes.append(Note("tool-call", where, excerpt(call), "A tool call needs the name of a function."))
        return None
    arguments = listed(function.get("arguments") or {})
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
    about = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    return {**about, "type": "function", "function": {"name": function["name"], "arguments": dict(arguments)}}
