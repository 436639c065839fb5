"""Convert rows to messages, with one function a format; mistakes are noted and not raised."""

from collections.abc import Mapping
from dataclasses import replace

from etabli.core.contracts import Message
from etabli.data.notes import Note, excerpt
from etabli.data.reading import turns
from etabli.data.reading.layout import Item, Layout
from etabli.data.reading.turns import OPENAI, SHAREGPT, Tags, wrong_type_note


def thumb(label: object) -> bool | None:
    """Return the label of feedback data: True for a thumb up, False for down, None if it is neither."""
    return label if isinstance(label, bool) else {"true": True, "false": False}.get(str(label).casefold())


def _text(item: Item, key: str, notes: list[Note], code: str) -> str:
    """Return a required text; an empty one is noted under ``code``."""
    value = item.get(key)
    if not isinstance(value, str):
        notes.append(wrong_type_note(key, value, "text"))
        return ""
    if not value.strip():
        notes.append(Note(code, key, why=f"{key} is empty."))
    return value


def _extra(item: Item, key: str, notes: list[Note]) -> str:
    value = item.get(key)
    if value is None or value != value:
        return ""
    if not isinstance(value, str):
        notes.append(wrong_type_note(key, value, "text"))
        return ""
    return value


def _optional_turn(role: str, text: str) -> list[Message]:
    return [{"role": role, "content": text}] if text.strip() else []


def alpaca(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Return the messages of instruction, input and output, with a system text and earlier pairs if there are any."""
    context = _extra(item, "input", notes)
    if context.strip().casefold().strip("<>[]() .").replace(" ", "") in ("noinput", "n/a", "na", "none", "nan", "null"):
        notes.append(Note("placeholder", "input", excerpt(context), "A placeholder stands where there is no input."))
    # An empty instruction is one only if there is no input to work on either.
    question_text = (
        _extra(item, "instruction", notes) if context.strip() else _text(item, "instruction", notes, "empty-prompt")
    )
    question_text = "\n\n".join(part for part in (question_text, context) if part.strip()) or question_text
    system = _optional_turn("system", _extra(item, "system", notes))
    return [*system, *_history(item, notes), {"role": "user", "content": question_text}, _answer(item, "output", notes)]


def _history(item: Item, notes: list[Note]) -> list[Message]:
    past = turns.parse_list(item.get("history")) or []
    if not isinstance(past, list) or not all(map(_is_pair, past)):
        notes.append(wrong_type_note("history", past, "a list of pairs of texts"))
        return []
    return [{"role": role, "content": text} for pair in past for role, text in zip(("user", "assistant"), pair)]


def _is_pair(pair: object) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)


def _answer(item: Item, key: str, notes: list[Note]) -> Message:
    return {"role": "assistant", "content": _text(item, key, notes, "empty-answer")}


def pair(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Return the messages of prompt and completion, each a text or turns (TRL's standard and conversational)."""
    system = _optional_turn("system", _extra(item, "system", notes))
    return [*system, *_side(item, "prompt", "user", notes), *_side(item, "completion", "assistant", notes)]


def question(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Return the messages of a prompt without an answer."""
    return _side(item, "prompt", "user", notes)


def _side(item: Item, key: str, role: str, notes: list[Note], tags: Tags | None = None) -> list[Message]:
    value = item.get(key)
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, list) or (
        isinstance(value, str) and isinstance(turns.parse_list(value), list) and '"role"' in value
    ):
        return turns.read_turns(value, tags or _tags(value), notes, key)
    return [
        {"role": role, "content": _text(item, key, notes, "empty-answer" if role == "assistant" else "empty-prompt")}
    ]


def _tags(value: object) -> Tags:
    return SHAREGPT if "from" in _first_turn(value) else OPENAI


def _first_turn(value: object) -> Mapping[str, object]:
    turn_list = turns.parse_list(value)
    return turn_list[0] if isinstance(turn_list, list) and turn_list and isinstance(turn_list[0], Mapping) else {}


def chat(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Return the messages of OpenAI's and TRL's ``messages``."""
    return turns.read_turns(item["messages"], layout.tags or _tags(item["messages"]), notes)


def sharegpt(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Return the messages of turns with from and value, or with role and content."""
    system = _optional_turn("system", _extra(item, "system", notes))
    uses_roles = "role" in _first_turn(item["conversations"])  # ShareGPT with OpenAI's keys
    tags = layout.tags or (replace(SHAREGPT, role="role", content="content") if uses_roles else SHAREGPT)
    return [*system, *turns.read_turns(item["conversations"], tags, notes, "conversations")]


def plain(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Return a plain text."""
    return [{"role": "text", "content": _text(item, "text", notes, "empty-answer")}]


def segments(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Return axolotl's input_output: segments of text, each trained or not."""
    messages: list[Message] = []
    segments = turns.parse_list(item["segments"])
    if not isinstance(segments, list):
        notes.append(wrong_type_note("segments", segments, "a list"))
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
            messages.append({"role": "text", "content": part["text"], "train": part["label"]})
    return messages


def preferred(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Return the preferred answer of preference data, or a feedback (KTO) answer with a thumb up."""
    if "label" in item and "chosen" not in item:
        if not thumb(item["label"]):
            notes.append(Note("left-out", "label", excerpt(item["label"])))
            return []
        name = next((name for name in ("messages", "conversations", "completion") if name in item), "completion")
        kind = {"messages": chat, "conversations": sharegpt, "completion": pair}[name]
        return kind(item, notes, layout)
    if "preferred_output" in item:
        prompt, name = item.get("input"), "preferred_output"
        prompt_turns = prompt.get("messages") if isinstance(prompt, Mapping) else prompt
        return [
            *turns.read_turns(prompt_turns, OPENAI, notes, "input.messages"),
            *_side(item, name, "assistant", notes),
        ]
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
        return [*_optional_turn("system", _extra(item, "system", notes)), *_side(item, "prompt", "user", notes)]
    return []  # the prompt is within the answers


def reject_rows(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Return nothing: rows of this format are recognised but not read."""
    return []
