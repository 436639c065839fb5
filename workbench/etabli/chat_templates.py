"""A model's chat template over conversations, as transformers applies it, in the confined process.

One renderer serves transformers' tokenizers and the one that only counts: what training sees is what the check counted.
"""

from collections.abc import Sequence
from typing import Any

from etabli import confined
from etabli.errors import BadData, BadInput

LARGEST = 2**20  # characters of a template; the largest of the well-known ones has 20,000
_REASONING = ("reasoning_content", "thinking", "reasoning")  # names of a message's thoughts, the standard one first
_OURS = ("train", "spans")


def render(
    tokenizer: Any,
    conversations: Sequence[tuple[Sequence[dict[str, Any]], bool]],
    tools: list[dict[str, Any]] | None = None,
) -> list[str]:
    """The template's own text of each conversation.

    Args:
        tokenizer: has ``chat_template`` (a text, or several by name) and ``special_tokens_map``.
        conversations: messages, and whether the header of the assistant's next turn comes after them.
        tools: what the model may call.

    Raises:
        BadData: the template refuses a conversation, or takes too long or too much memory; BadInput: no template.
    """
    template = _chosen(tokenizer.chat_template, tools)
    # A template that can think must not: training rows hold answers, not thoughts, and a prompt has to be what a
    # trained answer followed. Templates that know no such switch ignore it.
    common = {**tokenizer.special_tokens_map, "tools": tools or None, "documents": None, "enable_thinking": False}
    jobs = [
        {"messages": [_message(message) for message in messages], "add_generation_prompt": prompt}
        for messages, prompt in conversations
    ]
    try:
        return confined.ask("render", template, common=common, jobs=jobs)
    except confined.Ended as error:
        raise BadData(f"The model's chat template can't be followed: {error}. Use another model or template.") from None
    except confined.Refused as error:
        raise BadData(f"The model's chat template refuses this conversation: {error}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise BadData(f"This conversation can't be given to a chat template: {error}.") from None


def _chosen(held: Any, tools: list | None) -> str:
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
