"""Shapes of rows that nobody named: what they hold is read, refused with advice that works, or named with a count."""

import json

import pytest

from etabli.checks.check import check
from etabli.core.errors import BadData
from etabli.data.reading.source import read, read_with_notes

HUMAN, ASSISTANT = {"role": "user", "content": "Who is Ann?"}, {"role": "assistant", "content": "A cook."}


def write_json(folder, value, name="rows.json"):
    """Write a value as a JSON file and return its path."""
    path = folder / name
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def contents(source, **options):
    """Return role and content of each message, row by row."""
    return [[(turn["role"], turn["content"]) for turn in row["messages"]] for row in read(source, **options)]


def warnings_of(source, **options):
    """Return what a reading says beside its rows."""
    return "\n".join(read_with_notes(source, **options).warnings())


def codes(source, **options):
    """Return how often a check finds each code, but for those about licences."""
    counts = check(source, **options).counts
    return {code: count for code, count in counts.items() if not code.startswith("licence")}


# --- conversations ----------------------------------------------------------------------------------------------------

PAIR = [("user", "Who is Ann?"), ("assistant", "A cook.")]
CLAUDE = {
    "uuid": "1",
    "chat_messages": [{"sender": "human", "text": "Who is Ann?"}, {"sender": "assistant", "text": "A cook."}],
}
CHATGPT = {
    "title": "t",
    "mapping": {
        "root": {"message": None, "parent": None, "children": ["a"]},
        "a": {
            "message": {"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["Who is Ann?"]}},
            **{"parent": "root", "children": ["b"]},
        },
        "b": {
            "message": {"author": {"role": "assistant"}, "content": {"content_type": "text", "parts": ["A cook."]}},
            **{"parent": "a", "children": []},
        },
    },
}
CHATS = {
    "Claude's export": CLAUDE,
    "ChatGPT's export": CHATGPT,
    "Anthropic's batch": {"custom_id": "a", "params": {"model": "c", "messages": [HUMAN, ASSISTANT]}},
    "OpenAI's batch": {"custom_id": "a", "method": "POST", "body": {"model": "g", "messages": [HUMAN, ASSISTANT]}},
    "Cohere's roles": {
        "messages": [{"role": "User", "content": "Who is Ann?"}, {"role": "Chatbot", "content": "A cook."}]
    },
    "Cohere's chat": {"chat_history": [], "message": "Who is Ann?", "response": "A cook."},
}


@pytest.mark.parametrize("name", CHATS)
@pytest.mark.parametrize("count", [1, 3])
def test_an_exported_conversation_is_one_row(name, count, tmp_path):
    assert contents(write_json(tmp_path, [CHATS[name]] * count)) == [PAIR] * count


def test_the_branch_of_chatgpts_tree_that_was_shown_is_read_and_others_are_named():
    second = {"message": {"author": {"role": "assistant"}, "content": {"parts": ["A bard."]}}, "parent": "a"}
    row = {**CHATGPT, "mapping": {**CHATGPT["mapping"], "c": second}, "current_node": "b"}
    assert contents([row]) == [PAIR]
    assert "1 rows (other-answers): Other branches" in warnings_of([row])


def test_coheres_history_and_preamble_come_before_the_question():
    past = [{"role": "USER", "message": "Hi"}, {"role": "CHATBOT", "message": "Hello."}]
    row = {"preamble": "Be terse.", "chat_history": past, "message": "Who is Ann?", "response": "A cook."}
    assert contents([row]) == [[("system", "Be terse."), ("user", "Hi"), ("assistant", "Hello."), *PAIR]]


TURNS = {
    "OASST": {"message_id": "m1", "parent_id": "m0", "text": "A cook.", "role": "assistant"},
    "sender": {"text": "Who is Ann?", "sender": "human"},
    "content": {"content": "Who is Ann?", "role": "user", "conversation": 1},
    "reply": {"text": "Who is Ann?", "message_id": "m1", "parent_id": None},
}


@pytest.mark.parametrize("name", TURNS)
def test_a_row_that_is_one_turn_is_no_plain_text(name):
    with pytest.raises(BadData, match=r"Each row is one turn.*Write a row for each"):
        read([TURNS[name]])
    assert codes([TURNS[name]]) == {"single-turn": 1}


def test_a_turn_that_comes_late_is_no_plain_text_either():
    with pytest.raises(BadData, match="1 of 31 rows are not text:\n  row 30: Each row is one turn"):
        read([{"text": f"Some text {number}"} for number in range(30)] + [TURNS["OASST"]])
