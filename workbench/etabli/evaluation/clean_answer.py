"""Read a raw answer as a person reads it: the one normaliser of every system's answers and of the truth.

``clean`` removes a thought before the answer and a code fence around it, and composes accents (Unicode NFC). Each
change is counted; the raw answer stays beside it in the results. Tool calls are parsed from the same raw text.
"""

import contextlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from etabli.core import texts
from etabli.core.contracts import CLEANINGS, Message, Row, ToolCall
from etabli.core.errors import EtabliError
from etabli.data.questions import answer_message, truth
from etabli.data.reading import thought_tags
from etabli.data.reading.thought_tags import TaggedThought
from etabli.evaluation.call_format import CallFormat, JsonCalls, due_calls, function_names
from etabli.evaluation.call_probe import find_call_format
from etabli.rendering.template_engine import ChatTokenizer, Conversation, Tools, apply_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NAME = "clean_answer: no thought before the answer, no code fence around it, Unicode NFC"
UNICODE, THOUGHT, OPEN_THOUGHT, FENCE = CLEANINGS
_FENCE = re.compile(r"(?P<mark>`{3,}|~{3,})[^\n`]*\n(?P<text>.*?)\n?[ \t]*(?P=mark)", re.DOTALL)
# On one line only a value of JSON has its language before it: other words belong to the text.
_LINE_FENCE = re.compile(r"(?P<mark>`{3,}|~{3,})(?:(?i:json)[ \t]*(?=[{\[]))?(?P<text>[^\n]*?[^\s`~][^\n]*?)(?P=mark)")
_LAST_MARK = re.compile(r"(?:<[^<>\s]+>|\[[A-Z_/]+\])\w*\s*\Z")
_THOUGHT, _ANSWER = "Thinking", "Xanswer"


class ThoughtMarks(NamedTuple):
    """What stands before a thought and after it, and what may stand between that and the answer."""

    begin: str
    end: str
    follow: str = ""


KNOWN_THOUGHTS = tuple(ThoughtMarks(*pair) for pair in thought_tags.PAIRS)


@dataclass(frozen=True)
class AnswerMarks:
    """What a model may write around the text of an answer, read off its template.

    ``lead`` is the template's own text between a prompt and the text of an answer.
    """

    thoughts: tuple[ThoughtMarks, ...] = KNOWN_THOUGHTS
    lead: str = ""
    special_tokens: tuple[str, ...] = ()
    calls: CallFormat | None = None

    @property
    def end_tokens(self) -> tuple[str, ...]:
        """The control tokens that may end an answer: those with which a call is written are a part of it."""
        call_marks = list(self.calls.marks()) if self.calls else []
        return tuple(token for token in self.special_tokens if not any(token in mark for mark in call_marks))


@dataclass(frozen=True)
class CleanAnswer:
    """An answer, the thought before it, its tool calls, and the kinds of change (``contracts.CLEANINGS``).

    ``unreadable_calls`` is the number of calls that it begins and that can't be parsed; they stay in its text.
    """

    text: str
    thought: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    changes: tuple[str, ...] = ()
    unreadable_calls: int = 0


def clean(text: str) -> CleanAnswer:
    """Clean a text without control tokens: a truth, or an answer of lookup."""
    return clean_raw(text, text.strip(), "", AnswerMarks())


def clean_raw(raw: str, text: str, prompt: str, marks: AnswerMarks, tools: Tools = None) -> CleanAnswer:
    """Clean an answer.

    Args:
        raw: the answer with control tokens; text: without them, as it was decoded.
        prompt: the prompt as the model got it; it may open the thought.
        marks: the marks of the model's template; tools: what the model may call.
    """
    rest = _without_end(raw, marks.end_tokens)
    is_ended = rest != raw.strip()
    thought, answer, changes = _split_thought(rest, prompt, marks.thoughts, is_ended)
    body = answer.removeprefix(marks.lead) if marks.lead else answer
    calls = marks.calls.parse(body, tools) if marks.calls else []
    unreadable_count = marks.calls.count_unreadable(body, tools) if marks.calls else 0
    if calls and not unreadable_count:
        return CleanAnswer(calls_text(calls), thought, calls, changes)
    if body != rest:
        text = _without_tokens(body, marks.special_tokens)
    unfenced_text = fence["text"].strip() if (fence := _whole_fence(text)) else text
    composed_text = texts.compose(unfenced_text)
    changes += (FENCE,) * bool(fence) + (UNICODE,) * (composed_text != unfenced_text)
    return CleanAnswer(composed_text, thought, calls, changes, unreadable_count)


def judged_truth(row: Row) -> CleanAnswer:
    """A row's answer, cleaned as the systems' answers are. A truth that is nothing but a thought stays as it is."""
    message = answer_message(row)
    if calls := list(due_calls(message.get("tool_calls") if message else None)):
        return CleanAnswer(calls_text(calls), calls=calls)
    answer = clean(truth(row))
    return answer if answer.text else CleanAnswer(truth(row))


