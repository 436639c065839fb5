"""Check a conversation: the order of its turns, and whether there is something to learn."""

import json
import re
from collections.abc import Iterator

from etabli.core.contracts import Message
from etabli.data.notes import Note, excerpt

_UNSEEN = re.compile("[\\s\u200b-\u200f\u2060-\u2064\u3164\u115f\ufeff\u00ad]+")
_HALF = re.compile("[\ud800-\udfff]")


def check_order(messages: list[Message]) -> list[Note]:
    """Return the notes about the order of the turns; plain text has no order."""
    if any(message["role"] == "text" for message in messages):
        return _plain(messages)
    roles = [message["role"] for message in messages]
    notes = list(_empty(messages))
    if "assistant" not in roles:
        return [*notes, Note("no-assistant", "messages", why="There is no assistant turn to learn from.")]
    if "user" not in roles:
        notes.append(Note("no-user", "messages"))
    if not any(map(_is_trained, messages)):
        notes.append(Note("nothing-trained", "messages"))
    if roles[-1] in ("user", "system", "tool"):
        notes.append(Note("unanswered", f"messages[{len(roles) - 1}]"))
    return [*notes, *_turns(roles), *_calls(messages)]


def _is_trained(message: Message) -> bool:
    """Return whether any policy may train a turn."""
    return message.get("train", message["role"] == "assistant") is not False


def unstorable_characters(messages: list[Message], tools: list[dict[str, object]] | None) -> Iterator[Note]:
    """Yield notes about characters that no UTF-8 file and no tokenizer can hold, or that end texts in other tools."""
    for number, message in enumerate(messages):
        for key, text in (("content", message["content"]), ("reasoning", message.get("reasoning", ""))):
            where = f"messages[{number}].{key}"
            if "\0" in text:
                start = text.index("\0")
                yield Note("nul", where, excerpt(text, start), span=(start, start + 1))
            if not text.isascii() and (match := _HALF.search(text)):
                yield Note("lone-surrogate", where, excerpt(text, match.start()), span=match.span())
    other_fields = [tools or [], *(message.get("tool_calls") or message.get("name") or [] for message in messages)]
    if any(other_fields) and (
        match := _HALF.search(json_text := json.dumps(other_fields, ensure_ascii=False, default=str))
    ):
        yield Note("lone-surrogate", "tools", excerpt(json_text, match.start()))


def _plain(messages: list[Message]) -> list[Note]:
    is_trained = any(message.get("train") is not False for message in messages)
    return (
        [] if is_trained else [Note("nothing-trained", "segments", why="Every segment is marked as not to be trained.")]
    )


def _empty(messages: list[Message]) -> Iterator[Note]:
    for number, message in enumerate(messages):
        if _UNSEEN.sub("", message["content"]) or message.get("tool_calls") or message["role"] in ("system", "tool"):
            continue
        answer = message["role"] == "assistant"
        where = f"messages[{number}].content"
        if not answer or message.get("train") is not False:
            yield Note(
                "empty-answer" if answer else "empty-prompt", where, why=f"The {message['role']}'s turn is empty."
            )


def _turns(roles: list[str]) -> Iterator[Note]:
    """Yield notes unless there is at most one system turn, in front, and then user and assistant alternate."""
    previous = None
    for number, role in enumerate(roles):
        where = f"messages[{number}].role"
        if role == "system" and number:
            yield Note("turn-order", where, why="A system turn that is not the first.")
        elif role == "assistant" and previous in (None, "system") and "user" in roles[number:]:
            yield Note("turn-order", where, why="The assistant speaks first.")
        elif role == previous and role in ("user", "assistant"):
            yield Note("turn-order", where, why=f"Two {role} turns, one after the other.")
        previous = role


def _calls(messages: list[Message]) -> Iterator[Note]:
    open_calls = 0
    for number, message in enumerate(messages):
        if message["role"] == "tool":
            if not open_calls:
                yield Note("tool-order", f"messages[{number}]", why="A tool's result that no call asked for.")
            open_calls = max(0, open_calls - 1)
        elif message["role"] == "user" and open_calls:
            yield Note("tool-order", f"messages[{number}]", why="A tool call without its result.")
            open_calls = 0
        open_calls += len(message.get("tool_calls") or [])
