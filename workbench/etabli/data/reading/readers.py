"""One function a format: from a row to messages; what is wrong is noted, never raised."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from etabli.core.contracts import Message
from etabli.data.notes import Note, excerpt
from etabli.data.reading import turns
from etabli.data.reading.layout import Item, Layout
from etabli.data.reading.turns import OPENAI, SHAREGPT, Tags, wrong_type


def thumb(label: Any) -> bool | None:
    """A label of feedback data: up, down, or none at all."""
    return label if isinstance(label, bool) else {"true": True, "false": False}.get(str(label).casefold())


def _text(item: Item, key: str, notes: list[Note], code: str) -> str:
    """A text that has to be there. ``code``: what it is called if it is empty."""
    value = item.get(key)
    if not isinstance(value, str):
        notes.append(wrong_type(key, value, "text"))
        return ""
    if not value.strip():
        notes.append(Note(code, key, why=f"{key} is empty."))
    return value


def _extra(item: Item, key: str, notes: list[Note]) -> str:
    value = item.get(key)
    if value is None or value != value:
        return ""
    if not isinstance(value, str):
        notes.append(wrong_type(key, value, "text"))
        return ""
    return value


def _said(role: str, text: str) -> list[Message]:
    return [{"role": role, "content": text}] if text.strip() else []


def alpaca(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Instruction, input and output; a system text and earlier pairs, where there are."""
    context = _extra(item, "input", notes)
    if context.strip().casefold().strip("<>[]() .").replace(" ", "") in ("noinput", "n/a", "na", "none", "nan", "null"):
        notes.append(Note("placeholder", "input", excerpt(context), "A placeholder stands where there is no input."))
    # An empty instruction is one only if there is no input to work on either.
    asked = _extra(item, "instruction", notes) if context.strip() else _text(item, "instruction", notes, "empty-prompt")
    asked = "\n\n".join(part for part in (asked, context) if part.strip()) or asked
    system = _said("system", _extra(item, "system", notes))
    return [*system, *_history(item, notes), {"role": "user", "content": asked}, _answer(item, "output", notes)]


def _history(item: Item, notes: list[Note]) -> list[Message]:
    past = turns.listed(item.get("history")) or []
    if not isinstance(past, list) or not all(map(_is_pair, past)):
        notes.append(wrong_type("history", past, "a list of pairs of texts"))
        return []
    return [{"role": role, "content": text} for pair in past for role, text in zip(("user", "assistant"), pair)]


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)


def _answer(item: Item, key: str, notes: list[Note]) -> Message:
    return {"role": "assistant", "content": _text(item, key, notes, "empty-answer")}


def pair(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Prompt and completion, each text or turns (TRL's standard and conversational)."""
    system = _said("system", _extra(item, "system", notes))
    return [*system, *_side(item, "prompt", "user", notes), *_side(item, "completion", "assistant", notes)]


def question(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """A prompt, text or turns, that nobody has answered."""
    return _side(item, "prompt", "user", notes)


def _side(item: Item, key: str, role: str, notes: list[Note], tags: Tags | None = None) -> list[Message]:
    value = item.get(key)
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, list) or (
        isinstance(value, str) and isinstance(turns.listed(value), list) and '"role"' in value
    ):
        return turns.conversation(value, tags or _tags(value), notes, key)
    return [
        {"role": role, "content": _text(item, key, notes, "empty-answer" if role == "assistant" else "empty-prompt")}
    ]


def _tags(value: Any) -> Tags:
    return SHAREGPT if "from" in _first_turn(value) else OPENAI


def _first_turn(value: Any) -> Mapping:
    held = turns.listed(value)
    return held[0] if isinstance(held, list) and held and isinstance(held[0], Mapping) else {}


def chat(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """OpenAI's messages, and TRL's."""
    return turns.conversation(item["messages"], layout.tags or _tags(item["messages"]), notes)


def sharegpt(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Conversations of turns with from and value, or with role and content."""
    system = _said("system", _extra(item, "system", notes))
    tags = layout.tags or replace(SHAREGPT, **_names(item["conversations"]))
    return [*system, *turns.conversation(item["conversations"], tags, notes, "conversations")]


def _names(value: Any) -> dict[str, str]:
    """ShareGPT turns that are written as role and content."""
    return {"role": "role", "content": "content"} if "role" in _first_turn(value) else {}


def plain(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """A text as it stands."""
    return [{"role": "text", "content": _text(item, "text", notes, "empty-answer")}]


def segments(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """axolotl's input_output: stretches of text, each trained or not."""
    made: list[Message] = []
    segments = turns.listed(item["segments"])
    if not isinstance(segments, list):
        notes.append(wrong_type("segments", segments, "a list"))
        return []
    for number, part in enumerate(segments):
        if (
            not isinstance(part, Mapping)
            or not isinstance(part.get("text"), str)
            or not isinstance(part.get("label"), bool)
        ):
            notes.append(
                Note(
                    "wrong-type",
                    f"segments[{number}]",
                    excerpt(part),
                    "A segment needs a text and a label that is true or false.",
                )
            )
        else:
            made.append({"role": "text", "content": part["text"], "train": part["label"]})
    return made


def preferred(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """The preferred answer of preference data; of feedback (KTO), the answers with a thumb up."""
    if "label" in item and "chosen" not in item:
        if not thumb(item["label"]):
            notes.append(Note("left-out", "label", excerpt(item["label"])))
            return []
        name = next((name for name in ("messages", "conversations", "completion") if name in item), "completion")
        kind = {"messages": chat, "conversations": sharegpt, "completion": pair}[name]
        return kind(item, notes, layout)
    if "preferred_output" in item:
        given, name = item.get("input"), "preferred_output"
        asked = given.get("messages") if isinstance(given, Mapping) else given
        return [*turns.conversation(asked, OPENAI, notes, "input.messages"), *_side(item, name, "assistant", notes)]
    if "chosen" not in item:
        notes.append(Note("missing-key", "chosen", why="There is no 'chosen'."))
        return []
    return [*_question(item, notes, layout), *_side(item, "chosen", "assistant", notes, layout.tags)]


def _question(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    if "conversations" in item:
        return sharegpt(item, notes, layout)
    if "instruction" in item:
        return alpaca({**item, "output": "-"}, notes, layout)[:-1]
    if "prompt" in item:
        return [*_said("system", _extra(item, "system", notes)), *_side(item, "prompt", "user", notes)]
    return []  # the prompt is within the answers


def refused(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Nothing: rows of this format are recognised, and not read."""
    return []
