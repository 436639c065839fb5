"""Conversation to token ids, roles and a trained-or-masked flag: the one place that renders.

Stock templates paste what a person typed into the prompt and tokenise the whole, so a user who types ``<|im_end|>``
forges a control token. Here the template is rendered once with a stand-in for every content, which shows what is
structure and what is content; control tokens are read from the structure alone. Text between two control tokens is
tokenised in one piece, so that clean conversations get exactly the ids of the template's own rendering.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from etabli.contracts import Message
from etabli.errors import BadData, BadInput

POLICIES = ("answers", "last", "all")
STRUCTURE = "template"


@dataclass
class Rendered:
    """One conversation as tokens; four lists of one length."""

    ids: list[int] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    role: list[str] = field(default_factory=list)
    trained: list[bool] = field(default_factory=list)

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


def render(messages: list[Message], tokenizer: Any, policy: str = "answers", prompt: bool = False) -> Rendered:
    """Render a conversation with the model's own chat template.

    Args:
        messages: turns with ``role``, ``content`` and, optionally, ``train``, which overrides the policy.
        tokenizer: a transformers tokenizer with a chat template.
        policy: what is trained: ``answers`` (all assistant turns), ``last`` (the last one) or ``all`` (every token).
            A trained turn includes its end-of-turn token, so that the model learns to stop.
        prompt: add the header of the assistant's next turn, for generation.

    Returns:
        Token ids, texts, roles (of the message; ``template`` for structure) and trained flags.

    Raises:
        BadData: a message that is no turn, or a template that rewrites contents in a way that can't be followed.
        BadInput: an unknown policy, or a tokenizer without a chat template.
    """
    if policy not in POLICIES:
        raise BadInput(f"Unknown mask policy {policy!r}; there are {', '.join(POLICIES)}.")
    _check(messages, tokenizer)
    out = Rendered()
    control = _control(tokenizer)
    chunks = _chunks(_pieces(messages, tokenizer, policy, prompt), control)
    if _clean(chunks, control):  # in one piece: then the ids are the template's own whatever the tokenizer does
        chunks, control = [[piece for chunk in chunks for piece in chunk]], None
    for chunk in chunks:
        _encode(chunk, tokenizer, control, out)
    if policy == "all":
        out.trained = [True] * len(out.ids)
    return out


def _check(messages: list[Message], tokenizer: Any) -> None:
    if not getattr(tokenizer, "chat_template", None):
        raise BadInput("This tokenizer has no chat template: take the instruct version of the model.")
    if not messages:
        raise BadData("A conversation without messages can't be rendered.")
    for number, message in enumerate(messages, 1):
        if not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
            raise BadData(f"Message {number} needs a role and a content that are text; it has {sorted(message)}.")


def _trained(messages: list[Message], policy: str) -> list[bool]:
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    chosen = set(answers[-1:] if policy == "last" else answers)
    flags = []
    for index, message in enumerate(messages):
        override = message.get("train")
        flags.append(index in chosen if override is None else bool(override))
    return flags


def _pieces(messages: list[Message], tokenizer: Any, policy: str, prompt: bool) -> list[_Piece]:
    """Structure and contents in order. Checked: together they are the template's own rendering."""
    stand_ins = [f"\ue000{index}\ue001" for index in range(len(messages))]
    copies = [{**message, "content": mark} for message, mark in zip(messages, stand_ins)]
    shell = _apply(copies, tokenizer, prompt)
    own = _apply(messages, tokenizer, prompt)
    for contents in ([m["content"] for m in messages], [m["content"].strip() for m in messages]):
        pieces = _assemble(shell, messages, contents, _trained(messages, policy))
        if "".join(piece.text for piece in pieces) == own:
            return pieces
    raise BadData("The chat template rewrites what a message says, so content can't be told from structure.")


def _apply(messages: list[dict], tokenizer: Any, prompt: bool) -> str:
    from jinja2 import TemplateError

    clean = [{key: value for key, value in message.items() if key != "train"} for message in messages]
    try:
        # A template that can think must not: training rows hold answers, not thoughts, and a prompt has to be what a
        # trained answer followed. Templates that know no such switch ignore it.
        return tokenizer.apply_chat_template(clean, tokenize=False, add_generation_prompt=prompt, enable_thinking=False)
    except TemplateError as error:
        raise BadData(f"The model's chat template refuses this conversation: {error}") from error


def _assemble(shell: str, messages: list[Message], contents: list[str], trained: list[bool]) -> list[_Piece]:
    pieces, position = [], 0
    for found in re.finditer("\ue000([0-9]+)\ue001", shell):
        index = int(found[1])
        pieces.append(_Piece(shell[position : found.start()], STRUCTURE))
        pieces.append(_Piece(contents[index], messages[index]["role"], trained[index], content=True))
        position = found.end()
    return [*pieces, _Piece(shell[position:], STRUCTURE)]


def _control(tokenizer: Any) -> re.Pattern | None:
    """A pattern of all added tokens but the blank ones, longest first."""
    names = [str(token) for token in tokenizer.get_added_vocab() if str(token).strip()]
    names.sort(key=len, reverse=True)
    return re.compile("|".join(map(re.escape, names))) if names else None


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
        for found in control.finditer(piece.text):
            between = piece.text[position : found.start()]
            # A blank between an answer and its end-of-turn token is what the model has to write to get there.
            owner = ended if ended is not None and not between.strip() else None
            chunks[-1].append(_owned(between, owner))
            chunks += [[_owned(found[0], owner)], []]
            ended, position = None, found.end()
        chunks[-1].append(_Piece(piece.text[position:], STRUCTURE))
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
    return _Piece(text, owner.role, owner.train) if owner else _Piece(text, STRUCTURE)


def _encode(chunk: list[_Piece], tokenizer: Any, control: re.Pattern | None, out: Rendered) -> None:
    """Tokenise one chunk and say of every token where it comes from."""
    text = "".join(piece.text for piece in chunk)
    owners = [piece for piece in chunk for _ in piece.text]
    start = 0
    for part in [text] if _is_control(chunk, control) else _unforgeable(text, control):
        encoded = tokenizer(part, add_special_tokens=False, return_offsets_mapping=True)
        for token, (low, high) in zip(encoded["input_ids"], encoded["offset_mapping"]):
            owner = owners[min(start + low, len(owners) - 1)]
            out.ids.append(token)
            out.text.append(text[start + low : start + high])
            out.role.append(owner.role)
            out.trained.append(owner.train)
        start += len(part)


def _unforgeable(text: str, control: re.Pattern | None) -> list[str]:
    """Cut inside every control token that was typed as text, so that none can be read as one."""
    found = control.search(text) if control else None
    if found is None:
        return [text] if text else []
    if len(found[0]) == 1:
        raise BadData(f"The text holds {found[0]!r}, which this tokenizer can only read as a control token.")
    cut = found.start() + len(found[0]) // 2
    return [*_unforgeable(text[:cut], control), *_unforgeable(text[cut:], control)]
