"""Apply a model's chat template to conversations, as transformers does, in the confined process.

transformers' tokenizers and the tokenizer that only counts use the same code: training sees what the check counted.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

from etabli.core import confined
from etabli.core.contracts import Message
from etabli.core.errors import BadData, BadInput, EtabliError

LARGEST = 2**20  # characters of a template; the largest of the well-known ones has 20,000
ROWS_PER_REQUEST = 32
NO_TEMPLATE = (
    "This tokenizer has no chat template, as those of base models: name one, template: alpaca in the recipe or "
    "--template alpaca (or chatml, plain, a Jinja file), or take the instruct version of the model."
)
REFUSES = "The model's chat template refuses this conversation: "  # before the template's own reason
_REASONING = ("reasoning_content", "thinking", "reasoning")  # keys of a message's reasoning, the standard one first
MASK_KEYS = ("train", "train_spans", "spans")  # keys of a message that établi adds and templates must not see
Tools = list[dict[str, object]] | None


class ChatTokenizer(Protocol):
    """The part of a tokenizer that rendering uses: transformers' tokenizers have it, and ``CountingTokenizer``."""

    @property
    def chat_template(self) -> str | dict[str, str] | None:
        """The template, or several by name."""

    @property
    def special_tokens_map(self) -> Mapping[str, str]:
        """The texts of special tokens, by name; templates read them."""

    @property
    def bos_token(self) -> str | None:
        """Begin-of-text."""

    @property
    def eos_token(self) -> str | None:
        """End-of-text."""

    @property
    def bos_token_id(self) -> int | None:
        """The id of begin-of-text."""

    @property
    def eos_token_id(self) -> int | None:
        """The id of end-of-text."""

    def get_added_vocab(self) -> dict[str, int]:
        """Return the added tokens with their ids."""

    def __call__(
        self, text: str, *, add_special_tokens: bool = True, return_offsets_mapping: bool = False
    ) -> Mapping[str, Any]:
        """Return ``input_ids`` and, if asked for, ``offset_mapping`` in characters."""


class Conversation(NamedTuple):
    """The input of a template.

    ``prompt`` adds the header of the assistant's next turn; ``thinking`` switches thoughts on in templates that have a
    switch. It is off unless a row has thoughts: a prompt must look like the prompt of a trained answer.
    """

    messages: Sequence[Message]
    prompt: bool = False
    tools: Tools = None
    thinking: bool = False


def apply_template(tokenizer: ChatTokenizer, conversations: Sequence[Conversation]) -> list[str]:
    """Return the text that the chat template makes of each conversation.

    Raises:
        BadData: the template refuses a conversation, or needs too much time or memory.
        BadInput: the tokenizer has no chat template.
    """
    texts = try_template(tokenizer, conversations)
    for text in texts:
        if isinstance(text, BadData):
            raise text
    return [str(text) for text in texts]


def try_template(tokenizer: ChatTokenizer, conversations: Sequence[Conversation]) -> list[str | BadData]:
    """Return for each conversation the template's text, or the error where it refuses that one.

    Args:
        tokenizer: its ``chat_template`` is a text, or several texts by name.
        conversations: all variants of one row, so that they have the same tools.

    Raises:
        BadData: the template can't be followed at all, or needs too much time or memory.
        BadInput: the tokenizer has no chat template.
    """
    try:
        values = _request(tokenizer, conversations)
    except confined.LimitExceeded as error:
        raise BadData(f"The model's chat template can't be followed: {error}. Use another model or template.") from None
    except confined.ConfinedError as error:
        values = [{"error": str(error)}] * len(conversations)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadData(f"This conversation can't be given to a chat template: {error}.") from None
    return [BadData(REFUSES + value["error"]) if isinstance(value, dict) else str(value) for value in values]


def apply_template_to_rows(tokenizer: ChatTokenizer, rows: Iterable[Conversation | None]) -> Iterator[str | None]:
    """Yield the text of each row, with few requests for many rows.

    Yields None for a row that is None or failed: render that row alone to learn the reason.
    """
    remaining = iter(rows)
    one_template = not isinstance(tokenizer.chat_template, dict)  # with several, each row's tools select the template
    while batch := list(islice(remaining, ROWS_PER_REQUEST)):
        values: Iterator[str | dict[str, str]] = iter(())
        if one_template:
            # If the request fails, every row of the batch is rendered alone.
            with contextlib.suppress(EtabliError, TypeError, ValueError, RecursionError):
                values = iter(_request(tokenizer, [row for row in batch if row is not None]))
        for row in batch:
            value = next(values, None) if row is not None else None
            yield value if isinstance(value, str) else None


def _request(tokenizer: ChatTokenizer, conversations: Sequence[Conversation]) -> list[str | dict[str, str]]:
    """Return a text for each conversation, or ``{"error": reason}``."""
    template = _select_template(tokenizer.chat_template, any(conversation.tools for conversation in conversations))
    common = {**tokenizer.special_tokens_map, "documents": None}
    jobs = [
        {
            "messages": list(map(template_message, messages)),
            "add_generation_prompt": prompt,
            "tools": tools or None,
            "enable_thinking": thinking,
            **({"thinking": True} if thinking else {}),  # the switch of other templates, which is off by default
        }
        for messages, prompt, tools, thinking in conversations
    ]
    return confined.ask("render", template, common=common, jobs=jobs)


def _select_template(templates: str | dict[str, str] | None, has_tools: bool) -> str:
    """Return the only template; of several ``tool_use`` if there are tools, else ``default``."""
    template = templates
    if isinstance(templates, dict):
        template = templates.get("tool_use") if has_tools and "tool_use" in templates else templates.get("default")
    if not isinstance(template, str) or not template:
        raise BadInput(NO_TEMPLATE)
    if len(template) > LARGEST:
        raise BadInput(f"The model's chat template has {len(template):,} characters, more than {LARGEST:,}.")
    return template


def template_message(message: Message) -> dict[str, object]:
    """Return a message without établi's own keys, and without None elsewhere than in the content.

    Reasoning stands under every key that templates read.
    """
    fields = {
        key: value for key, value in message.items() if (value is not None or key == "content") and key not in MASK_KEYS
    }
    reasoning = next((fields[key] for key in _REASONING if key in fields), None)
    return fields if reasoning is None else {"thinking": reasoning, **fields, "reasoning_content": reasoning}
