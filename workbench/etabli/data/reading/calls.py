"""Read tool calls: OpenAI's, ShareGPT's and LLaMA-Factory's."""

from collections.abc import Mapping
from typing import Any

from etabli.core.contracts import Message
from etabli.data.notes import Note, excerpt
from etabli.data.reading.values import parse_list, wrong_type_note


def set_calls(turn: Mapping[str, object], message: Message, notes: list[Note], where: str) -> None:
    """Set the tool calls of a message, the name of its speaker and the call that it answers."""
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
        elif value is not None:
            notes.append(wrong_type_note(f"{where}.{name}", value, "text"))


def call_message(value: object, notes: list[Note], where: str) -> Message:
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
        why = "The arguments of a tool call must be a JSON object."
        notes.append(Note("tool-call", f"{where}.arguments", excerpt(arguments), why))
        return None
    call_id = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    return {**call_id, "type": "function", "function": {"name": function["name"], "arguments": dict(arguments)}}
