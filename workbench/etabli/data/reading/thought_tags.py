"""The tags that files and models write around a thought before an answer: ``<think>…</think>`` and its relatives."""

import re
from typing import NamedTuple

PAIRS = (
    ("<think>", "</think>"),  # most families
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<thoughts>", "</thoughts>"),
    ("[THINK]", "[/THINK]"),  # Mistral
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),  # Kimi
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
)
_CLOSING = {opening.casefold(): closing for opening, closing in PAIRS}
_OPENING = re.compile(rf"\s*({'|'.join(re.escape(opening) for opening, _ in PAIRS)})", re.IGNORECASE)
_STRAY_NAMES = [re.escape(tag) for pair in (*PAIRS, ("<reasoning>", "</reasoning>")) for tag in pair]
_STRAY = re.compile("|".join(_STRAY_NAMES), re.IGNORECASE)


class TaggedThought(NamedTuple):
    """A thought, the tag before it, and the text after it; None where its end is missing."""

    tag: str
    thought: str
    rest: str | None


def split(text: str) -> TaggedThought | None:
    """Return the thought at the beginning of a text, and what follows; None if no tag begins the text.

    A tag that is written twice counts once. Tags within a thought belong to it where each opening one has its closing
    one; else the last closing tag ends the thought.
    """
    opening = _OPENING.match(text)
    if opening is None:
        return None
    tag, body = opening[1], text[opening.end() :]
    closing = _CLOSING[tag.casefold()]
    end = _find_end(body, tag, closing)
    if end is None:
        return TaggedThought(tag, _without_double(body, tag, closing), None)
    return TaggedThought(tag, _without_double(body[: end.start()], tag, closing), body[end.end() :])


def find_stray(text: str) -> int | None:
    """Return the place of the first tag of a thought in a text; None if there is none."""
    tag = _STRAY.search(text)
    return tag.start() if tag else None


def _find_end(body: str, tag: str, closing: str) -> re.Match[str] | None:
    """The closing tag of a thought that was opened once before ``body``."""
    depth, last = 1, None
    for match in re.finditer(f"{re.escape(tag)}|{re.escape(closing)}", body, re.IGNORECASE):
        is_closing = match[0].casefold() == closing.casefold()
        depth += -1 if is_closing else 1
        last = match if is_closing else last
        if depth == 0:
            break
    return last


def _without_double(thought: str, tag: str, closing: str) -> str:
    """The thought without a second opening tag at its beginning, and without the closing tag of that one."""
    again = re.compile(rf"\s*{re.escape(tag)}(.*?)(?:{re.escape(closing)}\s*)?", re.DOTALL | re.IGNORECASE)
    while match := again.fullmatch(thought):
        thought = match[1]
    return thought
