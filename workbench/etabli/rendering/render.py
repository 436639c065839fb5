"""Render a conversation to token ids, roles and trained flags; the only place that does.

A chat template pastes what a person typed into the prompt and the whole is tokenised, so a user who types
``<|im_end|>`` forges a control token. Here control tokens are read from the template's own text alone. Text between two
control tokens is tokenised at once, so that ordinary conversations get exactly the ids of the template's own rendering.
"""

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import accumulate, chain

from etabli.core.contracts import Message
from etabli.core.errors import BadData, BadInput
from etabli.rendering.template import (
    PLAIN,
    STRUCTURE,
    ControlPattern,
    Segment,
    content_segments,
    control_token_pattern,
    is_clean,
    is_control_token,
    segment_conversation,
    split_at_control_tokens,
    training_flags,
)
from etabli.rendering.template_engine import ChatTokenizer, Tools

POLICIES = ("answers", "last", "all", "spans")


@dataclass
class RenderedConversation:
    """One conversation as tokens: the lists have one entry a token.

    Attributes:
        ids: token ids.
        text: the text of each token.
        role: the role of the message that the token belongs to; ``template`` for the template's own text.
        trained: whether the token is trained.
        offset: where the token stands in the whole text, (first character, one after the last).
        message: the number of its message; None for the template's own text.
        starts: where the content of each message begins in the whole text.
        length: characters of the whole text.
    """

    ids: list[int] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    role: list[str] = field(default_factory=list)
    trained: list[bool] = field(default_factory=list)
    offset: list[tuple[int, int]] = field(default_factory=list)
    message: list[int | None] = field(default_factory=list)
    starts: dict[int, int] = field(default_factory=dict)
    length: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> list[int]:
        """The ids of trained tokens, -100 for the others."""
        return [token if flag else -100 for token, flag in zip(self.ids, self.trained)]


def render(
    messages: list[Message],
    tokenizer: ChatTokenizer,
    policy: str = "answers",
    prompt: bool = False,
    tools: Tools = None,
    texts: list[str] | None = None,
) -> RenderedConversation:
    """Render a conversation with the model's own chat template, or plain text as it stands.

    Args:
        messages: turns with ``role``, ``content`` and, optionally, ``train``, which overrides the policy, and
            ``tool_calls``. Messages of role ``text`` follow each other without a template and end with the
            end-of-text token.
        tokenizer: a transformers tokenizer with a chat template.
        policy: what is trained: ``answers`` (all assistant turns), ``last`` (the last one), ``all`` (every token) or
            ``spans`` (the parts that messages name in ``spans``). A turn trained to its end includes its
            end-of-turn token, so that the model learns to stop.
        prompt: add the header of the assistant's next turn, for generation.
        tools: what the model may call, in the form that the template expects.
        texts: what ``template.render_rows`` gave for this row, where many rows are rendered.

    Returns:
        Token ids, texts, roles and trained flags.

    Raises:
        BadData: a malformed message, a template that rewrites contents or leaves out tool calls, or a control token
            within a tool call.
        BadInput: an unknown policy, or a tokenizer without a chat template.
    """
    control = control_token_pattern(tokenizer)
    chunks = _chunks(messages, tokenizer, policy, prompt, tools, control, texts)
    if messages[0]["role"] == PLAIN:
        return _encode_plain(messages, tokenizer, control, policy)
    return _encode_chunks(chunks, tokenizer, control, policy)


def count_tokens(
    messages: list[Message],
    tokenizer: ChatTokenizer,
    policy: str = "answers",
    max_length: int = 512,
    tools: Tools = None,
    texts: list[str] | None = None,
) -> tuple[int, int, int]:
    """Return a conversation's tokens, its trained tokens, and the trained tokens among the first ``max_length``.

    The numbers are those of ``render``, computed without a list of tokens. The first token of a row is never
    predicted, so it never counts as trained.
    """
    control = control_token_pattern(tokenizer)
    chunks = _chunks(messages, tokenizer, policy, False, tools, control, texts)
    if messages[0]["role"] == PLAIN:
        return _count(_encode_plain(messages, tokenizer, control, policy), max_length)
    if policy == "all" or not is_clean(chunks, control):
        return _count(_encode_chunks(chunks, tokenizer, control, policy), max_length)
    segments = list(chain.from_iterable(chunks))
    text = "".join(segment.text for segment in segments)
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    starts = [low for low, _ in offsets]
    total = remaining = end = 0
    for segment in segments:
        begin, end = end, end + len(segment.text)
        if segment.train:
            first, stop = max(1, bisect_left(starts, begin)), bisect_left(starts, end)
            total += max(0, stop - first)
            remaining += max(0, min(stop, max_length) - first)
    return len(starts), total, remaining


def _count(row: RenderedConversation, max_length: int) -> tuple[int, int, int]:
    return len(row), sum(row.trained[1:]), sum(row.trained[1:max_length])


