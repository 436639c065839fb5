"""What a chat template writes, by owner: its own text, the contents, the thoughts, and what the model has to write.

The template is rendered once with a placeholder instead of each content and each thought (the shell). What the model
has to write of an assistant's message begins where the generation prompt of the messages before it ends, and stops
with the last control token of the conversation that ends there. So nothing about any template is known in advance.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, cast

from etabli.core.contracts import Message
from etabli.core.errors import BadData
from etabli.rendering.forms import Form, possible_forms
from etabli.rendering.marked_tools import has_tools, mark_calls, mark_tools, unwritten
from etabli.rendering.template_engine import ChatTokenizer, Conversation, try_template

STRUCTURE = "template"  # the role of the template's own text
REASONING = "reasoning"  # the role of a thought and of the tags around it
ControlPattern = re.Pattern[str] | None  # matches the control tokens; None if the tokenizer has none
_SLOT = re.compile("\ue000([0-9]+)(r?)\ue001")  # a placeholder: of message 2 its content, or its thought
ASKED_ANSWERS = 8  # at either end of a long conversation: see ``_lenders``
_CLOSING_TAG = "</[A-Za-z_]+>"
_WORD = r"</?[A-Za-z_]+>|\w+"  # or a tag


class Part(NamedTuple):
    """A stretch of the shell. A slot is filled with the content, or the thought, of its message."""

    text: str  # empty for a slot
    role: str
    message: int | None = None  # whose it is; None: the template's own
    is_slot: bool = False
    is_before_content: bool = False  # what the model has to write before the content


@dataclass(frozen=True)
class Layout:
    """The shell of a conversation, cut into parts.

    Attributes:
        parts: in order; with the slots filled they are the template's text.
        form: how the template takes the messages.
        off_prompt: answers that don't follow the generation prompt, even where a conversation ends with them.
        rewritten: those that follow it there, and stand after another header here, since later turns follow.
        dropped_thoughts: messages whose thought the template leaves out because of what follows; and those whose
            empty thought it does not write.
        unwritten_tools: names of the tools that the template leaves out, or something of them.
    """

    parts: tuple[Part, ...]
    form: Form
    off_prompt: tuple[int, ...] = ()
    rewritten: tuple[int, ...] = ()
    dropped_thoughts: tuple[int, ...] = ()
    unwritten_tools: tuple[str, ...] = ()


class _Turn(NamedTuple):
    """Where a message stands in the shell: what the model has to write of it, or what a person said with its end."""

    message: int
    start: int
    stop: int
    follows_prompt: bool = True  # here


def lay_out(tokenizer: ChatTokenizer, conversation: Conversation, control: ControlPattern) -> Layout:
    """Return the layout of a conversation; its contents don't matter, only its shape.

    Raises:
        BadData: the template refuses the conversation, or leaves out tool calls or a thought.
    """
    errors = []
    for form in possible_forms(conversation.messages):
        try:
            return _Shell(tokenizer, conversation, form, control).layout()
        except BadData as error:
            errors.append(error)
    raise errors[0]


def _with_placeholders(index: int, message: Message) -> Message:
    """Return a message with placeholders. Empty content stays empty if the turn has tool calls."""
    is_empty = not message["content"] and message.get("tool_calls")
    shell: dict[str, object] = {**message, "content": "" if is_empty else f"\ue000{index}\ue001"}
    if message.get("reasoning"):
        shell["reasoning"] = f"\ue000{index}r\ue001"
    return cast(Message, shell)


class _Shell:
    """One way to render a conversation with placeholders, and what is found in it."""

    def __init__(
        self, tokenizer: ChatTokenizer, conversation: Conversation, form: Form, control: ControlPattern
    ) -> None:
        messages = conversation.messages
        self.tokenizer, self.conversation = tokenizer, conversation
        self.messages, self.form, self.control, self.thinking = messages, form, control, conversation.thinking
        self.answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
        shells = form.apply([_with_placeholders(index, message) for index, message in enumerate(messages)])
        self.shells = shells
        variants = [conversation._replace(messages=shells)]
        lenders = _lenders(messages, self.answers)
        asked = [index for index in self.answers if index not in lenders]
        for index in asked:
            variants += _turn_variants(conversation, shells, index)
        text, *texts = try_template(tokenizer, variants)
        if isinstance(text, BadData):
            raise text
        self.text = text
        # For each answer: its two prompts, and the conversation that ends with it.
        self.variants = {index: texts[3 * place : 3 * place + 3] for place, index in enumerate(asked)}
        self.variants |= {index: _borrow(self.variants[lender], lender, index) for index, lender in lenders.items()}

    def layout(self) -> Layout:
        """Return the layout, after checking that all contents, calls and thoughts are there."""
        for index in self.answers:
            if self.messages[index].get("tool_calls"):
                self._require_calls(index)
        dropped = self._dropped_thoughts()
        turns = [turn for index in range(len(self.messages)) if (turn := self._turn(index))]
        off_prompt = tuple(index for index in self.answers if self._is_off_prompt(index, bool(dropped)))
        rewritten = (turn.message for turn in turns if not turn.follows_prompt and turn.message not in off_prompt)
        parts, unwritten_tools = tuple(self._parts(turns)), tuple(self._unwritten_tools())
        return Layout(parts, self.form, off_prompt, tuple(rewritten), tuple(dropped), unwritten_tools)

    def _is_off_prompt(self, index: int, drops_thoughts: bool) -> bool:
        """Return whether an answer doesn't follow its prompt. The first message of a conversation has none.

        In a row with thoughts an answer without one may follow the prompt without thinking. Where the template drops
        thoughts, what the prompt writes after the last message counts: GPT-OSS's prompt still has the thought before.
        """
        prompt, other_prompt, ended = self.variants[index]
        if not index or not isinstance(prompt, str) or not isinstance(ended, str):
            return False
        has_choice = self._follows_either_prompt(index) and isinstance(other_prompt, str)
        prompts = (prompt, str(other_prompt)) if has_choice else (prompt,)
        return not (ended.startswith(prompts) or (drops_thoughts and any(_ends_alike(ended, text) for text in prompts)))

    def _follows_either_prompt(self, index: int) -> bool:
        """Return whether an answer has no thought in a row with thoughts: it may follow the prompt without thinking."""
        return self.thinking and self.messages[index].get("reasoning") is None

    def _require_calls(self, index: int) -> None:
        """Refuse a template that leaves out a call, or one of its arguments."""
        marked, marks = mark_calls(_with_placeholders(index, self.messages[index]))
        shells = [*self.shells[:index], *self.form.apply([marked])]
        [text] = try_template(self.tokenizer, [self.conversation._replace(messages=shells, prompt=False)])
        if isinstance(text, BadData):
            raise text
        if missing := unwritten(text, marks):
            raise BadData(
                f"The model's chat template leaves tool calls out ({missing[0]} of message {index + 1}): choose a "
                "model whose template knows them, or correct the template."
            )

    def _unwritten_tools(self) -> list[str]:
        """Return the names of the tools of which a name, a description or an argument is left out."""
        if not has_tools(self.conversation.tools):
            return []
        tools, marks = mark_tools(self.conversation.tools or [])
        [text] = try_template(self.tokenizer, [self.conversation._replace(messages=self.shells, tools=tools)])
        return unwritten(text, marks) if isinstance(text, str) else []

    def _dropped_thoughts(self) -> list[int]:
        """Return the messages whose thought is left out because of what follows; refuse any other.

        A later question follows, or (GPT-OSS) the answer after a call.
        """
        slots = {(int(match[1]), match[2]) for match in _SLOT.finditer(self.text)}
        dropped = []
        for index, message in enumerate(self.messages):
            if message.get("reasoning") == "" and message["role"] == "assistant":
                dropped += [] if self._writes_empty_thought(index) else [index]
            if not message.get("reasoning") or (index, "r") in slots:
                continue
            is_shown_at_first = f"\ue000{index}r\ue001" in str(self.variants.get(index, ("", "", ""))[2])
            if not is_shown_at_first:
                raise _no_place(index)
            dropped.append(index)
        return dropped

    def _content_end(self, text: str, index: int) -> int | None:
        """Return where the content of a message ends, if it is there."""
        place = text.rfind(mark := f"\ue000{index}\ue001")
        return place + len(mark) if place >= 0 else None

    def _turn(self, index: int) -> _Turn | None:
        content_end = self._content_end(self.text, index)
        if index in self.variants:
            return self._answer(index, content_end)
        if content_end is None:
            return None
        start = self.text.rfind("\ue000", 0, content_end)
        return _Turn(index, start, self._first_control_token(content_end))

    def _answer(self, index: int, content_end: int | None) -> _Turn | None:
        """Return what the model has to write of an assistant's message."""
        prompt, other_prompt, ended = (str(text) if isinstance(text, str) else "" for text in self.variants[index])
        start, follows = self._after_prompt(self.text, prompt, other_prompt, self._follows_either_prompt(index))
        if content_end is not None and (start is None or start > content_end):
            start, follows = self.text.rfind("\ue000", 0, content_end), False
        if start is None:
            return None
        ended_start = self._content_end(ended, index) if content_end else self._after_prompt(ended, prompt, "")[0]
        ending = self._without_opener(ended[ended_start:].rstrip()) if ended_start is not None else ""
        is_call = bool(self.messages[index].get("tool_calls"))
        return _Turn(index, start, self._after_ending(content_end or start, ending, is_call), follows)

    def _without_opener(self, ending: str) -> str:
        """Return the end of a turn without a control token that opens what somebody else says.

        Gemma 4 writes ``<|tool_response>`` at the end of a call; ``<tool_response|>`` closes it.
        """
        match = re.search(r"<\|\w+>$", ending)
        return ending[: match.start()] if match and is_opener(match[0], self.control) else ending

    def _after_prompt(
        self, text: str, prompt: str, other_prompt: str, takes_either: bool = False
    ) -> tuple[int | None, bool]:
        """Return where a generation prompt ends in a text, and whether the text follows it exactly.

        A prompt is found from the last placeholder in it on: later turns change what a template writes before it. Where
        the text follows neither prompt, as much of the first one counts as agrees, in whole words and tags. With
        ``takes_either`` the longer prompt counts, whose end may be an empty thought.
        """
        candidates = sorted((prompt, other_prompt), key=len, reverse=True) if takes_either else (prompt, other_prompt)
        for candidate in filter(None, candidates):
            anchor, tail = _anchor(text, candidate)
            if anchor is not None and text.startswith(tail, anchor):
                return anchor + len(tail), takes_either or candidate is prompt
        anchor, tail = _anchor(text, prompt)
        if not prompt or anchor is None:
            return None, False
        return anchor + self._prompt_agreement(text[anchor:], tail), False

    def _prompt_agreement(self, text: str, prompt: str) -> int:
        """Return how far a text agrees with a prompt, without a part of a word, a tag or a control token."""
        length = _common_length(text, prompt)
        pattern = re.compile(f"{self.control.pattern}|{_WORD}" if self.control else _WORD)
        pieces = (match for side in (text, prompt) for match in pattern.finditer(side))
        return min((piece.start() for piece in pieces if piece.start() < length < piece.end()), default=length)

    def _agreement(self, text: str, other: str) -> int:
        """Return how far two texts agree, up to the end of the last control token in which they do."""
        length = _common_length(text, other)
        ends = [match.end() for match in self.control.finditer(other)] if self.control else []
        return max((end for end in ends if end <= length), default=0)

    def _after_ending(self, place: int, ending: str, is_call: bool) -> int:
        """Return where a turn ends: with its ending as it is alone, or as much of it as this text has."""
        if ending and self.text.startswith(ending, place):
            return place + len(ending)
        if is_call and (stop := self._call_end(place, ending)):
            return stop
        agreement = self._agreement(self.text[place:], ending)
        return place + agreement if agreement else self._first_control_token(place)

    def _call_end(self, place: int, ending: str) -> int | None:
        """Return where calls end of which this text leaves out the beginning, a thought or the blanks after it."""
        text = self.text[place:].lstrip()
        starts = (n for n, sign in enumerate(ending) if sign == text[:1] and text.startswith(ending[n:]))
        first = next(starts, None)
        return None if first is None else len(self.text) - len(text) + len(ending) - first

    def _first_control_token(self, place: int) -> int:
        """Return where a control token ends that stands at a place, or after a blank there."""
        match = self.control.search(self.text, place) if self.control else None
        return match.end() if match and not self.text[place : match.start()].strip() else place

    def _parts(self, turns: list[_Turn]) -> Iterator[Part]:
        slots = {match.start(): match for match in _SLOT.finditer(self.text)}
        thoughts = {turn.message: self._thought_end(turn) for turn in turns}
        edges = {0, len(self.text), *slots, *(match.end() for match in slots.values())}
        edges |= {edge for turn in turns for edge in (turn.start, turn.stop)} | {*filter(None, thoughts.values())}
        for start, stop in pairwise(sorted(edges)):
            if slot := slots.get(start):
                index = int(slot[1])
                yield Part("", REASONING if slot[2] else self.messages[index]["role"], index, True)
                continue
            turn = next((turn for turn in turns if turn.start <= start < turn.stop), None)
            yield self._structure(start, stop, turn, thoughts)

    def _structure(self, start: int, stop: int, turn: _Turn | None, thoughts: dict[int, int | None]) -> Part:
        text = self.text[start:stop]
        if turn is None:
            return Part(text, STRUCTURE)
        if start < (thoughts[turn.message] or 0):
            return Part(text, REASONING, turn.message)
        is_before = start < (self._content_end(self.text, turn.message) or 0)
        return Part(text, self.messages[turn.message]["role"], turn.message, is_before_content=is_before)

    def _thought_end(self, turn: _Turn) -> int | None:
        """Return where a turn's thought ends: with its closing tag, or with the control token that closes it."""
        mark = f"\ue000{turn.message}r\ue001"
        place = self.text.find(mark, turn.start, turn.stop)
        if place < 0:
            return self._empty_thought_end(turn)
        is_beside_calls = self.form.tags_in_content and self.messages[turn.message].get("tool_calls")
        if is_beside_calls and self.text[turn.start : place].strip() != "<think>":
            raise _no_place(turn.message)  # the template writes the calls first: they would be part of the thought
        place += len(mark)
        next_slot = self.text.find("\ue000", place, turn.stop)
        limit = next_slot if next_slot >= 0 else turn.stop
        match = self._closing().search(self.text, place, limit)
        return match.end() if match else limit

    def _closing(self) -> re.Pattern[str]:
        """Return the pattern of what may close a thought."""
        return re.compile(f"{self.control.pattern}|{_CLOSING_TAG}" if self.control else _CLOSING_TAG)

    def _empty_thought_end(self, turn: _Turn) -> int | None:
        """Return where the tags of an empty thought end that the model has to write; None if there are none."""
        content = self.text.find(f"\ue000{turn.message}\ue001", turn.start)
        is_answer = self.messages[turn.message]["role"] == "assistant"
        if not is_answer or not self.text[turn.start : max(content, 0)].strip():
            return None
        if not self._writes_empty_thought(turn.message):
            return None
        ends = [match.end() for match in self._closing().finditer(self.text, turn.start, content)]
        return ends[-1] if ends else content

    def _writes_empty_thought(self, index: int) -> bool:
        """Return whether the text before an answer is what stands round a thought, without the thought."""
        thinks = cast(
            Message, {**_with_placeholders(index, self.messages[index]), "reasoning": f"\ue000{index}r\ue001"}
        )
        shells = [*self.shells[:index], *self.form.apply([thinks])]
        [text] = try_template(self.tokenizer, [self.conversation._replace(messages=shells, prompt=False)])
        if isinstance(text, BadData) or thinks["reasoning"] not in text:
            return False
        with_thought = _before_content(text.replace(thinks["reasoning"], ""), index)
        return bool(with_thought) and with_thought == _before_content(self.text, index)


