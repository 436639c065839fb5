"""Convert rows to messages, with one function a format; mistakes are noted and not raised."""

from collections.abc import Mapping
from dataclasses import replace

from etabli.core.contracts import Message
from etabli.data.notes import Note, excerpt
from etabli.data.reading import marks, reasoning, turns
from etabli.data.reading.columns import fold_name
from etabli.data.reading.contents import join_parts
from etabli.data.reading.layout import Item, Layout
from etabli.data.reading.turns import OPENAI, SHAREGPT, Tags
from etabli.data.reading.values import parse_list, wrong_type_note

# Columns of a system text: Anthropic's and Bedrock's, OpenOrca's, Vertex AI's, Cohere's.
SYSTEM_KEYS = ("system", "system_prompt", "system_message", "system_instruction", "systemInstruction", "preamble")
_SYSTEM_NAMES = {*map(fold_name, SYSTEM_KEYS), "systeminstructions", "systemtext", "systemmsg"}


def system_names(item: Item) -> list[str]:
    """Return the columns of a row that hold a system text, however they are spelt; ``instructions`` beside turns."""
    beside_turns = {"instructions"} if {"messages", "conversations"} & item.keys() else set()
    return [name for name in item if fold_name(str(name)) in _SYSTEM_NAMES | beside_turns]


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


def with_system(messages: list[Message], item: Item, notes: list[Note]) -> list[Message]:
    """Return the messages after the system text that stands beside them: a text, or parts of one."""
    texts = [text for name in system_names(item) if (text := _system_text(item, name, notes)).strip()]
    first = messages[0]["content"] if messages and messages[0]["role"] == "system" else None
    system: list[Message] = [{"role": "system", "content": text} for text in dict.fromkeys(texts) if text != first]
    return [*system, *messages]


def _system_text(item: Item, name: str, notes: list[Note]) -> str:
    value = parse_list(item.get(name)) if isinstance(item.get(name), list) else item.get(name)
    if value is None or value != value:
        return ""
    if isinstance(value, Mapping):
        value = next((value[key] for key in ("parts", "content") if key in value), value)
    if isinstance(value, str | list | Mapping):
        return join_parts(value, notes, name)
    notes.append(wrong_type_note(name, value, "text"))
    return ""


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
    user: Message = {"role": "user", "content": question_text}
    messages = [*_history(item, notes), user, _answer(item, "output", notes)]
    reasoning.set_column(messages, item, notes)
    return with_system(messages, item, notes)


def dolly(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Return the messages of instruction, context and response, as Dolly has them."""
    contexts = [text for name in ("input", "context") if (text := _extra(item, name, notes)).strip()]
    return alpaca({**item, "input": "\n\n".join(contexts), "output": item["response"]}, notes, layout)


def _history(item: Item, notes: list[Note]) -> list[Message]:
    past = parse_list(item.get("history")) or []
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
    messages = [*_side(item, "prompt", "user", notes), *_side(item, "completion", "assistant", notes)]
    reasoning.set_column(messages, item, notes)
    return with_system(messages, item, notes)


def question(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Return the messages of a prompt without an answer."""
    return with_system(_side(item, "prompt", "user", notes), item, notes)


def _side(item: Item, key: str, role: str, notes: list[Note], tags: Tags | None = None) -> list[Message]:
    value = item.get(key)
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, list) or (
        isinstance(value, str) and isinstance(parse_list(value), list) and '"role"' in value
    ):
        return turns.read_turns(value, tags or _tags(value), notes, key)
    return [
        {"role": role, "content": _text(item, key, notes, "empty-answer" if role == "assistant" else "empty-prompt")}
    ]


def _tags(value: object) -> Tags:
    return SHAREGPT if "from" in _first_turn(value) else OPENAI


def _first_turn(value: object) -> Mapping[str, object]:
    turn_list = parse_list(value)
    return turn_list[0] if isinstance(turn_list, list) and turn_list and isinstance(turn_list[0], Mapping) else {}


def chat(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Return the messages of OpenAI's and TRL's ``messages``."""
    messages = turns.read_turns(item["messages"], layout.tags or _tags(item["messages"]), notes)
    marks.set_row_marks(messages, item, notes)
    return with_system(messages, item, notes)


def sharegpt(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Return the messages of turns with from and value, or with role and content."""
    uses_roles = "role" in _first_turn(item["conversations"])  # ShareGPT with OpenAI's keys
    tags = layout.tags or (replace(SHAREGPT, role="role", content="content") if uses_roles else SHAREGPT)
    messages = turns.read_turns(item["conversations"], tags, notes, "conversations")
    marks.set_row_marks(messages, item, notes)
    return with_system(messages, item, notes)


def plain(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Return a plain text."""
    return [{"role": "text", "content": _text(item, "text", notes, "empty-answer")}]


def segments(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Return axolotl's input_output: segments of text, each trained or not."""
    messages: list[Message] = []
    segments = parse_list(item["segments"])
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
            for name in sorted(part.keys() - {"text", "label"}):
                notes.append(Note("unknown-key", f"segments[{number}].{name}", excerpt(part[name])))
    return messages


def preferred(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Return the preferred answer of preference data, or a feedback (KTO) answer with a thumb up."""
    messages = _preferred(item, notes, layout)
    return with_system(messages, item, notes) if messages else []


def _preferred(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    if "label" in item and "chosen" not in item:
        if not thumb(item["label"]):
            notes.append(Note("left-out", "label", excerpt(item["label"])))
            return []
        kinds = {"messages": chat, "conversations": sharegpt, "completion": pair, "output": alpaca}
        kind = next((kind for name, kind in kinds.items() if name in item), pair)
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
        return with_system(_side(item, "prompt", "user", notes), item, notes)
    return []  # the prompt is within the answers


def reject_rows(item: Item, notes: list[Note], layout: Layout) -> list[Message]:
    """Return nothing: rows of this format are recognised but not read."""
    return []
