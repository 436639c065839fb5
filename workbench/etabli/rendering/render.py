"""Conversation to token ids, roles and a trained-or-masked flag: the one place that renders.

Stock templates paste what a person typed into the prompt and tokenise the whole, so a user who types ``<|im_end|>``
forges a control token. Here the template is rendered once with a stand-in for every content, which shows what is
structure and what is content; control tokens are read from the structure alone. Text between two control tokens is
tokenised in one piece, so that clean conversations get exactly the ids of the template's own rendering.
"""

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from etabli.core.contracts import Message
from etabli.core.errors import BadData, BadInput
from etabli.rendering.template import (
    PLAIN,
    STRUCTURE,
    Piece,
    all_pieces,
    content_pieces,
    control_pattern,
    in_chunks,
    is_clean,
    is_control,
    trained_parts,
)

POLICIES = ("answers", "last", "all", "spans")


@dataclass
class Rendered:
    """One conversation as tokens; lists of one length.

    ``offset`` is where a token stands in the whole text ([first character, one after the last]); ``message`` whose it
    is, by its number, or None for structure; ``starts`` where the content of each message begins in the whole text.
    """

    ids: list[int] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    role: list[str] = field(default_factory=list)
    trained: list[bool] = field(default_factory=list)
    offset: list[tuple[int, int]] = field(default_factory=list)
    message: list[int | None] = field(default_factory=list)
    starts: dict[int, int] = field(default_factory=dict)
    length: int = 0  # characters of the whole text so far

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> list[int]:
        """Ids where trained, -100 where masked."""
        return [token if trained else -100 for token, trained in zip(self.ids, self.trained)]


def render(
    messages: list[Message],
    tokenizer: Any,
    policy: str = "answers",
    prompt: bool = False,
    tools: list[dict[str, Any]] | None = None,
    texts: list[str] | None = None,
) -> Rendered:
    """Render a conversation with the model's own chat template, or plain text as it stands.

    Args:
        messages: turns with ``role``, ``content`` and, optionally, ``train``, which overrides the policy, and
            ``tool_calls``. Stretches of role ``text`` follow each other without a template and end with the
            end-of-text token.
        tokenizer: a transformers tokenizer with a chat template.
        policy: what is trained: ``answers`` (all assistant turns), ``last`` (the last one), ``all`` (every token) or
            ``spans`` (the stretches that messages name in ``spans``). A turn trained to its end includes its
            end-of-turn token, so that the model learns to stop.
        prompt: add the header of the assistant's next turn, for generation.
        tools: what the model may call, as the template wants it.
        texts: the row's of ``pieces.render_ahead``, where many rows are rendered.

    Returns:
        Token ids, texts, roles (of the message; ``template`` for structure) and trained flags.

    Raises:
        BadData: a message that is no turn, a template that rewrites contents in a way that can't be followed or that
            leaves tool calls out, or a control token within a tool call.
        BadInput: an unknown policy, or a tokenizer without a chat template.
    """
    out = Rendered()
    control = control_pattern(tokenizer)
    chunks = _prepared(messages, tokenizer, policy, prompt, tools, control, texts)
    if messages[0]["role"] == PLAIN:
        return _plain(messages, tokenizer, control, policy, out)
    return _encoded(chunks, tokenizer, control, policy, out)


def _prepared(
    messages: list[Message],
    tokenizer: Any,
    policy: str,
    prompt: bool,
    tools: list | None,
    control: re.Pattern | None,
    texts: list[str] | None,
) -> list[list[Piece]]:
    """What is tokenised at once, checked; nothing for plain text, which has no template."""
    _check_policy(policy)
    _check(messages)
    if messages[0]["role"] == PLAIN:
        return []
    return in_chunks(all_pieces(messages, tokenizer, policy, prompt, tools, control, texts), control)


def _encoded(
    chunks: list[list[Piece]], tokenizer: Any, control: re.Pattern | None, policy: str, out: Rendered
) -> Rendered:
    if is_clean(chunks, control):  # in one piece: then the ids are the template's own whatever the tokenizer does
        chunks, control = [[piece for chunk in chunks for piece in chunk]], None
    for chunk in chunks:
        _encode(chunk, tokenizer, control, out)
    if policy == "all":
        out.trained = [True] * len(out.ids)
    return out


