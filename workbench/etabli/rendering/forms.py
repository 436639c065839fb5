"""How messages are handed to a template: templates differ in the form of calls and thoughts."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple, cast

from etabli.core.contracts import Message


def _function(call: dict[str, object]) -> dict[str, object]:
    """Return a call's function; a call without one is refused when rows are read."""
    function = call.get("function")
    return function if isinstance(function, dict) else {}


def parse_arguments(value: object) -> object:
    """Return a call's arguments as a value: some models and rows write JSON as text. What is no JSON stays a text."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


class Form(NamedTuple):
    """How messages are handed to a template; templates differ in it."""

    arguments_as_text: bool = False  # a call's arguments as JSON text, not as an object
    empty_as_none: bool = False  # the content of a turn of calls alone: None, not ""
    tags_in_content: bool = False  # a thought as <think>…</think> before the content, not under a key of its own

    def apply(self, messages: Sequence[Message]) -> list[Message]:
        """Return the messages as the template takes them."""
        return [self._apply_to(message) for message in messages]

    def _apply_to(self, message: Message) -> Message:
        fields: dict[str, object] = {**message}
        if self.tags_in_content and message.get("reasoning"):
            fields["content"] = f"<think>\n{fields.pop('reasoning')}\n</think>\n\n{message['content']}"
        if self.arguments_as_text and message.get("tool_calls"):
            fields["tool_calls"] = [_with_text_arguments(call) for call in message["tool_calls"]]
        if self.empty_as_none and message.get("tool_calls") and not fields["content"]:
            fields["content"] = None
        return cast(Message, fields)


def _with_text_arguments(call: dict[str, object]) -> dict[str, object]:
    arguments = json.dumps(_function(call).get("arguments") or {}, ensure_ascii=False)
    return {**call, "function": {**_function(call), "arguments": arguments}}


def possible_forms(messages: Sequence[Message]) -> Iterator[Form]:
    """Yield the ways to hand over these messages, the usual one first."""
    choices = (False, True) if any(message.get("tool_calls") for message in messages) else (False,)
    tags = (False, True) if any(message.get("reasoning") for message in messages) else (False,)
    yield from (Form(as_text, as_none, in_content) for in_content, as_text, as_none in product(tags, choices, choices))
