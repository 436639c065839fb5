"""A template for Ollama that writes the same prompts as the model's own Jinja template.

Ollama reads no Jinja: from a GGUF it guesses one of its own templates. So the model's template is asked to render a few
conversations of marked texts. What stands between the marks is what it writes around each turn, and is written down as
a Go template over ``.Messages`` (docs.ollama.com/template). It is compared with the model's own on other conversations;
a template that can't be told in this way is refused. Tools and thoughts are not told.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from etabli.core.contracts import Message
from etabli.core.errors import BadInput
from etabli.exports.hard_conversations import Conversation
from etabli.rendering.render import is_thinking

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SYSTEM, USER, ANSWER, SECOND = MARKS = ("Systext", "Usertext", "Anstext", "Sectext")
REFUSED = (
    "This model's chat template can't be written as a template of Ollama's: {why}. Nothing was written. "
    "Export --to gguf: llama.cpp, LM Studio and Jan read the model's own template from the file."
)


@dataclass(frozen=True)
class TurnTexts:
    """What a chat template writes around the contents of turns; texts without the beginning-of-text token."""

    start: str  # before the first user's content where there is no system turn
    before_system: str | None  # None: the template knows no system turn
    after_system: str  # up to the first user's content
    before_user: str
    after_user: str
    before_answer: str
    after_answer: str
    prompt: str  # after the last user's turn, where the model goes on

    def compose(self, messages: Sequence[Message]) -> str:
        """Return the prompt that Ollama makes of messages by ``go_template``.

        Raises:
            BadInput: a turn of another role than system, user and assistant.
        """
        texts = []
        for place, message in enumerate(messages):
            content, role = str(message.get("content") or ""), message["role"]
            if role == "system" and self.before_system is not None:
                after = self.after_system if place == 0 else self.after_system.removesuffix(self.before_user)
                texts.append(f"{self.before_system}{content}{after}")
            elif role == "user":
                has_head = place == 1 and messages[0]["role"] == "system"
                head = self.start if place == 0 else "" if has_head else self.before_user
                texts.append(f"{head}{content}{self.after_user}")
            elif role == "assistant" and place:
                texts.append(f"{self.before_answer}{content}{self.after_answer}")
            else:
                raise BadInput(f"This template of Ollama's has no place for turn {place} of the role {role}.")
        return "".join([*texts, self.prompt])

    def go_template(self) -> str:
        """Return the same as a Go template over ``.Messages``: every text is a quoted one, so that no blank is lost."""
        system, is_second = "", '(eq $i 1) (eq (index $.Messages 0).Role "system")'
        head = f"{{{{ else }}}}{_quoted(self.before_user)}{{{{ end }}}}"
        if self.before_system is not None:
            later = self.after_system.removesuffix(self.before_user)  # a system turn after others ends before a turn
            after = f"{{{{ if eq $i 0 }}}}{_quoted(self.after_system)}{{{{ else }}}}{_quoted(later)}{{{{ end }}}}"
            before = f'{{{{ if eq .Role "system" }}}}{_quoted(self.before_system)}'
            system = f"{before}{{{{ .Content }}}}{after}{{{{ end }}}}"
            head = f"{{{{ else if not (and {is_second}) }}}}{_quoted(self.before_user)}{{{{ end }}}}"
        user = f"{{{{ if eq $i 0 }}}}{_quoted(self.start)}{head}"
        return (
            "{{ range $i, $_ := .Messages }}"
            + system
            + f'{{{{ if eq .Role "user" }}}}{user}{{{{ .Content }}}}{_quoted(self.after_user)}{{{{ end }}}}'
            + f'{{{{ if eq .Role "assistant" }}}}{_quoted(self.before_answer)}{{{{ .Content }}}}'
            + f"{_quoted(self.after_answer)}{{{{ end }}}}"
            + "{{ end }}"
            + _quoted(self.prompt)
        )


def _quoted(text: str) -> str:
    """Return an action that writes a text; nothing for an empty one. No quote is left in it, for the Modelfile's."""
    literal = json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', "\\u0022")
    return f'{{{{ "{literal}" }}}}' if text else ""


