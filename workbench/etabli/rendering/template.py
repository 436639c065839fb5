"""Split a rendered conversation into segments: which text is the template's, which is content, and what is trained.

The template is rendered once with a placeholder instead of each content. What lies between the placeholders is the
template's own text, and only that text may hold control tokens.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from etabli.core.contracts import Message, Row
from etabli.core.errors import BadData, BadInput
from etabli.rendering.template_engine import (
    NO_TEMPLATE,
    ChatTokenizer,
    Conversation,
    Tools,
    apply_template,
    apply_template_to_rows,
)

PLAIN = "text"  # the role of text without a template
STRUCTURE = "template"  # the role of the template's own text
ControlPattern = re.Pattern[str] | None  # matches the control tokens; None if the tokenizer has none
Training = bool | list[list[int]]  # whether a message is trained, or which spans of its content are
Span = tuple[int, int]  # first character, one after the last


@dataclass
class Segment:
    """A part of the rendered text: either the template's own text, or content of one message."""

    text: str
    role: str
    train: bool = False
    content: bool = False
    message: int | None = None
    begins: int | None = None  # first segment of a content: how many leading characters the template removed


def _check_other_fields(messages: list[Message], tools: Tools, control: ControlPattern) -> None:
    """Refuse control tokens in tools, calls, names and roles: a template writes them as its own text."""
    fields = [
        {key: value for key, value in turn.items() if key not in ("content", "train", "spans")} for turn in messages
    ]
    text = json.dumps([tools, fields], ensure_ascii=False, default=str)
    match = control.search(text) if control else None
    if match:
        raise BadData(
            f"A tool, a call, a name or a role holds the control token {match[0]!r} as text: remove it there."
        )
    if "\ue000" in text:
        raise BadData("A tool, a call, a name or a role holds the private sign U+E000: remove it there.")


def content_segments(text: str, removed: int, index: int, message: Message, training: Training) -> list[Segment]:
    """Return the content of a message, cut where training begins or ends.

    Args:
        text: the content as the template writes it, possibly without its outer blanks.
        removed: how many characters the template removed at the beginning; spans count from the full content.
        index: the message's number.
        message: the message, for its role and its full length.
        training: whether all of it is trained, or its trained spans.
    """
    spans = [[0, len(message["content"])]] if training is True else training or []

    def is_trained(start: int) -> bool:
        return any(low <= start + removed < high for low, high in spans)

    edges = {0, len(text)} | {min(max(0, edge - removed), len(text)) for span in spans for edge in span}
    ordered_edges = sorted(edges)
    segments = [
        Segment(
            text[start:stop], message["role"], any(low <= start + removed < high for low, high in spans), True, index
        )
        for start, stop in pairwise(ordered_edges)
    ] or [Segment("", message["role"], training is True, True, index)]
    segments[0].begins = removed
    return segments


def training_flags(messages: list[Message], policy: str) -> list[Training]:
    """Return for each message whether the policy trains it, or which spans of it; ``train`` overrides the policy."""
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    texts = [index for index, message in enumerate(messages) if message["role"] == PLAIN]
    trained_turns = set(answers[-1:] if policy == "last" else answers + texts)
    flags: list[Training] = []
    for index, message in enumerate(messages):
        override = message.get("train")
        if override is not None:
            flags.append(bool(override))
        elif policy == "spans":
            flags.append(message.get("spans") or [])
        else:
            flags.append(index in trained_turns)
    return flags


