"""Gemini's ``contents``, as Vertex AI tunes on them, as ``messages``."""

import json
from collections.abc import Iterator, Mapping

from etabli.data.notes import Note
from etabli.data.reading.layout import Item

_CALL, _RESPONSE = ("functionCall", "function_call"), ("functionResponse", "function_response")
_DECLARATIONS = ("functionDeclarations", "function_declarations")


def is_gemini(item: Item) -> bool:
    """Return whether a row holds turns under ``contents``, each with ``parts``."""
    contents = item.get("contents")
    return isinstance(contents, list) and all(isinstance(turn, Mapping) and "parts" in turn for turn in contents)


def flatten(item: Item) -> tuple[dict[str, object], list[Note]]:
    """Return the row with ``messages`` and ``tools`` as OpenAI writes them."""
    contents, declared_tools = item["contents"], item.get("tools")
    messages = [message for turn in contents for message in _messages(turn)] if isinstance(contents, list) else []
    columns = {name: value for name, value in item.items() if name not in ("contents", "tools")}
    tools = list(_tools(declared_tools)) if isinstance(declared_tools, list) else declared_tools
    return {**columns, "messages": messages, **({"tools": tools} if tools else {})}, []


def _messages(turn: Mapping[str, object]) -> Iterator[dict[str, object]]:
    """Yield a turn's message, or one of the role ``tool`` for each response of a function in it."""
    parts = turn["parts"] if isinstance(turn["parts"], list) else [turn["parts"]]
    rest = {name: value for name, value in turn.items() if name not in ("role", "parts")}
    responses = [response for part in parts if (response := _under(part, _RESPONSE)) is not None]
    for response in responses:
        content = json.dumps(response.get("response"), ensure_ascii=False)
        yield {"role": "tool", "name": response.get("name"), "content": content}
    calls = [call for part in parts if (call := _under(part, _CALL)) is not None]
    texts = [part for part in parts if _under(part, (*_CALL, *_RESPONSE)) is None]
    if texts or calls or not responses:
        yield {"role": turn.get("role", "user"), "content": texts, **rest, **_tool_calls(calls)}


def _tool_calls(calls: list[Mapping[str, object]]) -> dict[str, object]:
    functions = [{"name": call.get("name"), "arguments": call.get("args") or {}} for call in calls]
    return {"tool_calls": [{"type": "function", "function": function} for function in functions]} if calls else {}


def _under(part: object, names: tuple[str, ...]) -> Mapping[str, object] | None:
    values = (part.get(name) for name in names) if isinstance(part, Mapping) else ()
    return next((value for value in values if isinstance(value, Mapping)), None)


def _tools(tools: list[object]) -> Iterator[object]:
    for tool in tools:
        functions = [tool[name] for name in _DECLARATIONS if isinstance(tool, Mapping) and name in tool]
        if functions:
            yield from ({"type": "function", "function": function} for function in functions[0])
        else:
            yield tool
