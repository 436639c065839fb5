"""Parse tool calls in which every argument has marks of its own, as those of GLM, Gemma, LFM 2 and Qwen 3.5."""

import ast
import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest

from etabli.core.contracts import ToolCall
from etabli.evaluation.call_format import WORD, CallFormat, CallPlace, argument_schemas, common_beginning, flexible
from etabli.rendering.template_engine import Tools

_BARE_KEY = re.compile(r"([{,]\s*)([\w.-]+):")
_TYPES = {bool: {"boolean"}, int: {"integer", "number"}, float: {"number"}, str: {"string"}, type(None): {"null"}}


@dataclass(frozen=True)
class ArgumentMarks:
    """What stands around an argument: after its key, before the next key, and after the last argument of a call."""

    after_key: str
    before_next: str
    end: str

    def match_start(self, text: str, position: int) -> re.Match[str] | None:
        """The key at the position, and the marks up to its value."""
        blanks = self.after_key[len(self.after_key.rstrip()) :]
        marks = flexible(self.after_key.rstrip()).pattern
        return re.compile(f"({WORD}){marks}(?:{re.escape(blanks)})?").match(text, position)

    def find_ends(self, text: str, position: int) -> Iterator[tuple[re.Match[str], bool]]:
        """The places where the value may end, in order, and whether the call ends there."""
        ends = [(match, False) for match in _after_value(self.before_next).finditer(text, position)]
        ends += [(match, True) for match in _after_value(self.end).finditer(text, position)]
        yield from sorted(ends, key=lambda end: (end[0].start(), -len(end[0][0])))


@dataclass(frozen=True)
class MarkedArguments(CallFormat):
    """The name as text, and marks around every key and value.

    ``again`` leads to a further call. ``quote`` stands around texts that are written as Python writes them, with
    escapes; it is empty where texts stand as they are.
    """

    before_key: str
    without_arguments: str
    again: str
    text: ArgumentMarks
    number: ArgumentMarks
    quote: str = ""

    def find(self, text: str, tools: Tools = None) -> list[CallPlace]:
        """The calls. A value that is not marked as text is JSON or a Python literal, else it stays text.

        A further lead ends a call: one that was cut does not take the next one for its value.
        """
        places: list[CallPlace] = []
        lead, again = (re.compile(f"{flexible(mark).pattern}({WORD})") for mark in (self.lead, self.again))
        match = lead.search(text)
        while match:
            next_lead = lead.search(text, match.end())
            part = text[: next_lead.start()] if next_lead else text
            call, end = self._read_arguments(part, match[1], match.end(), argument_schemas(tools, match[1]))
            end = max(end, match.end())
            places.append(CallPlace(call, match.start(), end))
            following = again.match(text, end) if call else None
            match = following or lead.search(text, end)
        return places

    def _read_arguments(
        self, text: str, name: str, position: int, schemas: dict[str, object]
    ) -> tuple[ToolCall | None, int]:
        arguments: dict[str, object] = {}
        if empty := flexible(self.without_arguments).match(text, position):
            return {"name": name, "arguments": {}}, empty.end()
        opened = flexible(self.before_key).match(text, position)
        if opened is None:
            return None, position
        position = opened.end()
        while argument := self._read_argument(text, position, schemas):
            key, value, position, is_last = argument
            arguments[key] = value
            if is_last:
                return {"name": name, "arguments": arguments}, position
        return None, position

    def _read_argument(
        self, text: str, position: int, schemas: dict[str, object]
    ) -> tuple[str, object, int, bool] | None:
        """Key, value, where it ends, and whether it is the call's last argument."""
        for marks, is_text in ((self.text, self.text != self.number), (self.number, False)):
            begin = marks.match_start(text, position)
            if begin is None:
                continue
            for match, is_last in marks.find_ends(text, begin.end()):
                part = text[begin.end() : match.start()]
                value, is_whole = self._read_text(part) if is_text else self._read_value(part, schemas.get(begin[1]))
                if is_whole:
                    return begin[1], value, match.end(), is_last
        return None

    def _read_text(self, text: str) -> tuple[str, bool]:
        """The text without its escapes, and whether it is whole: one does not end at a quote that is escaped."""
        if not self.quote:
            return text, True
        with contextlib.suppress(ValueError, SyntaxError, MemoryError):
            return str(ast.literal_eval(f"{self.quote}{text}{self.quote}")), True
        return text, False

    def _read_value(self, text: str, schema: object) -> tuple[object, bool]:
        """The value, and whether the text is a whole value: a list is not cut at its first comma.

        Where texts have no marks of their own, a value that the schema does not allow but as a text is one.
        """
        has_text_marks = self.text != self.number
        types = set() if has_text_marks else allowed_types(schema)
        quote = self.text.after_key[len(common_beginning(self.text.after_key, self.number.after_key)) :]
        for candidate in (text, *_as_json(text, quote)):
            with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                value = _parse_literal(candidate)
                is_text = "string" in types and not types & (types_of(value) - {"string"})
                return (text if is_text or (isinstance(value, str) and not has_text_marks) else value), True
        return text, not has_text_marks  # where texts have marks of their own a bare value is no text


def _as_json(text: str, quote: str) -> Iterator[str]:
    """The text with its texts quoted as JSON quotes them; then with its keys quoted too."""
    parts = text.split(quote) if len(quote) > 1 else [text]  # every other part is a text
    quoted_texts = [json.dumps(part) for part in parts[1::2]]
    for between in (parts[::2], [_BARE_KEY.sub(r'\1"\2":', part) for part in parts[::2]]):
        yield "".join(chain.from_iterable(zip_longest(between, quoted_texts, fillvalue="")))


def _after_value(mark: str) -> re.Pattern[str]:
    """A pattern of a mark after a value: its own blanks belong to it, other ones to the value."""
    blanks = mark[: len(mark) - len(mark.lstrip())]
    return re.compile(f"(?:{re.escape(blanks)})?{flexible(mark.lstrip()).pattern}")


def _parse_literal(text: str) -> object:
    """The value of a text that is JSON or a Python literal.

    Raises:
        ValueError, SyntaxError, RecursionError, MemoryError: it is neither.
    """
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(text)
    value: object = ast.literal_eval(text.strip())
    return value


def types_of(value: object) -> set[str]:
    """JSON's types of a value: an integer is a number too."""
    return _TYPES.get(type(value), {"object"} if isinstance(value, dict) else {"array"})


def allowed_types(schema: object) -> set[str]:
    """The types that a schema allows; empty where it names none."""
    if not isinstance(schema, dict):
        return set()
    if names := schema.get("type"):
        return set(map(str, names if isinstance(names, list) else [names]))
    if isinstance(values := schema.get("enum"), list):
        return set().union(*map(types_of, values))
    choices = [allowed_types(part) for key in ("anyOf", "oneOf") for part in schema.get(key) or []]
    return set().union(*choices) if all(choices) else set()