def is_call_as_text(row: Row, call_format: CallFormat | None) -> bool:
    """Is a row's answer a text that is a call of one of its tools, as JSON or in the form of the model's template?"""
    message, tools = answer_message(row), row.get("tools")
    if not tools or not message or message.get("tool_calls"):
        return False
    forms = (call_format, *(JsonCalls("", (), "name", key) for key in ("arguments", "parameters")))
    calls = (call for form in forms if form for call in form.parse(message["content"].strip(), tools))
    return any(call["name"] in function_names(tools) for call in calls)


def calls_text(calls: Sequence[ToolCall]) -> str:
    """Calls as text, one a line: JSON with sorted keys."""
    return "\n".join(json.dumps(call, ensure_ascii=False, sort_keys=True) for call in calls)


def _split_thought(
    raw: str, prompt: str, thoughts: Sequence[ThoughtMarks], is_ended: bool
) -> tuple[str, str, tuple[str, ...]]:
    """The thought at the beginning, what follows it, and the change. A thought without an end takes the whole.

    Where the prompt opened the thought and the model ended its turn without closing it, the whole is the answer.
    """
    opened = next((marks for marks in thoughts if prompt.rstrip().endswith(marks.begin)), None)
    marks = next((marks for marks in thoughts if raw.startswith(marks.begin)), opened)
    tagged = _find_thought(raw, opened.begin if opened else "", marks)
    if tagged is None:
        return "", raw, ()
    if tagged.rest is not None:
        answer = tagged.rest.lstrip().removeprefix(marks.follow if marks else "").lstrip()
        return tagged.thought.strip(), answer, (THOUGHT,)
    is_begun = _find_thought(raw, "", marks) is not None
    return ("", raw, ()) if is_ended and not is_begun else (tagged.thought.strip(), "", (OPEN_THOUGHT,))


def _find_thought(raw: str, begin: str, marks: ThoughtMarks | None) -> TaggedThought | None:
    """The thought at the beginning of an answer whose prompt ended with ``begin``; None if there is none."""
    if tagged := thought_tags.split(begin + raw):
        return tagged
    if marks is None or not (begin or raw.startswith(marks.begin)):
        return None
    thought, end, rest = raw.removeprefix(marks.begin).partition(marks.end)
    return TaggedThought(marks.begin, thought, rest if end else None)


def _whole_fence(text: str) -> re.Match[str] | None:
    """The match of a code fence that holds the whole text, and no other fence."""
    match = _FENCE.fullmatch(text) or _LINE_FENCE.fullmatch(text)
    return match if match and match["mark"] not in match["text"] else None


def _without_end(raw: str, end_tokens: Sequence[str]) -> str:
    """The text without control tokens and blanks at its end."""
    raw = raw.strip()
    while token := next((token for token in end_tokens if raw.endswith(token)), None):
        raw = raw.removesuffix(token).rstrip()
    return raw


def _without_tokens(text: str, special_tokens: Sequence[str]) -> str:
    for token in special_tokens:
        text = text.replace(token, "")
    return text.strip()


# --- reading the marks off a template -------------------------------------------------------------------------------


def find_answer_marks(tokenizer: "PreTrainedTokenizerBase") -> AnswerMarks:
    """The marks of a tokenizer's template; ``<think>`` and the like are always known."""
    own_thought = _find_thought_marks(tokenizer)
    thoughts = (own_thought, *KNOWN_THOUGHTS) if own_thought else KNOWN_THOUGHTS
    special_tokens = tuple(sorted(filter(None, map(str, tokenizer.all_special_tokens)), key=len, reverse=True))
    return AnswerMarks(thoughts, _find_lead(tokenizer), special_tokens, find_call_format(tokenizer))


def _render(tokenizer: ChatTokenizer, answer: Message) -> tuple[str, str]:
    """The prompt of a question, and the question with an answer; empty texts where the template refuses them."""
    user: Message = {"role": "user", "content": "Question"}
    with contextlib.suppress(EtabliError):
        prompt, answered = apply_template(tokenizer, [Conversation([user], prompt=True), Conversation([user, answer])])
        return prompt, answered
    return "", ""


def _find_lead(tokenizer: ChatTokenizer) -> str:
    prompt, answered = _render(tokenizer, {"role": "assistant", "content": _ANSWER})
    lead, has_answer, _ = answered[len(prompt) :].partition(_ANSWER)
    return lead.strip() if answered.startswith(prompt) and has_answer else ""


def _find_thought_marks(tokenizer: ChatTokenizer) -> ThoughtMarks | None:
    """The marks that the template writes around a thought; None if it writes none."""
    answer: Message = {"role": "assistant", "content": _ANSWER, "reasoning": _THOUGHT}
    prompt, answered = _render(tokenizer, answer)
    before, has_thought, after = answered.partition(_THOUGHT)
    between, has_answer, _ = after.partition(_ANSWER)
    last_mark = _LAST_MARK.search(before)
    begin = before[len(prompt) :].strip() if before.startswith(prompt) else ""
    begin = begin or (last_mark[0].strip() if last_mark else "")  # a prompt may open the thought
    if not has_thought or not has_answer or not begin or not between.strip():
        return None
    end = re.match(r"\s*(<[^<>\s]+>|\[[A-Z_/]+\])?", between)
    mark = (end[1] if end else "") or between.strip()
    return ThoughtMarks(begin, mark, between.partition(mark)[2].strip())