def is_opener(token: str, control: ControlPattern) -> bool:
    """Return whether a control token opens something that another one closes: ``<|name>`` and ``<name|>``."""
    match = re.fullmatch(r"<\|(\w+)>", token)
    return bool(match and control and control.fullmatch(f"<{match[1]}|>"))


def _common_length(text: str, other: str) -> int:
    """Return how many characters two texts have in common at their beginning."""
    differences = (n for n, (left, right) in enumerate(zip(text, other)) if left != right)
    return next(differences, min(len(text), len(other)))


def _ends_alike(text: str, prompt: str) -> bool:
    """Return whether a text goes on as a prompt does after the last slot in it."""
    anchor, tail = _anchor(text, prompt)
    return anchor is not None and text.startswith(tail, anchor)


def _no_place(index: int) -> BadData:
    return BadData(
        f"The model's chat template has no place for the reasoning of message {index + 1}: choose a model whose "
        "template has one, or remove the reasoning from the row."
    )


def _lenders(messages: Sequence[Message], answers: list[int]) -> dict[int, int]:
    """Return the answers in the middle of a long conversation, each with an earlier one of its kind.

    A template is asked three times for an answer, each time with all messages before it. So of many answers that follow
    a question, it is asked for the first ones and the last ones.
    """
    lenders: dict[int, int] = {}
    asked: dict[bool | None, list[int]] = {False: [], True: [], None: []}  # by whether its thought is text, empty, none
    for index in answers:
        message = messages[index]
        thought = message.get("reasoning")
        earlier = asked[None if thought is None else bool(thought)]
        follows_question = index > 0 and messages[index - 1]["role"] == "user" and not message.get("tool_calls")
        if follows_question and len(earlier) >= ASKED_ANSWERS and index not in answers[-ASKED_ANSWERS:]:
            lenders[index] = earlier[-1]
        elif follows_question:
            earlier.append(index)
    return lenders


