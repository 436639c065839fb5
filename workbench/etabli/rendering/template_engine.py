"""A model's chat template over conversations, as transformers applies it, in the confined process.

One renderer serves transformers' tokenizers and the one that only counts: what training sees is what the check counted.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from etabli.core import confined
from etabli.core.errors import BadData, BadInput, EtabliError

LARGEST = 2**20  # characters of a template; the largest of the well-known ones has 20,000
TOGETHER = 32  # rows of one request
_REASONING = ("reasoning_content", "thinking", "reasoning")  # names of a message's thoughts, the standard one first
_OURS = ("train", "spans")


class Conversation(NamedTuple):
    """What a template is applied to; ``prompt``: the header of the assistant's next turn comes after it."""

    messages: Sequence[dict[str, Any]]
    prompt: bool = False
    tools: list[dict[str, Any]] | None = None


def render(tokenizer: Any, conversations: Sequence[Conversation]) -> list[str]:
    """The template's own text of each conversation.

    Args:
        tokenizer: has ``chat_template`` (a text, or several by name) and ``special_tokens_map``.
        conversations: of one row, so that all have the same tools.

    Raises:
        BadData: the template refuses a conversation, or takes too long or too much memory; BadInput: no template.
    """
    try:
        values = _ask(tokenizer, conversations)
    except confined.Ended as error:
        raise BadData(f"The model's chat template can't be followed: {error}. Use another model or template.") from None
    except confined.Refused as error:
        values = [{"error": str(error)}]
    except (TypeError, ValueError, RecursionError) as error:
        raise BadData(f"This conversation can't be given to a chat template: {error}.") from None
    refusal = next((value["error"] for value in values if isinstance(value, dict)), None)
    if refusal is not None:
        raise BadData(f"The model's chat template refuses this conversation: {refusal}")
    return values


def render_ahead(tokenizer: Any, rows: Iterable[Sequence[Conversation]]) -> Iterator[list[str] | None]:
    """The texts of many rows, in few requests; None for a row that has to be rendered by itself, to say why not."""
    remaining = iter(rows)
    one_template = not isinstance(tokenizer.chat_template, dict)  # of several, the tools of each row choose
    while part := list(islice(remaining, TOGETHER)):
        values = _try(tokenizer, part) if one_template else None
        for row in part:
            made = list(islice(values, len(row))) if values else []
            yield made if made and all(isinstance(text, str) for text in made) else None


def _try(tokenizer: Any, rows: list[Sequence[Conversation]]) -> Iterator[str | dict[str, str]] | None:
    try:
        return iter(_ask(tokenizer, [conversation for row in rows for conversation in row]))
    except (EtabliError, TypeError, ValueError, RecursionError):
        return None


def _ask(tokenizer: Any, conversations: Sequence[Conversation]) -> list[str | dict[str, str]]:
    """A text, or ``{"error": why not}``, for each conversation."""
    template = _chosen(tokenizer.chat_template, any(conversation.tools for conversation in conversations))
    # A template that can think must not: training rows hold answers, not thoughts, and a prompt has to be what a
    # trained answer followed. Templates that know no such switch ignore it.
    common = {**tokenizer.special_tokens_map, "documents": None, "enable_thinking": False}
    jobs = [
        {"messages": list(map(_message, messages)), "add_generation_prompt": prompt, "tools": tools or None}
        for messages, prompt, tools in conversations
    ]
    return confined.ask("render", template, common=common, jobs=jobs)


def _chosen(held: Any, tools: bool) -> str:
    """The template to use where there are several: ``tool_use`` with tools, else ``default``."""
    chosen = held
    if isinstance(held, dict):
        chosen = held.get("tool_use") if tools and "tool_use" in held else held.get("default")
    if not isinstance(chosen, str) or not chosen:
        raise BadInput("This tokenizer has no chat template: take the instruct version of the model.")
    if len(chosen) > LARGEST:
        raise BadInput(f"The model's chat template has {len(chosen):,} characters, more than {LARGEST:,}.")
    return chosen


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """A message without what is ours and what is None; thoughts under every name that templates read."""
    kept = {key: value for key, value in message.items() if value is not None and key not in _OURS}
    thoughts = next((kept[key] for key in _REASONING if key in kept), None)
    return kept if thoughts is None else {"thinking": thoughts, **kept, "reasoning_content": thoughts}
