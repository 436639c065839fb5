"""Chat templates for base models, which have none: ``alpaca``, ``chatml``, ``plain``, or a Jinja file.

A template is data: it is only ever followed in the confined process. Once a model is trained with one, the tokenizer
that lies with the adapter holds it, and everything that loads the adapter uses it.
"""

from pathlib import Path
from typing import Protocol

from etabli.core import folders, parsing
from etabli.core.errors import BadData, BadInput, WrongAdapter
from etabli.models import counting
from etabli.rendering import template_engine
from etabli.rendering.ends import answer_end
from etabli.rendering.render import Renderer
from etabli.rendering.template_engine import ChatTokenizer

NAMES = ("alpaca", "chatml", "plain")
FILE = "chat_template.jinja"
CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")
ALPACA_SYSTEM = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
)

_REFUSE_TOOLS = "{%- if tools %}{{ raise_exception('This template has no place for tools.') }}{%- endif %}"
_REFUSE_ROLE = "{{ raise_exception('This template has no place for a turn of role ' + message['role'] + '.') }}"
# As Stanford Alpaca's prompt without input, with the line break after "Response:" that later trainers write. Further
# turns follow after an empty line; a system turn stands in place of the first sentence.
_ALPACA = (
    "{%- if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}{%- set turns = messages[1:] %}"
    "{%- else %}{{ '" + ALPACA_SYSTEM + "' }}{%- set turns = messages %}{%- endif %}"
    "{%- for message in turns %}"
    "{%- if message['role'] == 'user' %}{{ '\\n\\n### Instruction:\\n' + message['content'] }}"
    "{%- elif message['role'] == 'assistant' %}{{ '\\n\\n### Response:\\n' + message['content'] + eos_token }}"
    "{%- else %}" + _REFUSE_ROLE + "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '\\n\\n### Response:\\n' }}{%- endif %}"
)
_CHATML = (
    "{%- for message in messages %}"
    "{%- if message['role'] not in ('system', 'user', 'assistant') %}" + _REFUSE_ROLE + "{%- endif %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}"
)
# Prompt and answer as they stand, nothing between them; only a system turn is set off by an empty line.
_PLAIN = (
    "{%- for message in messages %}"
    "{%- if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{%- elif message['role'] == 'user' %}{{ message['content'] }}"
    "{%- elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}"
    "{%- else %}" + _REFUSE_ROLE + "{%- endif %}{%- endfor %}"
)
_TEXTS = {"alpaca": _ALPACA, "chatml": _CHATML, "plain": _PLAIN}


class SettableTokenizer(ChatTokenizer, Protocol):
    """A tokenizer whose template and end-of-text can be set: transformers' own, and ``CountingTokenizer``."""

    chat_template: str | dict[str, str] | None
    eos_token: str | None


def read_template(value: str, folder: Path | None = None) -> str:
    """Return a name of ``NAMES`` as it is, or else the text of a Jinja file.

    Args:
        value: what ``template:`` or ``--template`` says. folder: a relative path is searched there first.

    Raises:
        BadInput: neither a name nor a file, or a file that is too large or no text; OutsideFolder: a pipe or a device.
    """
    if value in NAMES:
        return value
    path = next((place for place in (*([folder / value] if folder else []), Path(value)) if place.is_file()), None)
    if path is None:
        raise BadInput(
            f"template is {parsing.short_repr(value)}: take {', '.join(NAMES)}, or a Jinja file that exists."
        )
    with folders.open_file(path):  # an ordinary file
        pass
    try:
        text = parsing.read_text(path, template_engine.LARGEST)
    except (OSError, parsing.ParseError) as error:
        raise BadInput(f"The template {path} can't be read: {error}.") from None
    if not text.strip():
        raise BadInput(f"The template {path} is empty: take {', '.join(NAMES)}, or write one.")
    return text