def _borrow(texts: list[str | BadData], lender: int, index: int) -> list[str | BadData]:
    """Return an answer's variants made of an earlier one's, from the question before it on."""
    question = f"\ue000{lender - 1}\ue001"
    return [
        _renumber(text[max(0, text.rfind(question)) :], index - lender) if isinstance(text, str) else text
        for text in texts
    ]


def _before_content(text: str, index: int) -> str:
    """Return what stands between the slot before a content and its own, without blanks; empty without that content."""
    before, content, _ = text.partition(f"\ue000{index}\ue001")
    return "".join(before.rpartition("\ue001")[2].split()) if content else ""


def _renumber(text: str, shift: int) -> str:
    return _SLOT.sub(lambda match: f"\ue000{int(match[1]) + shift}{match[2]}\ue001", text)


def _turn_variants(conversation: Conversation, shells: list[Message], index: int) -> list[Conversation]:
    """Return three conversations about an answer: both prompts for it, and it as the last turn."""
    before, thinking = shells[:index], conversation.thinking
    return [
        conversation._replace(messages=before, prompt=True),
        conversation._replace(messages=before, prompt=True, thinking=not thinking),
        conversation._replace(messages=[*before, shells[index]], prompt=False),
    ]


def _anchor(text: str, prompt: str) -> tuple[int | None, str]:
    """Return where the last placeholder of a prompt ends in a text, and what the prompt writes after it."""
    matches = list(_SLOT.finditer(prompt))
    if not matches:
        return 0, prompt
    mark, place = matches[-1][0], -1
    for _ in range(prompt.count(mark)):
        place = text.find(mark, place + 1)
        if place < 0:
            return None, ""
    return place + len(mark), prompt[matches[-1].end() :]