def measure(
    messages: list[Message],
    tokenizer: Any,
    policy: str = "answers",
    most: int = 512,
    tools: list | None = None,
    texts: list[str] | None = None,
) -> tuple[int, int, int]:
    """How many tokens a conversation has, how many are trained, and how many of those are among the first ``most``.

    The same numbers as counting what ``render`` gives, without making a list of tokens; the first token of a row is
    never predicted, so never trained.
    """
    control = control_pattern(tokenizer)
    chunks = _prepared(messages, tokenizer, policy, False, tools, control, texts)
    plain, out = messages[0]["role"] == PLAIN, Rendered()
    if plain or policy == "all" or not is_clean(chunks, control):
        rendered = (
            _plain(messages, tokenizer, control, policy, out)
            if plain
            else _encoded(chunks, tokenizer, control, policy, out)
        )
        return len(rendered), sum(rendered.trained[1:]), sum(rendered.trained[1:most])
    pieces = [piece for chunk in chunks for piece in chunk]
    encoded = tokenizer("".join(piece.text for piece in pieces), add_special_tokens=False, return_offsets_mapping=True)
    starts = [low for low, _ in encoded["offset_mapping"]]
    trained = left = end = 0
    for piece in pieces:
        begin, end = end, end + len(piece.text)
        if piece.train:
            first, last = max(1, bisect_left(starts, begin)), bisect_left(starts, end)
            trained += max(0, last - first)
            left += max(0, min(last, most) - first)
    return len(starts), trained, left


def _check(messages: list[Message]) -> None:
    if not messages:
        raise BadData("A conversation without messages can't be rendered.")
    for number, message in enumerate(messages, 1):
        if not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
            raise BadData(f"Message {number} needs a role and a content that are text; it has {sorted(message)}.")
        if (message["role"] == PLAIN) != (messages[0]["role"] == PLAIN):
            raise BadData(f"Message {number}: plain text and turns of a chat can't be mixed.")
        if not spans_fit(message):
            raise BadData(f"Message {number}: spans are pairs [first character, one after the last] of its content.")


def spans_fit(message: Message) -> bool:
    """Are a message's spans, if it has any, pairs of places in its content?"""
    spans, length = message.get("spans") or [], len(message["content"])
    return isinstance(spans, list | tuple) and all(
        isinstance(span, list | tuple)
        and len(span) == 2
        and all(isinstance(edge, int) for edge in span)
        and 0 <= span[0] < span[1] <= length
        for span in spans
    )


def _check_policy(policy: str) -> None:
    if policy not in POLICIES:
        raise BadInput(f"Unknown mask policy {policy!r}; there are {', '.join(POLICIES)}.")


def _plain(messages: list[Message], tokenizer: Any, control: re.Pattern | None, policy: str, out: Rendered) -> Rendered:
    """Text without a template: begin-of-text if the tokenizer puts one, the stretches, end-of-text."""
    flags = trained_parts(messages, "answers" if policy == "last" else policy)
    start = [token for token in tokenizer("", add_special_tokens=True)["input_ids"] if token == tokenizer.bos_token_id]
    for token in start[:1]:
        _append(out, token, tokenizer.bos_token, False)
    pieces: list[Piece] = []
    for index, message in enumerate(messages):
        pieces = content_pieces(message["content"], 0, index, message, flags[index])
        _encode(pieces, tokenizer, control, out)
    _append(out, tokenizer.eos_token_id, tokenizer.eos_token, bool(pieces) and pieces[-1].train)
    return out


def _append(out: Rendered, token: int, text: str, trained: bool) -> None:
    out.ids.append(token)
    out.text.append(text)
    out.role.append(STRUCTURE)
    out.trained.append(trained)
    out.offset.append((out.length, out.length + len(text)))
    out.message.append(None)
    out.length += len(text)


def _encode(chunk: list[Piece], tokenizer: Any, control: re.Pattern | None, out: Rendered) -> None:
    """Tokenise one chunk and say of every token where it comes from."""
    text = "".join(piece.text for piece in chunk)
    owners = [piece for piece in chunk for _ in piece.text]
    for piece, at in zip(chunk, accumulate((len(piece.text) for piece in chunk), initial=out.length)):
        if piece.begins is not None and piece.message is not None:
            out.starts[piece.message] = at - piece.begins
    start = 0
    for part in [text] if is_control(chunk, control) else _unforgeable(text, control):
        encoded = tokenizer(part, add_special_tokens=False, return_offsets_mapping=True)
        for token, (low, high) in zip(encoded["input_ids"], encoded["offset_mapping"]):
            owner = owners[min(start + low, len(owners) - 1)]
            out.ids.append(token)
            out.text.append(text[start + low : start + high])
            out.role.append(owner.role)
            out.trained.append(owner.train)
            out.offset.append((out.length + start + low, out.length + start + high))
            out.message.append(owner.message)
        start += len(part)
    out.length += len(text)


def _unforgeable(text: str, control: re.Pattern | None) -> list[str]:
    """Cut inside every control token that was typed as text, so that none can be read as one."""
    found = control.search(text) if control else None
    if found is None:
        return [text] if text else []
    if len(found[0]) == 1:
        raise BadData(f"The text holds {found[0]!r}, which this tokenizer can only read as a control token.")
    cut = found.start() + len(found[0]) // 2
    return [*_unforgeable(text[:cut], control), *_unforgeable(text[cut:], control)]
