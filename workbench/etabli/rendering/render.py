"""Render a conversation to token ids, roles and trained flags; the only place that does.

A chat template pastes what a person typed into the prompt and the whole is tokenised, so a user who types
``<|im_end|>`` forges a control token. Here control tokens are read from the template's own text alone. Text between two
control tokens is tokenised at once, so that ordinary conversations get exactly the ids of the template's own rendering.

The way of a row: ``layout`` says whose each stretch of the template's text is, ``Renderer`` fills in the contents
(``segments``), tokenises them, and gives each token to a segment.
"""

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

from etabli.core.contracts import Message, Row
from etabli.core.errors import BadData, BadInput
from etabli.rendering.ends import turn_ends
from etabli.rendering.forms import Form
from etabli.rendering.layout import STRUCTURE, ControlPattern, Layout, Part, lay_out
from etabli.rendering.masks import PLAIN, check_messages, is_segmented, require_unicode, training_flags
from etabli.rendering.segments import (
    Segment,
    compile_alternatives,
    content_segments,
    is_clean,
    is_control_token,
    make_segments,
    split_at_control_tokens,
    token_owner,
    without_typed_tokens,
)
from etabli.rendering.template_engine import (
    MASK_KEYS,
    ChatTokenizer,
    Conversation,
    Tools,
    apply_template,
    apply_template_to_rows,
)

MOST_LAYOUTS = 512  # shapes of conversations whose layout is kept; most data sets have a handful
_THINKS = "etabli_thinks"  # the attribute of a tokenizer that ``set_thinking`` sets
_LAYOUTS: dict[tuple[object, ...], Layout] = {}


@dataclass
class RenderedConversation:
    """One conversation as tokens: the lists have one entry a token.

    Attributes:
        ids: token ids.
        text: the text of each token.
        role: the role of the message that the token belongs to; ``reasoning`` for its thought, ``template`` for the
            template's own text.
        trained: whether the token is trained.
        offset: where the token stands in the whole text, (first character, one after the last).
        message: the number of its message; None for the template's own text.
        starts: where the content of each message begins in the whole text.
        kept_from: where what the template keeps of it begins; some remove blanks in front.
        length: characters of the whole text.
        split_tokens: tokens that the template's own text has across the end of a prompt and the beginning of an answer;
            here they are two, as in generation.
        off_prompt, rewritten, dropped_thoughts, unwritten_tools: messages, and tools, for which the template does
            something that has to be known; see ``layout.Layout``.
    """

    ids: list[int] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    role: list[str] = field(default_factory=list)
    trained: list[bool] = field(default_factory=list)
    offset: list[tuple[int, int]] = field(default_factory=list)
    message: list[int | None] = field(default_factory=list)
    starts: dict[int, int] = field(default_factory=dict)
    kept_from: dict[int, int] = field(default_factory=dict)
    length: int = 0
    split_tokens: int = 0
    off_prompt: tuple[int, ...] = ()
    rewritten: tuple[int, ...] = ()
    dropped_thoughts: tuple[int, ...] = ()
    unwritten_tools: tuple[str, ...] = ()

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
    text: str | None = None,
) -> RenderedConversation:
    """Render one conversation; see ``Renderer.render``. For many, make one ``Renderer``."""
    return Renderer(tokenizer).render(messages, policy, prompt, tools, text)


def set_thinking(tokenizer: ChatTokenizer, is_on: bool) -> None:
    """Say whether prompts rendered with this tokenizer let the model write a thought first.

    Off unless it is said: then templates that have a switch write a thought that is empty already. It is on for a model
    that was trained on thoughts, which must be asked as it was trained.
    """
    setattr(tokenizer, _THINKS, is_on)


def is_thinking(tokenizer: ChatTokenizer) -> bool:
    """Return what ``set_thinking`` said of this tokenizer."""
    return bool(getattr(tokenizer, _THINKS, False))


