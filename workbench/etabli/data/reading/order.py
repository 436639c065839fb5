"""Is a conversation in order: who speaks after whom, is there something to learn?"""

import json
import re
from collections.abc import Iterator

from etabli.core.contracts import Message
from etabli.data.notes import Note, excerpt

_UNSEEN = re.compile("[\\s\u200b-\u200f\u2060-\u2064\u3164\u115f\ufeff\u00ad]+")
_HALF = re.compile("[\ud800-\udfff]")


def check(messages: list[Message]) -> list[Note]:
    """What is wrong with the order of the turns. Plain text has none."""
    if any(message["role"] == "text" for message in messages):
        return _plain(messages)
    roles = [message["role"] for message in messages]
    notes = list(_empty(messages))
    if "assistant" not in roles:
        return [*notes, Note("no-assistant", "messages", why="There is no assistant turn to learn from.")]
    if "user" not in roles:
        notes.append(Note("no-user", "messages"))
    if all(message.get("train") is False for message in messages if message["role"] == "assistant"):
        notes.append(Note("nothing-trained", "messages"))
    if roles[-1] in ("user", "system", "tool"):
        notes.append(Note("unanswered", f"messages[{len(roles) - 1}]"))
    return [*notes, *_turns(roles), *_calls(messages)]


def unstorable(messages: list[Message], tools: list | None) -> Iterator[Note]:
    """Characters that no UTF-8 file and no tokenizer can hold, or that cut texts short."""
    for number, message in enumerate(messages):
        where, text = f"messages[{number}].content", message["content"]
        if "\0" in text:
            yield Note("nul", where, excerpt(text, text.index("\0")))
        if not text.isascii() and (found := _HALF.search(text)):
            yield Note("lone-surrogate", where, excerpt(text, found.start()))
    others = [tools or [], *(message.get("tool_calls") or message.get("name") or [] for message in messages)]
    if any(others) and (found := _HALF.search(said := json.dumps(others, ensure_ascii=False, default=str))):
        yield Note("lone-surrogate", "tools", excerpt(said, found.start()))


def _plain(messages: list[Message]) -> list[Note]:
    trained = any(message.get("train") is not False for message in messages)
    return [] if trained else [Note("nothing-trained", "segments", why="Every segment is marked as not to be trained.")]


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
    """System first and once; then user and assistant in turn, tools where they were called."""
    before = None
    for number, role in enumerate(roles):
        where = f"messages[{number}].role"
        if role == "system" and number:
            yield Note("turn-order", where, why="A system turn that is not the first.")
        elif role == "assistant" and before in (None, "system") and "user" in roles[number:]:
            yield Note("turn-order", where, why="The assistant speaks first.")
        elif role == before and role in ("user", "assistant"):
            yield Note("turn-order", where, why=f"Two {role} turns, one after the other.")
        before = role


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