def segment_conversation(
    messages: list[Message],
    tokenizer: ChatTokenizer,
    policy: str,
    prompt: bool,
    tools: Tools,
    control: ControlPattern,
    texts: list[str] | None = None,
) -> list[Segment]:
    """Return the segments of a conversation in order; joined they are exactly the template's own text.

    Args:
        texts: what ``render_rows`` gave for this row, where many rows are rendered.

    Raises:
        BadInput: the tokenizer has no chat template.
        BadData: the template refuses the conversation, rewrites or leaves out contents, or a control token is typed
            outside of the contents.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise BadInput(NO_TEMPLATE)
    _check_other_fields(messages, tools, control)
    shell, full_text, *call_texts = texts or apply_template(tokenizer, _variants(messages, prompt, tools))
    calls = {
        index: _call_span(shell, *call_texts[3 * number : 3 * number + 3])
        for number, index in enumerate(_turns_with_calls(messages))
    }
    for contents in ([m["content"] for m in messages], [m["content"].strip() for m in messages]):
        segments = _assemble(shell, messages, contents, training_flags(messages, policy), calls)
        if "".join(segment.text for segment in segments) == full_text:
            _require_all_contents(segments, messages)
            return segments
    raise BadData("The chat template rewrites what a message says, so content can't be told from structure.")


def _require_all_contents(segments: list[Segment], messages: list[Message]) -> None:
    """Refuse a template that silently leaves out a content; templates for images do so if it is no list of parts."""
    present = {segment.message for segment in segments if segment.content}
    for index, message in enumerate(messages):
        if message["content"].strip() and index not in present:
            raise BadData(f"The model's chat template leaves out what message {index + 1} ({message['role']}) says.")


def render_rows(rows: Iterable[Row], tokenizer: ChatTokenizer) -> Iterator[list[str] | None]:
    """Yield for each row the ``texts`` argument of ``segment_conversation``, with many rows in one request.

    Yields None for a row that has to be rendered alone: plain text, or a row whose error is then reported.
    """
    return apply_template_to_rows(tokenizer, map(_row_variants, rows))


def _row_variants(row: Row) -> list[Conversation]:
    """Return the variants of a row; none if it is no chat or is malformed, which ``render`` reports."""
    messages = row["messages"]
    has_texts = all(isinstance(message.get(name), str) for message in messages for name in ("role", "content"))
    is_chat = has_texts and messages and messages[0]["role"] != PLAIN
    return _variants(messages, False, row.get("tools")) if is_chat else []


def _variants(messages: list[Message], prompt: bool, tools: Tools) -> list[Conversation]:
    """Return what to render of a row: with placeholders, as it is, and three more for each turn with tool calls.

    Those three show which text the calls add: up to before the turn, through it, and through it without its calls.
    """
    shells = [_with_placeholder(index, message) for index, message in enumerate(messages)]
    variants: list[tuple[list[Message], bool]] = [(shells, prompt), (messages, prompt)]
    for index in _turns_with_calls(messages):
        call_less = shells[index].copy()
        del call_less["tool_calls"]
        variants += [(shells[:index], True), (shells[: index + 1], False), ([*shells[:index], call_less], False)]
    return [Conversation(turns, flag, tools) for turns, flag in variants]


def _with_placeholder(index: int, message: Message) -> Message:
    """Return a message with a placeholder as its content. Empty content stays empty if the turn has tool calls."""
    empty = not message["content"] and message.get("tool_calls")
    return {**message, "content": "" if empty else f"\ue000{index}\ue001"}


def _turns_with_calls(messages: list[Message]) -> list[int]:
    return [index for index, message in enumerate(messages) if message.get("tool_calls")]


def _call_span(shell: str, text_before: str, text_with: str, text_without: str) -> Span:
    """Return where in ``shell`` the template writes a turn with tool calls."""
    if text_with == text_without:
        raise BadData("The model's chat template leaves tool calls out: choose a model whose template knows them.")
    if not (shell.startswith(text_with) and text_with.startswith(text_before)):
        raise BadData("The chat template writes tool calls in a way that can't be followed.")
    return len(text_before), len(text_with)


def _assemble(
    shell: str, messages: list[Message], contents: list[str], training: Sequence[Training], calls: dict[int, Span]
) -> list[Segment]:
    """Return the template's text with the contents put in place of their placeholders, as segments."""
    segments: list[Segment] = []
    position = 0
    for match in re.finditer("\ue000([0-9]+)\ue001", shell):
        index, full = int(match[1]), messages[int(match[1])]["content"]
        segments += _structure_segments(shell, position, match.start(), messages, training, calls)
        removed = 0 if contents[index] == full else len(full) - len(full.lstrip())
        segments += content_segments(contents[index], removed, index, messages[index], training[index])
        position = match.end()
    return segments + _structure_segments(shell, position, len(shell), messages, training, calls)


def _structure_segments(
    shell: str, start: int, end: int, messages: list[Message], training: Sequence[Training], calls: dict[int, Span]
) -> list[Segment]:
    """Return the template's text from ``start`` to ``end``; within a turn of tool calls it is the assistant's."""
    segments: list[Segment] = []
    for index, (low, high) in calls.items():
        if start < min(high, end) and low < end:
            segments.append(Segment(shell[start : max(start, low)], STRUCTURE))
            call_text = shell[max(start, low) : min(high, end)]
            segments.append(Segment(call_text, messages[index]["role"], training[index] is True, message=index))
            start = min(high, end)
    return [*segments, Segment(shell[start:end], STRUCTURE)]


def control_token_pattern(tokenizer: ChatTokenizer) -> ControlPattern:
    """Return a pattern that matches every added token that is not blank; the longest match wins."""
    return _compile_alternatives(tuple(map(str, tokenizer.get_added_vocab())))


@lru_cache(maxsize=8)
def _compile_alternatives(names: tuple[str, ...]) -> ControlPattern:
    longest_first = sorted(filter(str.strip, names), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def split_at_control_tokens(segments: list[Segment], control: ControlPattern) -> list[list[Segment]]:
    """Group segments into chunks to tokenise: a chunk is one control token, or all the text between two of them."""
    chunks: list[list[Segment]] = [[]]
    answer: Segment | None = None  # the content just before; its end-of-turn token belongs to it
    for segment in segments:
        if segment.content or control is None:
            chunks[-1].append(segment)
            answer = segment
            continue
        position = 0
        is_call = segment.role != STRUCTURE
        for match in control.finditer(segment.text):
            gap = segment.text[position : match.start()]
            # A blank between an answer and its end-of-turn token is part of what the model has to write.
            owner = segment if is_call else answer if answer is not None and not gap.strip() else None
            chunks[-1].append(_structure_of(gap, owner))
            chunks += [[_structure_of(match[0], owner)], []]
            answer, position = None, match.end()
        tail = segment.text[position:]
        chunks[-1].append(_structure_of(tail, segment if is_call and tail.strip() else None))
        answer = None if position or segment.text else answer
    texts = [[segment for segment in chunk if segment.text] for chunk in chunks]
    return [chunk for chunk in texts if chunk]


def is_clean(chunks: list[list[Segment]], control: ControlPattern) -> bool:
    """Return whether the template put every control token of the whole text there."""
    texts = ["".join(segment.text for segment in chunk) for chunk in chunks]
    template_tokens = [text for text, chunk in zip(texts, chunks) if is_control_token(chunk, control)]
    return control is None or control.findall("".join(texts)) == template_tokens


def is_control_token(chunk: list[Segment], control: ControlPattern) -> bool:
    """Return whether a chunk is one control token that the template put there."""
    return len(chunk) == 1 and not chunk[0].content and bool(control and control.fullmatch(chunk[0].text))


def _structure_of(text: str, owner: Segment | None) -> Segment:
    """Return a segment of the template's text; it is trained with its owner, if it has one."""
    return Segment(text, owner.role, owner.train, message=owner.message) if owner else Segment(text, STRUCTURE)
