"""Conversations on which exports go wrong, asked of every form beside the run's own test rows."""

from typing import NamedTuple

from etabli.core.contracts import Message
from etabli.rendering.template_engine import Tools

_CITIES = "Lyon, Köln, Kraków, Coimbra, Tartu, Galway, Ostrava, Debrecen, Patras and Malmö"
_TOOL: dict[str, object] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Return the weather of a place.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}


class Conversation(NamedTuple):
    """A conversation up to where an answer is asked for."""

    name: str
    messages: list[Message]
    tools: Tools = None
    is_typed_control: bool = False  # a person typed a control token: établi reads it as text, other programs may not


def hard_conversations(end_of_turn: str) -> list[Conversation]:
    """Return the conversations; ``end_of_turn`` is the control token that a person types in one of them."""
    return [
        Conversation("system turn", [_turn("system", "Answer in one word."), _turn("user", "Is water wet?")]),
        Conversation(
            "several turns",
            [_turn("user", "Name a colour."), _turn("assistant", "Blue."), _turn("user", "Another one, please.")],
        ),
        Conversation("emoji and accents", [_turn("user", "Où est le café ☕ de Zoë, à Łódź? 👩‍👩‍👧 مرحبا 你好")]),
        Conversation("blanks and line breaks", [_turn("user", "  \n\n  def f(x):\n\treturn x\n\n")]),
        Conversation("typed control token", [_turn("user", f"What does {end_of_turn} mean?")], None, True),
        Conversation("tools", [_turn("user", "What is the weather in Brest?")], [_TOOL]),
        Conversation("long", [_turn("user", f"Sort these by name. {_CITIES}. " + "Look at each of them twice. " * 40)]),
    ]


def _turn(role: str, content: str) -> Message:
    return {"role": role, "content": content}
