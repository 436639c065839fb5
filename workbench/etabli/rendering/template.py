"""A conversation as its chat template writes it, in pieces: what is structure, what is content, and what is trained.

The template is rendered once with a stand-in for every content, which shows what is structure and what is content;
control tokens are read from the structure alone.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from etabli.core.contracts import Message, Row
from etabli.core.errors import BadData, BadInput
from etabli.rendering import template_engine
from etabli.rendering.template_engine import Conversation

PLAIN = "text"  # the role of text without a template
STRUCTURE = "template"
_NOT_BESIDE = ("content", "train", "spans")


@dataclass
class Piece:
    """A stretch of the rendered text that is all structure or the content of one message."""

    text: str
    role: str
    train: bool = False
    content: bool = False
    message: int | None = None
    begins: int | None = None  # of the first piece of a content: how many characters of it the template took off


def _check_tools(messages: list[Message], tools: list[dict] | None, control: re.Pattern | None) -> None:
    """What stands beside contents is structure to a template: no control token may be typed there."""
    beside = [{key: value for key, value in turn.items() if key not in _NOT_BESIDE} for turn in messages]
    held = json.dumps([tools, beside], ensure_ascii=False, default=str)
    found = control.search(held) if control else None
    if found:
        raise BadData(
            f"A tool, a call, a name or a role holds the control token {found[0]!r} as text: remove it there."
        )
    if "\ue000" in held:
        raise BadData("A tool, a call, a name or a role holds the private sign U+E000: remove it there.")


def content_pieces(text: str, taken_off: int, index: int, message: Message, train: bool | list) -> list[Piece]:
    """The content of a message in pieces that are trained or not; ``train`` may be spans of it."""
    spans = [[0, len(message["content"])]] if train is True else train or []
    edges = {0, len(text)} | {min(max(0, edge - taken_off), len(text)) for span in spans for edge in span}
    ordered = sorted(edges)
    inside = [any(low <= start + taken_off < high for low, high in spans) for start in ordered]
    pieces = [
        Piece(text[start:stop], message["role"], flag, True, index)
        for start, stop, flag in zip(ordered, ordered[1:], inside)
    ] or [Piece("", message["role"], train is True, True, index)]
    pieces[0].begins = taken_off
    return pieces


def trained_parts(messages: list[Message], policy: str) -> list[bool | list]:
    """For each message whether it is trained, or which spans of it are."""
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    texts = [index for index, message in enumerate(messages) if message["role"] == PLAIN]
    chosen = set(answers[-1:] if policy == "last" else answers + texts)
    flags: list[bool | list] = []
    for index, message in enumerate(messages):
        override, spans = message.get("train"), message.get("spans") or []
        own = spans if policy == "spans" else index in chosen
        flags.append(own if override is None else bool(override))
    return flags


def all_pieces(
    messages: list[Message],
    tokenizer: Any,
    policy: str,
    prompt: bool,
    tools: list[dict] | None,
    control: re.Pattern | None,
    texts: list[str] | None = None,
) -> list[Piece]:
    """Structure and contents in order. Checked: together they are the template's own rendering.

    ``texts`` are the row's own of ``render_ahead``, where many rows are rendered.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise BadInput("This tokenizer has no chat template: take the instruct version of the model.")
    _check_tools(messages, tools, control)
    shell, own, *around = texts or template_engine.render(tokenizer, _variants(messages, prompt, tools))
    calls = {index: _call_span(shell, *around[3 * at : 3 * at + 3]) for at, index in enumerate(_calling(messages))}
    for contents in ([m["content"] for m in messages], [m["content"].strip() for m in messages]):
        pieces = _assemble(shell, messages, contents, trained_parts(messages, policy), calls)
        if "".join(piece.text for piece in pieces) == own:
            _require_all(pieces, messages)
            return pieces
    raise BadData("The chat template rewrites what a message says, so content can't be told from structure.")


def _require_all(pieces: list[Piece], messages: list[Message]) -> None:
    """A template for pictures leaves out contents that are no lists of parts: nothing would say so."""
    there = {piece.message for piece in pieces if piece.content}
    for index, message in enumerate(messages):
        if message["content"].strip() and index not in there:
            raise BadData(f"The model's chat template leaves out what message {index + 1} ({message['role']}) says.")


def _marked(index: int, message: Message) -> Message:
    """A message with a stand-in for its content. Beside calls nothing stays nothing: templates ask for that."""
    empty = not message["content"] and message.get("tool_calls")
    return {**message, "content": "" if empty else f"\ue000{index}\ue001"}


def render_ahead(rows: Iterable[Row], tokenizer: Any) -> Iterator[list[str] | None]:
    """What ``all_pieces`` takes as ``texts`` for each row, rendered many at once; None where it renders by itself."""
    return template_engine.render_ahead(tokenizer, (_variants_of(row) for row in rows))


