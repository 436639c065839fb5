"""Parse the tool calls in an answer, in the form in which the model's chat template writes them.

There are three forms. A call may be one JSON value (Qwen, Hermes, Llama, Mistral); a name as text may stand before the
arguments as JSON (DeepSeek, GPT-OSS); or every argument may have marks of its own (``marked_calls``).
``call_probe`` reads the form off a template. What can't be parsed is no call.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import NamedTuple

from etabli.core.contracts import ToolCall
from etabli.rendering.forms import parse_arguments
from etabli.rendering.template_engine import Tools

WORD = r"[^\s<>{}\[\]()=:,\"']+"  # a name of a function or of an argument
_DECODER = json.JSONDecoder()


class CallPlace(NamedTuple):
    """A call in an answer, and the places of its first character and after its last; None: it can't be parsed."""

    call: ToolCall | None
    start: int
    end: int


def _is_within(position: int, places: list[CallPlace]) -> bool:
    """Is the position in a call? What stands there is its name or a part of its arguments."""
    return any(place.start <= position < place.end for place in places)


def _texts_in(values: tuple[object, ...]) -> Iterator[str]:
    """The texts in a tuple, and in the tuples that it holds."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            yield from _texts_in(value)


@dataclass(frozen=True)
class CallFormat:
    """How a template writes a call. ``lead`` stands before it; an empty lead: a call is the whole answer."""

    lead: str

    def marks(self) -> Iterator[str]:
        """Every text with which a call is written."""
        return _texts_in(astuple(self))

    def find(self, text: str, tools: Tools = None) -> list[CallPlace]:
        """The calls in an answer with its control tokens; ``tools`` tell which arguments are text."""
        raise NotImplementedError

    def parse(self, text: str, tools: Tools = None) -> list[ToolCall]:
        """The calls in an answer that can be parsed."""
        return [place.call for place in self.find(text, tools) if place.call]

    def count_unreadable(self, text: str, tools: Tools = None) -> int:
        """The number of calls that the text begins and that can't be parsed, whether others can be or not."""
        places = self.find(text, tools)
        marks = re.finditer(re.escape(self.lead.split()[0]), text) if self.lead.strip() else ()
        begun_count = sum(not _is_within(mark.start(), places) for mark in marks)
        return begun_count + sum(place.call is None for place in places)


@dataclass(frozen=True)
class JsonCalls(CallFormat):
    """One JSON value with name and arguments: an object, or a list of objects."""

    path: tuple[str, ...]  # keys from the call to the object that has the two
    name_key: str
    arguments_key: str

    def find(self, text: str, tools: Tools = None) -> list[CallPlace]:
        """The calls; without a lead the text has to be JSON, and nothing else."""
        if not self.lead.strip():
            return self._find_whole(text, tools)
        places: list[CallPlace] = []
        for match in flexible(self.lead).finditer(text):
            if _is_within(match.start(), places):
                continue
            value, end = decode(text, match.end())
            places += [CallPlace(call, match.start(), end) for call in self._read(value)]
        return places

    def _find_whole(self, text: str, tools: Tools) -> list[CallPlace]:
        """The calls of an answer that is nothing else; JSON that can't be parsed is a call if it names a tool."""
        value, end = decode(text, 0)
        calls = [] if text[end:].strip() else self._read(value)
        if not any(calls):
            name = re.compile(rf'\s*[\[{{].*?"{re.escape(self.name_key)}"\s*:\s*"([^"]+)"', re.DOTALL).match(text)
            calls = [None] if name and name[1] in function_names(tools) else []
        return [CallPlace(call, 0, len(text)) for call in calls]

    def _read(self, value: object) -> list[ToolCall | None]:
        return [self._read_one(item) for item in (value if isinstance(value, list) else [value])]

    def _read_one(self, value: object) -> ToolCall | None:
        for key in self.path:
            value = value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, dict) or self.arguments_key not in value:
            return None
        return make_call(value.get(self.name_key), value[self.arguments_key])


@dataclass(frozen=True)
class NameThenJson(CallFormat):
    """The name as text, and the arguments as JSON after it."""

    between: str

    def find(self, text: str, tools: Tools = None) -> list[CallPlace]:
        """The calls; arguments that are no JSON object make none."""
        begin = re.compile(f"{flexible(self.lead).pattern}({WORD}){flexible(self.between).pattern}")
        places: list[CallPlace] = []
        for match in begin.finditer(text):
            if _is_within(match.start(), places):
                continue
            value, end = decode(text, match.end())
            call: ToolCall | None = {"name": match[1], "arguments": value} if isinstance(value, dict) else None
            places.append(CallPlace(call, match.start(), end))
        return places


def common_beginning(first: str, second: str) -> str:
    """The longest text with which both begin."""
    different = (place for place, (one_sign, other_sign) in enumerate(zip(first, second)) if one_sign != other_sign)
    return first[: next(different, min(len(first), len(second)))]


def flexible(mark: str) -> re.Pattern[str]:
    """A pattern of a mark in which blanks may be any blanks, or none."""
    parts = [re.escape(part) for part in mark.split()]
    edges = [r"\s*" if mark != mark.lstrip() else "", r"\s*" if mark != mark.rstrip() else ""]
    return re.compile(edges[0] + r"\s*".join(parts) + (edges[1] if parts else ""))


def decode(text: str, start: int) -> tuple[object, int]:
    """The JSON value that begins there, after blanks, and where it ends; None if there is none."""
    start += len(text[start:]) - len(text[start:].lstrip())
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None, start
    return value, end


def make_call(name: object, arguments: object) -> ToolCall | None:
    """A call, if there are a name and arguments; no arguments are an empty object."""
    values = parse_arguments({} if arguments is None else arguments)
    return {"name": name, "arguments": values} if isinstance(name, str) and isinstance(values, dict) else None


def argument_schemas(tools: Tools, name: str) -> dict[str, object]:
    """The schema of each argument of a tool; empty where the tools have no such function, or no schema of it."""
    parameters = (function.get("parameters") for function in _functions(tools) if function.get("name") == name)
    return properties_of(next(parameters, None))


def function_names(tools: Tools) -> list[object]:
    """The names of the tools' functions."""
    return [function.get("name") for function in _functions(tools)]


def _functions(tools: Tools) -> Iterator[dict[str, object]]:
    """The functions of tools, which may stand under the key ``function`` or be the tools themselves."""
    for tool in tools or []:
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if isinstance(function, dict):
            yield function


def properties_of(schema: object) -> dict[str, object]:
    """The schemas of an object's properties."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return properties if isinstance(properties, dict) else {}


def due_calls(tool_calls: object) -> Iterator[ToolCall]:
    """The calls of a message."""
    for call in tool_calls if isinstance(tool_calls, list) else []:
        function = call.get("function", call) if isinstance(call, dict) else None
        parsed_call = make_call(function.get("name"), function.get("arguments")) if isinstance(function, dict) else None
        if parsed_call:
            yield parsed_call