def find_turn_texts(tokenizer: "PreTrainedTokenizerBase") -> TurnTexts:
    """Return what a model's chat template writes around turns.

    Raises:
        BadInput: there is no template, or its texts depend on more than the turns' roles and order.
    """
    from jinja2 import TemplateError

    if "strftime_now" in str(tokenizer.chat_template):
        raise BadInput(REFUSED.format(why="it writes the date, and tomorrow another one"))
    try:
        texts = _take_apart(tokenizer)
    except (LookupError, ValueError, AttributeError, TemplateError) as error:
        raise BadInput(REFUSED.format(why=f"it does not write each turn as it stands ({error})")) from None
    for messages in _conversations(texts.before_system is not None):
        if texts.compose(messages) != _without_begin(tokenizer, _render(tokenizer, messages)):
            turns = ", ".join(message["role"] for message in messages)
            raise BadInput(REFUSED.format(why=f"{turns}: the prompt is not the sum of its turns"))
    return texts


def _take_apart(tokenizer: "PreTrainedTokenizerBase") -> TurnTexts:
    one = [_turn("user", USER)]
    asked, alone = _render(tokenizer, one), _render(tokenizer, one, False)
    start, after_user = _split(alone, USER)
    prompt = asked.removeprefix(alone)
    if prompt == asked:
        raise ValueError("the prompt for an answer is not what follows a user's turn")
    three = [*one, _turn("assistant", ANSWER), _turn("user", SECOND)]
    _, between_first, between_second, _ = _split(_render(tokenizer, three), USER, ANSWER, SECOND)
    _, _, after_answer = _split(_render(tokenizer, three[:2], False), USER, ANSWER)
    before_system, after_system = _system_texts(tokenizer)
    return TurnTexts(
        _without_begin(tokenizer, start),
        before_system if before_system is None else _without_begin(tokenizer, before_system),
        after_system,
        _rest(between_second, after_answer),
        after_user,
        _rest(between_first, after_user),
        after_answer,
        prompt,
    )


def _system_texts(tokenizer: "PreTrainedTokenizerBase") -> tuple[str | None, str]:
    """Return the texts before and after a system turn's content; None if the template refuses or leaves out one."""
    from jinja2 import TemplateError

    try:
        text = _render(tokenizer, [_turn("system", SYSTEM), _turn("user", USER)])
        before, after, _ = _split(text, SYSTEM, USER)
    except (TemplateError, LookupError):
        return None, ""
    return before, after


def _split(text: str, *marks: str) -> list[str]:
    """Return the texts around marks, each of which stands there once, in this order."""
    parts = []
    for mark in marks:
        if text.count(mark) != 1:
            raise LookupError(f"a content stands {text.count(mark)} times in the prompt")
        part, text = text.split(mark)
        parts.append(part)
    return [*parts, text]


def _rest(text: str, beginning: str) -> str:
    if not text.startswith(beginning):
        raise ValueError("what ends a turn depends on what follows")
    return text[len(beginning) :]


def _conversations(has_system: bool) -> list[list[Message]]:
    """Return other conversations, to compare the two templates on."""
    turns = [_turn("user", "Où ?"), _turn("assistant", "{{ là }}"), _turn("user", "a\n\nb"), _turn("assistant", "c")]
    without = [turns[:1], turns[:3], [*turns, _turn("user", "d")]]
    return [*without, *([_turn("system", "Short."), *talk] for talk in without if has_system)]


def _render(tokenizer: "PreTrainedTokenizerBase", messages: list[Message], is_asked: bool = True) -> str:
    """Return a prompt as the model was judged: thinking, or with a thought that is empty already."""
    thinks = is_thinking(tokenizer)
    return str(
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=is_asked, enable_thinking=thinks)
    )


def _without_begin(tokenizer: "PreTrainedTokenizerBase", text: str) -> str:
    """Remove a beginning-of-text token where the tokenizer writes one itself, as llama.cpp and Ollama then do."""
    begin = tokenizer.bos_token
    writes_begin = begin is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    return text.removeprefix(begin) if writes_begin else text


def _turn(role: str, content: str) -> Message:
    return {"role": role, "content": content}


class OllamaTemplate:
    """What Ollama can be told of a model's chat template, and which conversations it can't be sent as they are."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase"):
        self._tokenizer, self.texts = tokenizer, find_turn_texts(tokenizer)

    def limit(self, conversation: Conversation) -> str:
        """Return why a conversation is another one in Ollama; empty if it is the same."""
        if conversation.tools or any(message["role"] == "tool" for message in conversation.messages):
            return "a Modelfile's template of this kind holds no tools; ask with tools through llama.cpp."
        contents = [str(message.get("content") or "") for message in conversation.messages]
        if all(content == content.strip() for content in contents):
            return ""
        own = _without_begin(self._tokenizer, _render(self._tokenizer, conversation.messages))
        if self.texts.compose(conversation.messages) == own:
            return ""
        return "Ollama keeps the blanks around a message, which the model's own template removes."
