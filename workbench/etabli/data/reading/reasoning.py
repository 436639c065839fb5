"""Read an answer's thought: one text under the key ``reasoning``, however a file holds it.

It stands under a key of its turn, in parts of their own, within tags (``thought_tags``) at the start of the content, or
in a column of its row. The content is then what follows the thought.
"""

from collections.abc import Mapping, Sequence

from etabli.core.contracts import Message
from etabli.data.notes import Note, excerpt
from etabli.data.reading import thought_tags

DETAILS = "reasoning_details"  # OpenRouter's pieces of a thought, of which some may be encrypted
KEYS = ("reasoning", "reasoning_content", "thinking", "reasoning_text", "thought", "thoughts", DETAILS)
_SWITCHES = {"on", "off", "true", "false", "yes", "no", "0", "1"}
_PART_TYPES = ("thinking", "reasoning", "reasoning_text", "thought")
_TEXT_KEYS = ("thinking", "text", "reasoning", "content", "thought", "summary")


def is_thought(part: Mapping[str, object]) -> bool:
    """Return whether a part of a content is a thought: Anthropic's, Mistral's, OpenAI's, Bedrock's or Gemini's."""
    return part.get("type") in _PART_TYPES or "reasoningContent" in part or part.get("thought") is True


def read_part(part: Mapping[str, object], notes: list[Note], where: str) -> str:
    """Return the text of a part that is a thought."""
    value = part.get("reasoningContent", part)
    value = value.get("reasoningText", value) if isinstance(value, Mapping) else value
    text = _join(value)
    if text is None:
        notes.append(Note("reasoning", where, excerpt(dict(part)), "A part of a thought has no text."))
    _note_other_texts(value, notes, where)
    return text or ""


def _note_other_texts(value: object, notes: list[Note], where: str) -> None:
    """Note the texts of a thought, or of its pieces, that stand beside the one that is used."""
    if isinstance(value, list):
        for piece in value:
            _note_other_texts(piece, notes, where)
    if not isinstance(value, Mapping):
        return
    texts = {key: _join(value[key]) for key in _TEXT_KEYS if value.get(key) and value[key] is not True}
    used_key = next(iter(texts), "")
    for key, text in texts.items():
        if text and text != texts[used_key]:
            why = f"A thought has a text under {used_key} and another one under {key}: {key} is not used."
            notes.append(Note("unknown-key", where, excerpt(text), why))


def _join(value: object) -> str | None:
    """Return a thought's text, with its pieces joined by blank lines; None if there is none."""
    if isinstance(value, Mapping):
        value = next((value[key] for key in _TEXT_KEYS if value.get(key) and value[key] is not True), None)
    if isinstance(value, list):
        texts = [_join(piece) for piece in value]
        return None if None in texts or not texts else "\n\n".join(map(str, texts))
    return value if isinstance(value, str) else None


def read_keys(item: Mapping[str, object], notes: list[Note], where: str, names: Sequence[str] = ()) -> str | None:
    """Return the thought under the keys of a turn or the columns of a row; None if there is none.

    Args:
        names: other names of such keys.
    """
    texts: dict[str, str] = {}
    for name in dict.fromkeys((*names, *KEYS)):
        value = item.get(name)
        if value is None or value != value or value == "" or value == []:
            continue
        if name == DETAILS and isinstance(value, list) and not (value := _readable_details(value, notes, where)):
            continue
        text = _join(value)
        _note_other_texts(value, notes, where)
        if text is None:
            why = f"{name} is {type(value).__name__}, not text."
            notes.append(Note("reasoning", where, excerpt(value), why))
        else:
            texts[name] = text
    return _one_text(texts, notes, where)


def _readable_details(pieces: list[object], notes: list[Note], where: str) -> list[object]:
    """Return the pieces of a thought that are text; parts of one piece are joined, encrypted pieces are noted."""
    readable: list[object] = []
    last_index = None
    for number, piece in enumerate(pieces):
        index = piece.get("index") if isinstance(piece, Mapping) else None
        text = _join(piece)
        if isinstance(piece, Mapping) and piece.get("data") and text is None:
            why = "An encrypted piece of a thought can't be read: it is left out."
            notes.append(Note("unknown-key", f"{where}.{DETAILS}[{number}]", excerpt(dict(piece)), why))
        elif readable and index is not None and index == last_index and text is not None:
            readable[-1] = f"{_join(readable[-1])}{text}"
        else:
            readable.append(piece)
        last_index = index
    return readable


def _one_text(texts: Mapping[str, str], notes: list[Note], where: str) -> str | None:
    """Return the thought that several places hold; different ones are noted."""
    if len({"".join(text.split()) for text in texts.values()}) > 1:  # pieces are joined with blanks, or without
        why = f"Two different thoughts, under {' and '.join(texts)}: an answer has one."
        notes.append(Note("reasoning", where, excerpt(next(iter(texts.values()))), why))
    return next(iter(texts.values()), None)


def set_reasoning(message: Message, texts: Mapping[str, str | None], notes: list[Note], where: str) -> None:
    """Set the ``reasoning`` of an answer from the places that may hold it; on another turn it is noted and left out."""
    present = {name: text for name, text in texts.items() if text is not None}
    thought = _one_text(present, notes, where)
    if thought is None:
        return
    if message["role"] == "assistant":
        message["reasoning"] = thought
    else:
        why = f"A thought on a turn of {message['role']}: only an answer has one. It is not used."
        notes.append(Note("unknown-key", where, excerpt(thought), why))


def set_column(messages: Sequence[Message], item: Mapping[str, object], notes: list[Note]) -> None:
    """Set the ``reasoning`` of the last answer from the columns of its row.

    A column that only says whether there is a thought (``on``, ``off``) is none, and is noted.
    """
    switches = {name for name in KEYS if str(item.get(name)).strip().casefold() in _SWITCHES}
    for name in sorted(switches):
        notes.append(
            Note("unknown-key", name, excerpt(item[name]), f"{name} is a switch, not a thought: it is not used.")
        )
    thought = read_keys({name: item[name] for name in item.keys() & set(KEYS) - switches}, notes, "reasoning")
    answers = [message for message in messages if message["role"] == "assistant"]
    if thought is not None and answers:
        set_reasoning(answers[-1], {"its turn": answers[-1].get("reasoning"), "a column": thought}, notes, "reasoning")


def split_thought(message: Message, notes: list[Note], where: str) -> None:
    """Move ``<think>…</think>`` and the like from the start of an answer's content to its ``reasoning``.

    An empty thought becomes an empty text: templates write it as such. Tags elsewhere stay text and are noted, also
    those within a thought, since a reader of answers may end it there; so are those of a content whose parts have
    marks, since a mark may be the thought's.
    """
    if message["role"] != "assistant":
        return
    tagged = thought_tags.split(message["content"])
    if tagged and tagged.rest is not None and "train_spans" not in message:
        thought = tagged.thought.strip("\n")
        keys = {"its key": message.get("reasoning"), tagged.tag: thought or message.get("reasoning", "")}
        set_reasoning(message, keys, notes, where)
        message["content"] = tagged.rest.lstrip("\n")
    for text in (message["content"], message.get("reasoning", "")):
        if (place := thought_tags.find_stray(text)) is not None:
            notes.append(Note("thought-tags", where, excerpt(text, place)))