def _variants_of(row: Row) -> list[Conversation]:
    """Nothing for a row that is no chat, or none that can be rendered: whoever renders it says why."""
    messages = row["messages"]
    texts = all(isinstance(message.get(name), str) for message in messages for name in ("role", "content"))
    return _variants(messages, False, row.get("tools")) if texts and messages and messages[0]["role"] != PLAIN else []


def _variants(messages: list[Message], prompt: bool, tools: list[dict] | None) -> list[Conversation]:
    """What to render of a row: with stand-ins, as it is, and three more for each turn with calls.

    Those show what the calls add: up to before the turn, through it, and through it without its calls.
    """
    copies = [_marked(index, message) for index, message in enumerate(messages)]
    variants = [(copies, prompt), (messages, prompt)]
    for index in _calling(messages):
        without = [*copies[:index], {**copies[index], "tool_calls": None}]
        variants += [(copies[:index], True), (copies[: index + 1], False), (without, False)]
    return [Conversation(turns, flag, tools) for turns, flag in variants]


def _calling(messages: list[Message]) -> list[int]:
    return [index for index, message in enumerate(messages) if message.get("tool_calls")]


def _call_span(shell: str, before: str, through: str, without: str) -> tuple[int, int]:
    """From where to where a turn with tool calls is written by the template."""
    if through == without:
        raise BadData("The model's chat template leaves tool calls out: choose a model whose template knows them.")
    if not (shell.startswith(through) and through.startswith(before)):
        raise BadData("The chat template writes tool calls in a way that can't be followed.")
    return len(before), len(through)


def _assemble(
    shell: str, messages: list[Message], contents: list[str], trained: list[bool], calls: dict[int, tuple[int, int]]
) -> list[Piece]:
    pieces, position = [], 0

    def structure(end: int) -> None:
        """Structure up to here; within a turn of calls it is the assistant's."""
        nonlocal position
        for index, (low, high) in [*calls.items(), (None, (end, end))]:
            if index is not None and position < min(high, end) and low < end:
                pieces.append(Piece(shell[position : max(position, low)], STRUCTURE))
                owned = shell[max(position, low) : min(high, end)]
                called = Piece(owned, messages[index]["role"], trained[index] is True, message=index)
                pieces.append(called)
                position = min(high, end)
        pieces.append(Piece(shell[position:end], STRUCTURE))
        position = end

    for found in re.finditer("\ue000([0-9]+)\ue001", shell):
        index = int(found[1])
        structure(found.start())
        whole = messages[index]["content"]
        taken_off = 0 if contents[index] == whole else len(whole) - len(whole.lstrip())
        pieces += content_pieces(contents[index], taken_off, index, messages[index], trained[index])
        position = found.end()
    structure(len(shell))
    return pieces


def control_pattern(tokenizer: Any) -> re.Pattern | None:
    """A pattern of all added tokens but the blank ones, longest first."""
    return _any_of(tuple(map(str, tokenizer.get_added_vocab())))


@lru_cache(maxsize=8)
def _any_of(names: tuple[str, ...]) -> re.Pattern | None:
    ordered = sorted(filter(str.strip, names), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None


def in_chunks(pieces: list[Piece], control: re.Pattern | None) -> list[list[Piece]]:
    """Group pieces into what is tokenised at once: a single control token, or all the text between two."""
    chunks: list[list[Piece]] = [[]]
    ended: Piece | None = None  # the content just before, whose end-of-turn token belongs to it
    for piece in pieces:
        if piece.content or control is None:
            chunks[-1].append(piece)
            ended = piece
            continue
        position = 0
        called = piece.role != STRUCTURE
        for found in control.finditer(piece.text):
            between = piece.text[position : found.start()]
            # A blank between an answer and its end-of-turn token is what the model has to write to get there.
            owner = piece if called else ended if ended is not None and not between.strip() else None
            chunks[-1].append(_owned(between, owner))
            chunks += [[_owned(found[0], owner)], []]
            ended, position = None, found.end()
        tail = piece.text[position:]
        chunks[-1].append(_owned(tail, piece if called and tail.strip() else None))
        ended = None if position or piece.text else ended
    return [kept for chunk in chunks if (kept := [piece for piece in chunk if piece.text])]


def is_clean(chunks: list[list[Piece]], control: re.Pattern | None) -> bool:
    """Is every control token of the whole text one that the template put there?"""
    texts = ["".join(piece.text for piece in chunk) for chunk in chunks]
    own = [text for text, chunk in zip(texts, chunks) if is_control(chunk, control)]
    return control is None or control.findall("".join(texts)) == own


def is_control(chunk: list[Piece], control: re.Pattern | None) -> bool:
    """Is this chunk one control token that the template put there?"""
    return len(chunk) == 1 and not chunk[0].content and bool(control and control.fullmatch(chunk[0].text))


def _owned(text: str, owner: Piece | None) -> Piece:
    return Piece(text, owner.role, owner.train, message=owner.message) if owner else Piece(text, STRUCTURE)
