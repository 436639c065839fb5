"""Convert the turns of OpenAI, ShareGPT, TRL and LLaMA-Factory to messages."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from etabli.core.contracts import Message
from etabli.data.notes import Note, escape_invisible, excerpt
from etabli.data.reading import calls, marks, reasoning
from etabli.data.reading.contents import Content, read_content
from etabli.data.reading.values import parse_list, wrong_type_note

_OPENAI = {role: role for role in ("system", "user", "assistant", "tool")} | {
    **{"developer": "system", "function": "tool", "ipython": "tool"},  # newer OpenAI, older OpenAI, Llama 3
    **{"model": "assistant", "chatbot": "assistant"},  # Gemma, Cohere
}
_SHAREGPT = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard", "model"), "assistant"),
    "system": "system",
    **dict.fromkeys(("observation", "tool", "function_response", "ipython"), "tool"),
    **dict.fromkeys(("function_call", "tool_call"), "call"),
}
_KNOWN_KEYS = {"name", "tool_calls", "tool_call_id", "function_call", *reasoning.KEYS}
CALL = "call"


@dataclass(frozen=True)
class Tags:
    """The keys of a turn's speaker and text, and the speakers' names with their roles.

    ``marks`` and ``reasoning`` are other names of keys for marks and thoughts; ``trained_roles`` are the roles whose
    turns are trained unless they are marked; None leaves that to the recipe.
    """

    role: str = "role"
    content: str = "content"
    roles: dict[str, str] = field(default_factory=lambda: _OPENAI)
    marks: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    trained_roles: tuple[str, ...] | None = None


OPENAI, SHAREGPT = Tags(), Tags("from", "value", _SHAREGPT)


def read_turns(turns: object, tags: Tags, notes: list[Note], where: str = "messages") -> list[Message]:
    """Return a message for each turn that can be read; mistakes are added to ``notes``."""
    turns = parse_list(turns)
    if not isinstance(turns, list):
        notes.append(wrong_type_note(where, turns, "a list of turns"))
        return []
    if not turns:
        notes.append(Note("no-messages", where, why="The conversation must be a list of turns that is not empty."))
    messages = [_turn(turn, tags, notes, f"{where}[{number}]") for number, turn in enumerate(turns)]
    return [message for message in messages if message is not None]


def _turn(turn: object, tags: Tags, notes: list[Note], where: str) -> Message | None:
    if not isinstance(turn, Mapping):
        example = json.dumps({tags.role: "user", tags.content: "…"}, ensure_ascii=False)
        wanted = f"a turn that says who speaks. Write {example}"
        notes.append(wrong_type_note(where, turn, wanted))
        return None
    _note_unknown_keys(turn, tags, notes, where)
    role = _role(turn, tags, notes, where)
    if role is None:
        return None
    message, content = _message(turn, role, tags, notes, where)
    marks.set_mark(message, marks.read_mark(turn, notes, where, tags.marks))
    marks.set_part_marks(message, content.texts, content.marks)
    keys = reasoning.read_keys(turn, notes, where, tags.reasoning)
    reasoning.set_reasoning(message, {"its key": keys, "its parts": content.thought}, notes, where)
    return message


def _message(
    turn: Mapping[str, object], role: str, tags: Tags, notes: list[Note], where: str
) -> tuple[Message, Content]:
    """Return a turn's message without marks and thought, and its content."""
    if role == CALL:
        return calls.call_message(turn.get(tags.content), notes, f"{where}.{tags.content}"), Content()
    content = read_content(turn, tags.content, notes, where)
    message: Message = {"role": role, "content": "".join(content.texts)}
    calls.set_calls(turn, message, notes, where)
    return message, content


def _note_unknown_keys(turn: Mapping[str, object], tags: Tags, notes: list[Note], where: str) -> None:
    known_keys = {tags.role, tags.content, *tags.marks, *tags.reasoning, *_KNOWN_KEYS, *marks.mark_names(turn)}
    if turn.get(tags.content) is None:
        known_keys.add("refusal")  # then it is the content
    for name in turn:
        if name not in known_keys and turn[name] is not None:
            notes.append(Note("unknown-key", f"{where}.{escape_invisible(str(name))}", excerpt(turn[name])))


def _role(turn: Mapping[str, object], tags: Tags, notes: list[Note], where: str) -> str | None:
    speaker, place = turn.get(tags.role), f"{where}.{tags.role}"
    if tags.role not in turn:
        notes.append(Note("missing-key", place, excerpt(dict(turn)), f"The turn has no {tags.role!r}."))
    elif not isinstance(speaker, str):
        notes.append(wrong_type_note(place, speaker, "text"))
    elif role := tags.roles.get(speaker) or tags.roles.get(speaker.strip().casefold()):
        return role
    else:
        why = f"Nobody knows the role {escape_invisible(speaker)!r}; known are {', '.join(sorted(tags.roles))}."
        notes.append(Note("unknown-role", place, excerpt(speaker), why))
    return None
