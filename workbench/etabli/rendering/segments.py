"""Fill the contents into a layout: the segments of a row, with what is trained of each, and how they are tokenised."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby, pairwise

from etabli.core.contracts import Message
from etabli.core.errors import BadData
from etabli.rendering.layout import REASONING, STRUCTURE, ControlPattern, Layout, Part
from etabli.rendering.masks import Flag, trained_spans, training_flags


@dataclass
class Segment:
    """A stretch of the rendered text that belongs to one message, or to the template."""

    text: str
    role: str
    train: bool = False
    message: int | None = None
    is_typed: bool = False  # content or a thought: control tokens in it stay text
    begins: int | None = None  # first segment of a content: how many leading characters the template removed


def make_segments(layout: Layout, messages: list[Message], policy: str, text: str) -> list[Segment]:
    """Return the segments of a conversation in order; joined they are ``text``, the template's own.

    Raises:
        BadData: the template rewrites or leaves out a content.
    """
    flags = training_flags(messages, policy)
    segments: list[Segment] = []
    ends: dict[int, bool] = {}  # message -> whether the end of its content is trained
    for part, (value, removed) in zip(layout.parts, _fill_slots(layout, messages, text)):
        message = None if part.message is None else messages[part.message]
        if part.is_slot and message is not None and part.role != REASONING:
            segments += content_segments(value, removed, part, message, flags)
            ends[part.message or 0] = segments[-1].train
        else:
            segments.append(_part_segment(part, value, message, flags, policy, ends))
    _require_all_contents(segments, messages)
    return segments


def _fill_slots(layout: Layout, messages: list[Message], text: str) -> list[tuple[str, int]]:
    """Return the text of each part, and how many leading characters of its content the template removed.

    Raises:
        BadData: the text is not the shell with the contents in it, but for blanks at their ends.
    """
    filled: list[tuple[str, int]] = []
    position = 0
    for index, part in enumerate(layout.parts):
        values = [(part.text, 0)]
        following = ""
        if part.is_slot:
            message = messages[part.message or 0]
            values = list(_variants(message.get("reasoning", "") if part.role == REASONING else message["content"]))
            following = "".join(after.text for after in layout.parts[index + 1 : index + 2])  # "" if that is a slot
        is_last = index == len(layout.parts) - 1
        for value, removed in values:
            end = position + len(value)
            if text.startswith(value + following, position) and (not is_last or end == len(text)):
                filled.append((value, removed))
                position = end
                break
        else:
            raise BadData("The chat template rewrites what a message says, so content can't be told from structure.")
    return filled


def _variants(content: str) -> Iterator[tuple[str, int]]:
    """Yield how a template may write a content, itself first, and how many leading characters are removed then."""
    yield content, 0
    for blanks in (None, "\n"):
        for value in (content.strip(blanks), content.lstrip(blanks)):
            yield value, len(content) - len(content.lstrip(blanks))
        yield content.rstrip(blanks), 0
    yield json.dumps(content, ensure_ascii=False)[1:-1], 0  # GPT-OSS writes a tool's result as JSON


def content_segments(value: str, removed: int, part: Part, message: Message, flags: list[Flag]) -> list[Segment]:
    """Return the content of a message, cut where training begins or ends."""
    index = part.message or 0
    spans = trained_spans(message, flags[index])
    edges = {0, len(value)} | {min(max(0, edge - removed), len(value)) for span in spans for edge in span}
    segments = [
        Segment(value[start:stop], part.role, any(low <= start + removed < high for low, high in spans), index, True)
        for start, stop in pairwise(sorted(edges))
    ] or [Segment("", part.role, flags[index] is True, index, True)]
    segments[0].begins = removed
    return segments


def _part_segment(
    part: Part, value: str, message: Message | None, flags: list[Flag], policy: str, ends: dict[int, bool]
) -> Segment:
    """Return the segment of the template's text, or of a thought; what ends a content is trained as its last token."""
    if message is None or part.message is None:
        return Segment(value, STRUCTURE)
    train = flags[part.message] is True
    if part.role == REASONING:  # spans are of the content; a thought that the row has not is never trained
        has_thought = message.get("reasoning") is not None
        train = bool(flags[part.message]) and has_thought and policy == "answers_and_reasoning"
    elif not part.is_before_content and not message.get("tool_calls"):
        train = ends.get(part.message, train)
    return Segment(value, part.role, train, part.message, part.is_slot)


def _require_all_contents(segments: list[Segment], messages: list[Message]) -> None:
    """Refuse a template that silently leaves out a content; templates for images do so if it is no list of parts."""
    present = {segment.message for segment in segments if segment.begins is not None}
    for index, message in enumerate(messages):
        if message["content"].strip() and index not in present:
            raise BadData(f"The model's chat template leaves out what message {index + 1} ({message['role']}) says.")


def split_at_control_tokens(segments: list[Segment], control: ControlPattern) -> list[list[Segment]]:
    """Group segments into chunks: a chunk is one control token of the template, or all the text between two of them."""
    chunks: list[list[Segment]] = [[]]
    for segment in segments:
        position = 0
        for match in control.finditer(segment.text) if control and not segment.is_typed else ():
            chunks[-1].append(replace(segment, text=segment.text[position : match.start()]))
            chunks += [[replace(segment, text=match[0])], []]
            position = match.end()
        chunks[-1].append(replace(segment, text=segment.text[position:]))
    kept = [[segment for segment in chunk if segment.text or segment.begins is not None] for chunk in chunks]
    return [chunk for chunk in kept if chunk]


def without_typed_tokens(text: str, control: ControlPattern) -> list[str]:
    """Cut a text inside each control token that was typed in it, so that no part is read as a control token."""
    match = control.search(text) if control else None
    if match is None:
        return [text] if text else []
    if len(match[0]) == 1:
        raise BadData(f"The text holds {match[0]!r}, which this tokenizer can only read as a control token.")
    middle = match.start() + len(match[0]) // 2
    return [*without_typed_tokens(text[:middle], control), *without_typed_tokens(text[middle:], control)]


def is_clean(segments: list[Segment], control: ControlPattern) -> bool:
    """Return whether the template put every control token of the whole text there."""
    if control is None:
        return True
    runs = ["".join(segment.text for segment in run) for typed, run in groupby(segments, _is_typed) if not typed]
    own_tokens = [token for run in runs for token in control.findall(run)]
    return control.findall("".join(segment.text for segment in segments)) == own_tokens


def is_control_token(chunk: list[Segment], control: ControlPattern) -> bool:
    """Return whether a chunk is one control token that the template put there."""
    return not chunk[0].is_typed and bool(control and control.fullmatch(chunk[0].text))


def token_owner(owners: Sequence[Segment], text: str, start: int, stop: int) -> Segment:
    """Return the segment that a token belongs to: the first message of which it holds a letter, else a blank.

    In ``▁It`` the blank may be the template's, and the letters an answer's.

    Args:
        owners: the segment of each character of ``text``. start, stop: the token's first character, one after the last.
    """
    first = owners[start]
    if stop <= start + 1 or owners[stop - 1] is first:
        return first
    candidates = [owner for owner in owners[start:stop] if owner.message is not None]
    with_letters = (owners[n] for n in range(start, stop) if owners[n].message is not None and not text[n].isspace())
    return next(with_letters, candidates[0] if candidates else first)


def _is_typed(segment: Segment) -> bool:
    return segment.is_typed


@lru_cache(maxsize=8)
def compile_alternatives(names: tuple[str, ...]) -> ControlPattern:
    """Return a pattern that matches every added token that is not blank; the longest match wins."""
    longest_first = sorted(filter(str.strip, names), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
