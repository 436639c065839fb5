"""Which control tokens end an answer: they are trained as its end, so generation has to stop at them."""

from collections.abc import Callable, Iterator, Mapping
from typing import cast

from etabli.core.contracts import Message
from etabli.core.errors import BadData
from etabli.rendering.layout import ControlPattern, Layout
from etabli.rendering.template_engine import Tools

LayOut = Callable[[list[Message], Tools], Layout]  # ``Renderer.layout``, which keeps the layouts of a template

_TOOL: dict[str, object] = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look a place up.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}
_SYSTEM = Message(role="system", content="System")
_QUESTION = Message(role="user", content="Question")


def answer_end(lay_out: LayOut, control: ControlPattern) -> str | None:
    """Return the control token that the template writes at the end of an answer; None if it writes none there."""
    return _find_end(lay_out, control, {"content": "Answer"})


def turn_ends(lay_out: LayOut, control: ControlPattern) -> set[str]:
    """Return the control tokens that end an answer or a turn of tool calls, by the template.

    A token that a turn of two calls holds twice closes one call, and does not end the turn.
    """
    ends = {answer_end(lay_out, control)}
    for count in (2, 1):  # some templates refuse two calls in a turn
        calls = [_call(number) for number in range(count)]
        try:
            ends.add(_find_end(lay_out, control, {"content": "", "tool_calls": calls}, [_TOOL]))
            break
        except BadData:
            continue
    return {end for end in ends if end}


def _call(number: int) -> dict[str, object]:
    function = {"name": "look_up", "arguments": {"place": f"Place{number}"}}
    return {"id": f"call00{number:03}", "type": "function", "function": function}


def _find_end(
    lay_out: LayOut, control: ControlPattern, answer: Mapping[str, object], tools: Tools = None
) -> str | None:
    """Return the control token at the end of an answer that it holds once.

    Raises:
        BadData: the template can't be followed, or has no place for the answer's calls.
    """
    errors = []
    for messages in _conversations(answer):
        try:
            layout = lay_out(messages, tools)
        except BadData as error:
            errors.append(error)
            continue
        parts = (part for part in layout.parts if part.message == len(messages) - 1)
        text = "".join("\ue000" if part.is_slot else part.text for part in parts).rstrip()
        tokens = list(control.finditer(text)) if control else []
        is_end = tokens and tokens[-1].end() == len(text) and text.count(tokens[-1][0]) == 1
        return tokens[-1][0] if is_end else None
    raise errors[0]


def _conversations(answer: Mapping[str, object]) -> Iterator[list[Message]]:
    """Yield a conversation that ends with the answer; then with a system turn, which some templates ask for."""
    turn = cast(Message, {"role": "assistant", **answer})
    yield [_QUESTION, turn]
    yield [_SYSTEM, _QUESTION, turn]
