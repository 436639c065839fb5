"""Checks of a row's tool calls: whether all of a call is trained, and whether generation stops after it."""

import re
from collections import Counter
from collections.abc import Iterator

from etabli.core.contracts import Message
from etabli.rendering.forms import parse_arguments
from etabli.rendering.layout import is_opener
from etabli.rendering.render import RenderedConversation, Renderer

_WORD = re.compile("[A-Za-z0-9]+")  # no template escapes these; it may escape all other signs


def find_untrained_word(message: Message, number: int, tokens: RenderedConversation) -> str | None:
    """Return a word of a message's calls (of a name or an argument) that is not trained as often as it is there."""
    words = Counter(word for call in message.get("tool_calls") or [] for word in _call_words(call))
    if not words:
        return None
    text = _trained_text(number, tokens)
    return next((word for word, count in words.items() if text.count(word) < count), None)


def _call_words(call: dict[str, object]) -> Iterator[str]:
    function = call.get("function")
    if isinstance(function, dict):
        yield from _words(function.get("name"))
        yield from _words(parse_arguments(function.get("arguments")))


def _words(value: object) -> Iterator[str]:
    """Yield the words of a value's keys, texts and whole numbers; templates write other values in several forms."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for item in value:
            yield from _words(item)
    elif isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        yield from _WORD.findall(str(value))


def _trained_text(number: int, tokens: RenderedConversation) -> str:
    """Return the trained text of a message; a letter of several tokens is there once."""
    pieces, stop = [], 0
    for text, (low, high), owner, is_trained in zip(tokens.text, tokens.offset, tokens.message, tokens.trained):
        if is_trained and owner == number:
            pieces.append(text[max(0, stop - low) :])
            stop = max(stop, high)
    return "".join(pieces)


def stops_after(place: int, tokens: RenderedConversation, renderer: Renderer) -> bool:
    """Return whether generation stops at a token: at an end of turns, or where somebody else's part is opened next.

    Gemma 4 writes ``<|tool_response>`` after a turn of calls; whoever runs the tools goes on there.
    """
    following = tokens.text[place + 1 : place + 2]
    return tokens.ids[place] in renderer.end_ids or bool(following and is_opener(following[0], renderer.control))
