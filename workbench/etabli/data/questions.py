"""Split a row into a question and its answer."""

from etabli.core.contracts import Message, Row


def question(row: Row) -> list[Message]:
    """Return a row's messages before its last answer; all of them if it has no answer."""
    return row["messages"][: _last_answer(row)]


def truth(row: Row) -> str:
    """Return a row's last answer; an empty text if it has none."""
    place = _last_answer(row)
    return row["messages"][place]["content"] if place < len(row["messages"]) else ""


def answer_message(row: Row) -> Message | None:
    """Return a row's last answer: its text and tool calls, without reasoning and masks; None if it has no answer."""
    place = _last_answer(row)
    if place == len(row["messages"]):
        return None
    source = row["messages"][place]
    message: Message = {"role": "assistant", "content": source["content"]}
    if source.get("tool_calls"):
        message["tool_calls"] = source["tool_calls"]
    return message


def ends_in_call(row: Row) -> bool:
    """Return whether a row's last answer is a tool call."""
    message = answer_message(row)
    return bool(message and message.get("tool_calls"))


def answer_places(row: Row) -> list[int]:
    """Return the numbers of a row's messages that are answers."""
    return [place for place, message in enumerate(row["messages"]) if message["role"] == "assistant"]


def _last_answer(row: Row) -> int:
    answers = answer_places(row)
    return answers[-1] if answers else len(row["messages"])


def has_answer(row: Row) -> bool:
    """Return whether a row has an assistant turn."""
    return _last_answer(row) < len(row["messages"])


def has_text_answer(row: Row) -> bool:
    """Return whether a row has an answer that is text and no tool call."""
    place = _last_answer(row)
    return place < len(row["messages"]) and bool(truth(row)) and not row["messages"][place].get("tool_calls")


def last_user_text(row: Row) -> str:
    """Return the last user turn before the answer; an empty text if there is none."""
    turns = [message["content"] for message in question(row) if message["role"] == "user"]
    return turns[-1] if turns else ""