class Renderer:
    """Renders conversations with a model's own chat template, or plain text as it stands."""

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self.tokenizer = tokenizer
        # Collected once: DeepSeek's 1,283 added tokens take longer to collect than a row to render.
        self.added_vocab = tokenizer.get_added_vocab()
        self.control = compile_alternatives(tuple(map(str, self.added_vocab)))

    @cached_property
    def end_ids(self) -> set[int]:
        """The ids of the tokens that end an answer, where generation has to stop: end-of-text, and the template's."""
        try:
            ids = {self.added_vocab[end] for end in turn_ends(self.layout, self.control)}
        except (BadData, BadInput):  # no template, or one that no answer can be given to
            ids = set()
        return ids if self.tokenizer.eos_token_id is None else {*ids, self.tokenizer.eos_token_id}

    def render(
        self,
        messages: list[Message],
        policy: str = "answers",
        prompt: bool = False,
        tools: Tools = None,
        text: str | None = None,
    ) -> RenderedConversation:
        """Return token ids, texts, roles and trained flags of a conversation.

        Args:
            messages: turns with ``role`` and ``content`` and, optionally, ``reasoning``, ``tool_calls``, and ``train``
                and ``train_spans``, which override the policy. Messages of role ``text`` follow each other without a
                template and end with the end-of-text token; where each has ``train``, they are segments as they stand.
            policy: what is trained: ``answers`` (all assistant turns), ``answers_and_reasoning`` (their thoughts too),
                ``last`` (the last one), ``all`` (every token) or ``spans`` (the parts that messages name in ``spans``).
                A turn trained to its end includes its end-of-turn token, so that the model learns to stop.
            prompt: add the header of the assistant's next turn, for generation.
            tools: what the model may call, in the form that the template expects.
            text: what ``render_texts`` gave for this row, where many rows are rendered.

        Raises:
            BadData: a malformed message; a template that rewrites contents, or leaves out tool calls or a thought; or a
                control token within a tool call.
            BadInput: an unknown policy, or a tokenizer without a chat template.
        """
        check_messages(messages, policy)
        if messages[0]["role"] == PLAIN:
            return self._encode_plain(messages, policy)
        layout = self.layout(messages, tools, prompt)
        text = self.own_text(messages, layout.form, tools, prompt) if text is None else text
        return self._encode_chat(make_segments(layout, messages, policy, text), policy, layout)

    def count_tokens(
        self,
        messages: list[Message],
        policy: str = "answers",
        max_length: int = 512,
        tools: Tools = None,
        text: str | None = None,
    ) -> tuple[int, int, int]:
        """Return a conversation's tokens, its trained tokens, and the trained tokens among the first ``max_length``.

        The numbers are those of ``render``, computed without a list of tokens where the row allows it. The first token
        of a row is never predicted, so it never counts as trained.
        """
        check_messages(messages, policy)
        if messages[0]["role"] != PLAIN:
            layout = self.layout(messages, tools)
            text = self.own_text(messages, layout.form, tools) if text is None else text
            segments = make_segments(layout, messages, policy, text)
            if policy != "all" and is_clean(segments, self.control):
                counts = self._count_trained(segments, max_length)
                if counts is not None:
                    return counts
            row = self._encode_chat(segments, policy, layout)
        else:
            row = self._encode_plain(messages, policy)
        return len(row), sum(row.trained[1:]), sum(row.trained[1:max_length])

    def render_texts(self, rows: Iterable[Row]) -> Iterator[str | None]:
        """Yield for each row the ``text`` argument of ``render``, with many rows in one request.

        Yields None for a row that has to be rendered alone: plain text, or a row with calls or thoughts, or one whose
        error is then reported.
        """
        return apply_template_to_rows(self.tokenizer, map(_plain_chat, rows))

    def layout(self, messages: list[Message], tools: Tools = None, prompt: bool = False) -> Layout:
        """Return whose each stretch of the template's text is. Kept for conversations of the same shape.

        Raises:
            BadInput: the tokenizer has no chat template.
            BadData: the template refuses the conversation, or leaves out tool calls or a thought; or a control token is
                typed outside of the contents.
        """
        template = str(self.tokenizer.chat_template)
        self._check_other_fields(messages, tools)
        special = tuple(self.tokenizer.special_tokens_map.items())
        thinking = self._lets_think(messages, prompt)
        shape = json.dumps([list(map(_shape, messages)), tools, prompt, thinking], default=str)
        key = (template, str(special), self.control, shape)
        conversation = Conversation(messages, prompt, tools, thinking)
        if key not in _LAYOUTS or "strftime_now" in template:  # such a template is another one tomorrow
            if len(_LAYOUTS) >= MOST_LAYOUTS:
                _LAYOUTS.clear()
            _LAYOUTS[key] = lay_out(self.tokenizer, conversation, self.control)
        return _LAYOUTS[key]

    def own_text(self, messages: list[Message], form: Form, tools: Tools = None, prompt: bool = False) -> str:
        """Return the template's own text of a conversation whose messages are handed over in this form."""
        conversation = Conversation(form.apply(messages), prompt, tools, self._lets_think(messages, prompt))
        return apply_template(self.tokenizer, [conversation])[0]

    def _lets_think(self, messages: list[Message], prompt: bool) -> bool:
        return has_thoughts(messages) or (prompt and is_thinking(self.tokenizer))

    def _check_other_fields(self, messages: list[Message], tools: Tools) -> None:
        """Refuse control tokens in tools, calls, names and roles: a template writes them as its own text."""
        try:
            json.dumps([tools, [message.get("tool_calls") for message in messages]], allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise BadData(f"A tool or a call holds a value that is no JSON ({error}): write it as text.") from None
        text = json.dumps([tools, list(map(_other_fields, messages))], ensure_ascii=False, default=str)
        require_unicode(text, "A tool, a call, a name or a role")
        match = self.control.search(text) if self.control else None
        if match:
            raise BadData(
                f"A tool, a call, a name or a role holds the control token {match[0]!r} as text: remove it there."
            )
        if "\ue000" in text:
            raise BadData("A tool, a call, a name or a role holds the private sign U+E000: remove it there.")

    def _encode_chat(self, segments: list[Segment], policy: str, layout: Layout) -> RenderedConversation:
        row = RenderedConversation(
            off_prompt=layout.off_prompt,
            rewritten=layout.rewritten,
            dropped_thoughts=layout.dropped_thoughts,
            unwritten_tools=layout.unwritten_tools,
        )
        if is_clean(segments, self.control):
            self._encode(segments, row, None)  # all at once: then the ids are the template's own in any tokenizer
        else:
            for chunk in split_at_control_tokens(segments, self.control):
                self._encode(chunk, row, None if is_control_token(chunk, self.control) else self.control)
        if policy == "all":
            row.trained = [True] * len(row.ids)
        return row

    def _encode(self, chunk: list[Segment], row: RenderedConversation, typed: ControlPattern) -> None:
        """Tokenise a chunk and append its tokens, each with the segment that it belongs to.

        Control tokens that match ``typed`` were typed by somebody, and are read as text.
        """
        text = "".join(segment.text for segment in chunk)
        edges = list(accumulate((len(segment.text) for segment in chunk), initial=0))
        for segment, place in zip(chunk, edges):
            if segment.begins is not None and segment.message is not None:
                row.kept_from[segment.message] = row.length + place
                row.starts[segment.message] = row.length + place - segment.begins
        owners = [segment for segment in chunk for _ in segment.text]
        cuts = _answer_starts(chunk, edges)
        start = 0
        for part in without_typed_tokens(text, typed):
            for token, low, high in self._tokenize(part, [cut - start for cut in cuts], row):
                low, high = start + low, start + high
                owner = token_owner(owners, text, min(low, len(owners) - 1), high)
                row.ids.append(token)
                row.text.append(text[low:high])
                row.role.append(owner.role)
                row.trained.append(owner.train)
                row.offset.append((row.length + low, row.length + high))
                row.message.append(owner.message)
            start += len(part)
        row.length += len(text)

    def _tokenize(self, text: str, cuts: list[int], row: RenderedConversation) -> Iterator[tuple[int, int, int]]:
        """Yield each token's id and where it begins and ends. A token across a cut is made again of its two parts.

        Generation tokenises the prompt alone, so that no answer begins within a token: two line breaks, one of the
        header and one of the answer, are two tokens there. The row's ``split_tokens`` counts them.
        """
        encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        for token, (low, high) in zip(encoding["input_ids"], encoding["offset_mapping"]):
            cut = next((cut for cut in cuts if low < cut < high), None)
            is_cut = cut is not None and is_merged(text[low:cut], text[cut:high])
            parts = self._encode_parts(text, low, cut, high) if is_cut and cut is not None else []
            row.split_tokens += bool(parts)
            yield from parts or [(token, low, high)]

    def _encode_parts(self, text: str, low: int, cut: int, high: int) -> list[tuple[int, int, int]]:
        """Return the tokens of the text before and after the cut; none where a vocabulary adds a blank to each part."""
        tokens: list[tuple[int, int, int]] = []
        for begin, end in ((low, cut), (cut, high)):
            encoding = self.tokenizer(text[begin:end], add_special_tokens=False, return_offsets_mapping=True)
            places = zip(encoding["input_ids"], encoding["offset_mapping"])
            tokens += [(token, begin + first, begin + last) for token, (first, last) in places]
        ends = [low, *(last for _, _, last in tokens)]
        return tokens if ends == [*(first for _, first, _ in tokens), high] else []

    def _count_trained(self, segments: list[Segment], max_length: int) -> tuple[int, int, int] | None:
        """Return ``count_tokens`` of a row that is tokenised at once, from offsets alone; None if that can't be."""
        text = "".join(segment.text for segment in segments)
        offsets = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        starts = [low for low, _ in offsets]
        edges = list(accumulate((len(segment.text) for segment in segments), initial=0))
        for cut in _answer_starts(segments, edges):
            low, high = offsets[bisect_left(starts, cut) - 1]
            if low < cut < high and is_merged(text[low:cut], text[cut:high]):
                return None
        places: list[tuple[int, int, int]] = []  # first token, one after the last, and 1, or -1 where a token is not
        for segment, begin, end in zip(segments, edges, edges[1:]):
            if segment.train:
                places.append((bisect_left(starts, begin), bisect_left(starts, end), 1))
        owners = [segment for segment in segments for _ in segment.text]
        for token in {bisect_left(starts, edge) - 1 for edge in edges[1:-1]} - {-1}:
            low, high = offsets[token]
            change = int(token_owner(owners, text, low, high).train) - int(owners[low].train)
            places.append((token, token + 1, change))
        total = sum(max(0, stop - max(1, first)) * sign for first, stop, sign in places)
        remaining = sum(max(0, min(stop, max_length) - max(1, first)) * sign for first, stop, sign in places)
        return len(starts), total, remaining

    def _encode_plain(self, messages: list[Message], policy: str) -> RenderedConversation:
        """Encode text without a template: begin-of-text if the tokenizer adds it, the texts, end-of-text.

        Segments, each marked as trained or not, stand as they are: their control tokens are meant, nothing is added.
        """
        row = RenderedConversation()
        flags = training_flags(messages, "answers" if policy == "last" else policy)
        parts = [Part("", PLAIN, index, True) for index in range(len(messages))]
        chunks = [
            content_segments(message["content"], 0, part, message, flags) for message, part in zip(messages, parts)
        ]
        if is_segmented(messages):
            self._encode([segment for chunk in chunks for segment in chunk], row, None)
            return row
        bos = self.tokenizer.bos_token_id
        if bos in self.tokenizer("", add_special_tokens=True)["input_ids"]:
            _append_special(row, bos, self.tokenizer.bos_token, False)
        for chunk in chunks:
            self._encode(chunk, row, self.control)
        _append_special(row, self.tokenizer.eos_token_id, self.tokenizer.eos_token, chunks[-1][-1].train)
        return row


def is_merged(head: str, tail: str) -> bool:
    """Return whether a token of the end of a prompt, ``head``, and the beginning of an answer, ``tail``, is a fault.

    A blank of the template and letters of the answer are none: most vocabularies begin words so.
    """
    return bool(head.strip() or not tail.strip())


def _answer_starts(segments: list[Segment], edges: list[int]) -> list[int]:
    """Return where trained answers begin in the joined text of the segments; ``edges``: where each segment begins."""
    return [edge for segment, edge in zip(segments, edges) if segment.begins is not None and segment.train]


def has_thoughts(messages: list[Message]) -> bool:
    """Return whether a message has reasoning; then thoughts are switched on in templates that have a switch."""
    return any(message.get("reasoning") for message in messages)


def _plain_chat(row: Row) -> Conversation | None:
    """Return what to render of a row ahead; None if it is no chat, is malformed, or needs a form of its own."""
    messages = row["messages"]
    has_texts = all(isinstance(message.get(name), str) for message in messages for name in ("role", "content"))
    is_usual = not any(message.get("tool_calls") or message.get("reasoning") for message in messages)
    is_chat = has_texts and messages and messages[0]["role"] != PLAIN
    return Conversation(messages, False, row.get("tools")) if is_chat and is_usual else None


def _other_fields(message: Message) -> dict[str, object]:
    """Return what a template gets of a message beside its content and its thought."""
    return {key: value for key, value in message.items() if key not in ("content", "reasoning", *MASK_KEYS)}


def _shape(message: Message) -> list[object]:
    """Return all of a message that its layout depends on."""
    thought = message.get("reasoning")  # an empty one is another shape than none
    return [_other_fields(message), bool(message["content"]), None if thought is None else bool(thought)]


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
