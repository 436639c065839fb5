"""A row as a question and its answer."""

from etabli.core.contracts import Message, Row


def question(row: Row) -> list[Message]:
    """A row's messages before its last answer; all, if it has none."""
    return row["messages"][: _last_answer(row)]


def truth(row: Row) -> str:
    """A row's last answer; nothing, if it has none."""
    at = _last_answer(row)
    return row["messages"][at]["content"] if at < len(row["messages"]) else ""


def _last_answer(row: Row) -> int:
    answers = [at for at, message in enumerate(row["messages"]) if message["role"] == "assistant"]
    return answers[-1] if answers else len(row["messages"])


def has_answer(row: Row) -> bool:
    """Is there an answer in a row, of whatever kind?"""
    return _last_answer(row) < len(row["messages"])


def answered(row: Row) -> bool:
    """Does a row end in an answer that is text?"""
    at = _last_answer(row)
    return at < len(row["messages"]) and bool(truth(row)) and not row["messages"][at].get("tool_calls")


def asked(row: Row) -> str:
    """What the person says in a row: its last user turn."""
    turns = [message["content"] for message in question(row) if message["role"] == "user"]
    return turns[-1] if turns else ""