def set_template(tokenizer: SettableTokenizer, template: str) -> None:
    """Give a tokenizer a chat template, and make the token that ends its answers the end-of-text, where models stop.

    Args:
        template: a name of ``NAMES``, or a template's text.

    Raises:
        BadInput: the vocabulary lacks a token that the template needs, or no token ends an answer.
    """
    if template in NAMES:
        _require_tokens(tokenizer, template)
        begin = "{{ bos_token }}" if _adds_bos(tokenizer) else ""
        template = _REFUSE_TOOLS + begin + _TEXTS[template]
    tokenizer.chat_template = template
    tokenizer.eos_token = find_end_of_turn(tokenizer)


def _require_tokens(tokenizer: SettableTokenizer, name: str) -> None:
    added = tokenizer.get_added_vocab()
    missing = [token for token in CHATML_TOKENS if name == "chatml" and token not in added]
    if missing:
        raise BadInput(
            f"template: chatml needs {' and '.join(missing)} as tokens, and this vocabulary lacks "
            f"{'them' if len(missing) > 1 else 'it'}; new tokens would have embeddings that nobody trained. Take "
            "template: alpaca or plain, which end answers with the vocabulary's own end-of-text, or a Jinja file that "
            "uses tokens of this vocabulary."
        )
    if name != "chatml" and not tokenizer.eos_token:
        raise BadInput(
            f"template: {name} ends answers with end-of-text, and this tokenizer names none. Take a Jinja file that "
            "ends answers with a control token of this vocabulary."
        )


def _adds_bos(tokenizer: ChatTokenizer) -> bool:
    """Return whether the tokenizer itself begins each text with begin-of-text; then the model expects it."""
    bos = tokenizer.bos_token_id
    return bos is not None and list(tokenizer("", add_special_tokens=True)["input_ids"])[:1] == [bos]


def find_end_of_turn(tokenizer: ChatTokenizer) -> str:
    """Return the control token that the template writes at the end of an answer.

    Raises:
        BadInput: it can't be followed, or writes none there, so that a model would never learn to stop.
    """
    try:
        renderer = Renderer(tokenizer)
        end = answer_end(renderer.layout, renderer.control)
    except BadData as error:
        why = str(error).removeprefix(template_engine.REFUSES)
        raise BadInput(f"The template can't write a question and an answer: {why}") from None
    if not end:
        raise BadInput(
            "The template writes no control token after an answer: the model would never learn to stop. End the "
            "assistant's turn with {{ eos_token }} in the template."
        )
    return end


def use_stored_template(tokenizer: SettableTokenizer, adapter: Path) -> None:
    """Give a base's tokenizer the template that lies with an adapter, and the end-of-text of the adapter's tokenizer.

    Raises:
        WrongAdapter: the template needs tokens that the base's vocabulary lacks.
    """
    stored = read_stored_template(adapter)
    if not stored or stored == tokenizer.chat_template:
        return
    _require_known_tokens(tokenizer, adapter, str(stored))
    tokenizer.chat_template = stored
    eos = counting.read_special_tokens(adapter).get("eos_token")
    if eos and (eos == tokenizer.eos_token or eos in tokenizer.get_added_vocab()):
        tokenizer.eos_token = eos


def read_stored_template(adapter: Path | None) -> str | dict[str, str] | None:
    """Return the chat template that lies with an adapter; None if it was trained with its base's own."""
    return counting.read_chat_template(adapter) if adapter is not None else None


def _require_known_tokens(tokenizer: ChatTokenizer, adapter: Path, template: str) -> None:
    """Refuse an adapter whose template writes tokens that were added to the base's vocabulary: it lacks their rows."""
    known = tokenizer.get_added_vocab()
    own = counting.read_added_tokens(adapter)
    new = [token for token, number in own.items() if token in template and known.get(token) != number]
    if new:
        raise WrongAdapter(
            f"{adapter} was trained with {len(new)} tokens that its base has not ({', '.join(new[:3])}): it can't be "
            "put on that base. Merge it where it was made (merge_and_unload), and judge the model."
        )


def require_same_template(first: Path | None, second: Path) -> None:
    """Refuse two adapters on one copy of the weights that were trained with different chat templates.

    Raises:
        WrongAdapter: names both.
    """
    if read_stored_template(first) != read_stored_template(second):
        raise WrongAdapter(
            f"{second} was trained with another chat template than {first}: load it by itself, without loaded=."
        )
