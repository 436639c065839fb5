"""Tools and tool calls with a mark in place of each name and value: what a template leaves out has no mark in its text.

Names can't be looked for as they are: ``add`` stands in ``address``, and a name in a call may come from another call.
"""

from collections.abc import Iterator
from itertools import count
from typing import cast

from etabli.core.contracts import Message
from etabli.rendering.template_engine import Tools

_Marks = dict[str, str]  # mark -> what it stands for
_FIRST_NUMBER = 770_001  # marks of numbers; no template writes such a number itself


def mark_tools(tools: list[dict[str, object]]) -> tuple[list[dict[str, object]], dict[str, str]]:
    """Return tools with marks in place of names, descriptions and arguments; and the tool of each mark."""
    marks: _Marks = {}
    return [_mark_tool(number, tool, marks) for number, tool in enumerate(tools)], marks


def _mark_tool(number: int, tool: dict[str, object], marks: _Marks) -> dict[str, object]:
    function = tool.get("function")
    if isinstance(function, dict):
        return {**tool, "function": _mark_tool(number, function, marks)}
    marked, name = dict(tool), str(tool.get("name"))
    for key in ("name", "description"):
        if tool.get(key):
            marked[key] = f"tool{key}{number:04}z"
            marks[str(marked[key])] = name
    schema = tool.get("parameters")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if isinstance(schema, dict) and isinstance(properties, dict):
        names = {key: f"toolargument{number:04}x{place:04}z" for place, key in enumerate(properties)}
        marks.update(dict.fromkeys(names.values(), name))
        required = [names.get(key, key) for key in schema.get("required") or []]
        arguments = {names[key]: value for key, value in properties.items()}
        marked["parameters"] = {**schema, "properties": arguments, **({"required": required} if required else {})}
    return marked


def mark_calls(message: Message) -> tuple[Message, dict[str, str]]:
    """Return a message whose calls have marks in place of names and arguments; and what each mark stands for."""
    marks: _Marks = {}
    numbers = count(_FIRST_NUMBER)
    calls = [_mark_call(call, marks, numbers) for call in message.get("tool_calls") or []]
    return cast(Message, {**message, "tool_calls": calls}), marks


def _mark_call(call: dict[str, object], marks: _Marks, numbers: Iterator[int]) -> dict[str, object]:
    function = call.get("function")
    if not isinstance(function, dict):
        return call
    name = str(function.get("name"))
    mark = f"call{next(numbers)}z"
    marks[mark] = repr(name)
    arguments = _mark_value(function.get("arguments"), f"an argument of {name!r}", marks, numbers)
    return {**call, "function": {**function, "name": mark, "arguments": arguments}}


def _mark_value(value: object, what: str, marks: _Marks, numbers: Iterator[int]) -> object:
    """Return a value with marks in place of its keys, texts and numbers; true, false and null have no other form."""
    if isinstance(value, dict):
        return {
            str(_mark_value(str(key), what, marks, numbers)): _mark_value(item, f"{key!r} of {what}", marks, numbers)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_mark_value(item, what, marks, numbers) for item in value]
    if isinstance(value, bool) or value is None or value == "":
        return value
    number = next(numbers)
    mark: object = number if isinstance(value, int | float) else f"value{number}z"
    marks[str(mark)] = what
    return mark


def unwritten(text: str, marks: dict[str, str]) -> list[str]:
    """Return what a text leaves out, each once, in order."""
    return list(dict.fromkeys(name for mark, name in marks.items() if mark not in text))


def has_tools(tools: Tools) -> bool:
    """Return whether there are tools, each an object."""
    return bool(tools) and all(isinstance(tool, dict) for tool in tools or [])