def has_valid_spans(message: Message) -> bool:
    """Return whether a message's spans, if it has any, are pairs of places in its content."""
    spans, length = message.get("spans") or [], len(message["content"])
    return isinstance(spans, list | tuple) and all(
        isinstance(span, list | tuple)
        and len(span) == 2
        and all(isinstance(edge, int) for edge in span)
        and 0 <= span[0] < span[1] <= length
        for span in spans
    )


def _chunks(
    messages: list[Message],
    tokenizer: ChatTokenizer,
    policy: str,
    prompt: bool,
    tools: Tools,
    control: ControlPattern,
    texts: list[str] | None,
) -> list[list[Segment]]:
    """Return the chunks that are tokenised at once, after checking the input; none for plain text."""
    if policy not in POLICIES:
        raise BadInput(f"Unknown mask policy {policy!r}; there are {', '.join(POLICIES)}.")
    _check_messages(messages)
    if messages[0]["role"] == PLAIN:
        return []
    segments = segment_conversation(messages, tokenizer, policy, prompt, tools, control, texts)
    return split_at_control_tokens(segments, control)


def _check_messages(messages: list[Message]) -> None:
    if not messages:
        raise BadData("A conversation without messages can't be rendered.")
    for number, message in enumerate(messages, 1):
        if not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
            raise BadData(f"Message {number} needs a role and a content that are text; it has {sorted(message)}.")
        if (message["role"] == PLAIN) != (messages[0]["role"] == PLAIN):
            raise BadData(f"Message {number}: plain text and turns of a chat can't be mixed.")
        if not has_valid_spans(message):
            raise BadData(f"Message {number}: spans are pairs [first character, one after the last] of its content.")


def _encode_plain(
    messages: list[Message], tokenizer: ChatTokenizer, control: ControlPattern, policy: str
) -> RenderedConversation:
    """Encode text without a template: begin-of-text if the tokenizer adds it, the texts, end-of-text."""
    row = RenderedConversation()
    flags = training_flags(messages, "answers" if policy == "last" else policy)
    if tokenizer.bos_token_id in tokenizer("", add_special_tokens=True)["input_ids"]:
        _append_special(row, tokenizer.bos_token_id, tokenizer.bos_token, False)
    segments: list[Segment] = []
    for index, message in enumerate(messages):
        segments = content_segments(message["content"], 0, index, message, flags[index])
        _encode(segments, tokenizer, control, row)
    _append_special(row, tokenizer.eos_token_id, tokenizer.eos_token, bool(segments) and segments[-1].train)
    return row


def _append_special(row: RenderedConversation, token: int | None, text: str | None, is_trained: bool) -> None:
    """Append begin-of-text or end-of-text, where the tokenizer has it."""
    if token is None or text is None:
        return
    row.ids.append(token)
    row.text.append(text)
    row.role.append(STRUCTURE)
    row.trained.append(is_trained)
    row.offset.append((row.length, row.length + len(text)))
    row.message.append(None)
    row.length += len(text)


def _encode_chunks(
    chunks: list[list[Segment]], tokenizer: ChatTokenizer, control: ControlPattern, policy: str
) -> RenderedConversation:
    row = RenderedConversation()
    if is_clean(chunks, control):  # all at once: then the ids are the template's own, whatever the tokenizer does
        chunks, control = [list(chain.from_iterable(chunks))], None
    for chunk in chunks:
        _encode(chunk, tokenizer, control, row)
    if policy == "all":
        row.trained = [True] * len(row.ids)
    return row


def _encode(chunk: list[Segment], tokenizer: ChatTokenizer, control: ControlPattern, row: RenderedConversation) -> None:
    """Tokenise one chunk and append its tokens, each with the segment that it comes from."""
    text = "".join(segment.text for segment in chunk)
    owners = [segment for segment in chunk for _ in segment.text]
    for segment, place in zip(chunk, accumulate((len(segment.text) for segment in chunk), initial=row.length)):
        if segment.begins is not None and segment.message is not None:
            row.starts[segment.message] = place - segment.begins
    start = 0
    for part in [text] if is_control_token(chunk, control) else _without_typed_tokens(text, control):
        encoding = tokenizer(part, add_special_tokens=False, return_offsets_mapping=True)
        for token, (low, high) in zip(encoding["input_ids"], encoding["offset_mapping"]):
            owner = owners[min(start + low, len(owners) - 1)]
            row.ids.append(token)
            row.text.append(text[start + low : start + high])
            row.role.append(owner.role)
            row.trained.append(owner.train)
            row.offset.append((row.length + start + low, row.length + start + high))
            row.message.append(owner.message)
        start += len(part)
    row.length += len(text)


def _without_typed_tokens(text: str, control: ControlPattern) -> list[str]:
    """Cut a text inside each control token that was typed in it, so that no part is read as a control token."""
    match = control.search(text) if control else None
    if match is None:
        return [text] if text else []
    if len(match[0]) == 1:
        raise BadData(f"The text holds {match[0]!r}, which this tokenizer can only read as a control token.")
    middle = match.start() + len(match[0]) // 2
    return [*_without_typed_tokens(text[:middle], control), *_without_typed_tokens(text[middle:], control)]
