"""Conversation to token ids, roles and a trained-or-masked flag: the one place that renders.

Stock templates paste what a person typed into the prompt and tokenise the whole, so a user who types ``<|im_end|>``
forges a control token. Here the template is rendered once with a stand-in for every content, which shows what is
structure and what is content; control tokens are read from the structure alone. Text between two control tokens is
tokenised in one piece, so that clean conversations get exactly the ids of the template's own rendering.
"""

import json
import re
from bisect import bisect_left
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import Any

from etabli.contracts import Message
from etabli.errors import BadData, BadInput

POLICIES = ("answers", "last", "all", "spans")
STRUCTURE = "template"
PLAIN = "text"


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


@dataclass
class _Piece:
    """A stretch of the rendered text that is all structure or the content of one message."""

    text: str
    role: str
    train: bool = False
    content: bool = False
    message: int | None = None
    begins: int | None = None  # of the first piece of a content: how many characters of it the template took off


def render(
    messages: list[Message],
    tokenizer: Any,
    policy: str = "answers",
    prompt: bool = False,
    tools: list[dict[str, Any]] | None = None,
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

    Returns:
        Token ids, texts, roles (of the message; ``template`` for structure) and trained flags.

    Raises:
        BadData: a message that is no turn, a template that rewrites contents in a way that can't be followed or that
            leaves tool calls out, or a control token within a tool call.
        BadInput: an unknown policy, or a tokenizer without a chat template.
    """
    out = Rendered()
    control = _control(tokenizer)
    chunks = _prepared(messages, tokenizer, policy, prompt, tools, control)
    if messages[0]["role"] == PLAIN:
        return _plain(messages, tokenizer, control, policy, out)
    return _encoded(chunks, tokenizer, control, policy, out)


def _prepared(
    messages: list[Message], tokenizer: Any, policy: str, prompt: bool, tools: list | None, control: re.Pattern | None
) -> list[list[_Piece]]:
    """What is tokenised at once, checked; nothing for plain text, which has no template."""
    _check_policy(policy)
    _check(messages)
    if messages[0]["role"] == PLAIN:
        return []
    return _chunks(_all_pieces(messages, tokenizer, policy, prompt, tools, control), control)


def _encoded(
    chunks: list[list[_Piece]], tokenizer: Any, control: re.Pattern | None, policy: str, out: Rendered
) -> Rendered:
    if _clean(chunks, control):  # in one piece: then the ids are the template's own whatever the tokenizer does
        chunks, control = [[piece for chunk in chunks for piece in chunk]], None
    for chunk in chunks:
        _encode(chunk, tokenizer, control, out)
    if policy == "all":
        out.trained = [True] * len(out.ids)
    return out


def measure(
    messages: list[Message], tokenizer: Any, policy: str = "answers", most: int = 512, tools: list | None = None
) -> tuple[int, int, int]:
    """How many tokens a conversation has, how many are trained, and how many of those are among the first ``most``.

    The same numbers as counting what ``render`` gives, without making a list of tokens; the first token of a row is
    never predicted, so never trained.
    """
    control = _control(tokenizer)
    chunks = _prepared(messages, tokenizer, policy, False, tools, control)
    plain, out = messages[0]["role"] == PLAIN, Rendered()
    if plain or policy == "all" or not _clean(chunks, control):
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
        if not _are_spans(message.get("spans") or [], len(message["content"])):
            raise BadData(f"Message {number}: spans are pairs [first character, one after the last] of its content.")


def _are_spans(spans: Any, length: int) -> bool:
    return isinstance(spans, list | tuple) and all(
        isinstance(span, list | tuple)
        and len(span) == 2
        and all(isinstance(edge, int) for edge in span)
        and 0 <= span[0] < span[1] <= length
        for span in spans
    )


def _check_tools(messages: list[Message], tools: list[dict] | None, control: re.Pattern | None) -> None:
    """What stands in calls goes through the template as structure, so no control token may be typed there."""
    held = [tools or [], *(message.get("tool_calls") or [] for message in messages)]
    found = control.search(json.dumps(held, ensure_ascii=False)) if control and any(held) else None
    if found:
        raise BadData(f"A tool or a tool call holds the control token {found[0]!r} as text: remove it there.")


def _check_policy(policy: str) -> None:
    if policy not in POLICIES:
        raise BadInput(f"Unknown mask policy {policy!r}; there are {', '.join(POLICIES)}.")


def _plain(messages: list[Message], tokenizer: Any, control: re.Pattern | None, policy: str, out: Rendered) -> Rendered:
    """Text without a template: begin-of-text if the tokenizer puts one, the stretches, end-of-text."""
    flags = _trained(messages, "answers" if policy == "last" else policy)
    start = [token for token in tokenizer("", add_special_tokens=True)["input_ids"] if token == tokenizer.bos_token_id]
    for token in start[:1]:
        _append(out, token, tokenizer.bos_token, False)
    pieces: list[_Piece] = []
    for index, message in enumerate(messages):
        pieces = _content(message["content"], 0, index, message, flags[index])
        _encode(pieces, tokenizer, control, out)
    _append(out, tokenizer.eos_token_id, tokenizer.eos_token, bool(pieces) and pieces[-1].train)
    return out


def _content(text: str, taken_off: int, index: int, message: Message, train: bool | list) -> list[_Piece]:
    """The content of a message in pieces that are trained or not; ``train`` may be spans of it."""
    spans = [[0, len(message["content"])]] if train is True else train or []
    edges = {0, len(text)} | {min(max(0, edge - taken_off), len(text)) for span in spans for edge in span}
    ordered = sorted(edges)
    inside = [any(low <= start + taken_off < high for low, high in spans) for start in ordered]
    pieces = [
        _Piece(text[start:stop], message["role"], flag, True, index)
        for start, stop, flag in zip(ordered, ordered[1:], inside)
    ] or [_Piece("", message["role"], train is True, True, index)]
    pieces[0].begins = taken_off
    return pieces


def _append(out: Rendered, token: int, text: str, trained: bool) -> None:
    out.ids.append(token)
    out.text.append(text)
    out.role.append(STRUCTURE)
    out.trained.append(trained)
    out.offset.append((out.length, out.length + len(text)))
    out.message.append(None)
    out.length += len(text)


def _trained(messages: list[Message], policy: str) -> list[bool | list]:
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


def _all_pieces(
    messages: list[Message],
    tokenizer: Any,
    policy: str,
    prompt: bool,
    tools: list[dict] | None,
    control: re.Pattern | None,
) -> list[_Piece]:
    """Structure and contents in order. Checked: together they are the template's own rendering."""
    if not getattr(tokenizer, "chat_template", None):
        raise BadInput("This tokenizer has no chat template: take the instruct version of the model.")
    _check_tools(messages, tools, control)
    copies = [_marked(index, message) for index, message in enumerate(messages)]
    shell = _apply(copies, tokenizer, prompt, tools)
    own = _apply(messages, tokenizer, prompt, tools)
    calls = {index: _call_span(copies, index, shell, tokenizer, tools) for index in _calling(messages)}
    for contents in ([m["content"] for m in messages], [m["content"].strip() for m in messages]):
        pieces = _assemble(shell, messages, contents, _trained(messages, policy), calls)
        if "".join(piece.text for piece in pieces) == own:
            return pieces
    raise BadData("The chat template rewrites what a message says, so content can't be told from structure.")


def _marked(index: int, message: Message) -> Message:
    """A message with a stand-in for its content. Beside calls nothing stays nothing: templates ask for that."""
    empty = not message["content"] and message.get("tool_calls")
    return {**message, "content": "" if empty else f"\ue000{index}\ue001"}


def _calling(messages: list[Message]) -> list[int]:
    return [index for index, message in enumerate(messages) if message.get("tool_calls")]


def _call_span(copies: list[Message], index: int, shell: str, tokenizer: Any, tools: list | None) -> tuple[int, int]:
    """From where to where a turn with tool calls is written by the template."""
    before = _apply(copies[:index], tokenizer, True, tools)
    through = _apply(copies[: index + 1], tokenizer, False, tools)
    without = _apply([*copies[:index], {**copies[index], "tool_calls": None}], tokenizer, False, tools)
    if through == without:
        raise BadData("The model's chat template leaves tool calls out: choose a model whose template knows them.")
    if not (shell.startswith(through) and through.startswith(before)):
        raise BadData("The chat template writes tool calls in a way that can't be followed.")
    return len(before), len(through)


def _apply(messages: list[dict], tokenizer: Any, prompt: bool, tools: list[dict] | None = None) -> str:
    from jinja2 import TemplateError

    clean = [{key: value for key, value in message.items() if key not in ("train", "spans")} for message in messages]
    more = {"tools": tools} if tools else {}
    try:
        # A template that can think must not: training rows hold answers, not thoughts, and a prompt has to be what a
        # trained answer followed. Templates that know no such switch ignore it.
        return tokenizer.apply_chat_template(
            clean, tokenize=False, add_generation_prompt=prompt, enable_thinking=False, **more
        )
    except (TemplateError, TypeError) as error:
        raise BadData(f"The model's chat template refuses this conversation: {error}") from error


def _assemble(
    shell: str, messages: list[Message], contents: list[str], trained: list[bool], calls: dict[int, tuple[int, int]]
) -> list[_Piece]:
    pieces, position = [], 0

    def structure(end: int) -> None:
        """Structure up to here; within a turn of calls it is the assistant's."""
        nonlocal position
        for index, (low, high) in [*calls.items(), (None, (end, end))]:
            if index is not None and position < min(high, end) and low < end:
                pieces.append(_Piece(shell[position : max(position, low)], STRUCTURE))
                owned = shell[max(position, low) : min(high, end)]
                called = _Piece(owned, messages[index]["role"], trained[index] is True, message=index)
                pieces.append(called)
                position = min(high, end)
        pieces.append(_Piece(shell[position:end], STRUCTURE))
        position = end

    for found in re.finditer("\ue000([0-9]+)\ue001", shell):
        index = int(found[1])
        structure(found.start())
        whole = messages[index]["content"]
        taken_off = 0 if contents[index] == whole else len(whole) - len(whole.lstrip())
        pieces += _content(contents[index], taken_off, index, messages[index], trained[index])
        position = found.end()
    structure(len(shell))
    return pieces


def _control(tokenizer: Any) -> re.Pattern | None:
    """A pattern of all added tokens but the blank ones, longest first."""
    return _any_of(tuple(map(str, tokenizer.get_added_vocab())))


@lru_cache(maxsize=8)
def _any_of(names: tuple[str, ...]) -> re.Pattern | None:
    ordered = sorted(filter(str.strip, names), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None


def _chunks(pieces: list[_Piece], control: re.Pattern | None) -> list[list[_Piece]]:
    """Group pieces into what is tokenised at once: a single control token, or all the text between two."""
    chunks: list[list[_Piece]] = [[]]
    ended: _Piece | None = None  # the content just before, whose end-of-turn token belongs to it
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


def _clean(chunks: list[list[_Piece]], control: re.Pattern | None) -> bool:
    """Is every control token of the whole text one that the template put there?"""
    texts = ["".join(piece.text for piece in chunk) for chunk in chunks]
    own = [text for text, chunk in zip(texts, chunks) if _is_control(chunk, control)]
    return control is None or control.findall("".join(texts)) == own


def _is_control(chunk: list[_Piece], control: re.Pattern | None) -> bool:
    return len(chunk) == 1 and not chunk[0].content and bool(control and control.fullmatch(chunk[0].text))


def _owned(text: str, owner: _Piece | None) -> _Piece:
    return _Piece(text, owner.role, owner.train, message=owner.message) if owner else _Piece(text, STRUCTURE)


def _encode(chunk: list[_Piece], tokenizer: Any, control: re.Pattern | None, out: Rendered) -> None:
    """Tokenise one chunk and say of every token where it comes from."""
    text = "".join(piece.text for piece in chunk)
    owners = [piece for piece in chunk for _ in piece.text]
    for piece, at in zip(chunk, accumulate((len(piece.text) for piece in chunk), initial=out.length)):
        if piece.begins is not None and piece.message is not None:
            out.starts[piece.message] = at - piece.begins
    start = 0
    for part in [text] if _is_control(chunk, control) else _unforgeable(text, control):
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
