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


# --- columns that nothing reads ---------------------------------------------------------------------------------------

LABELS = {
    **{"cats": {"POS": 0, "NEG": 1}, "entities": [[0, 3, "OBJ"]], "stars": 4, "rating": "4", "emotion": "anger"},
    **{"topic": "trains", "paraphrase": "The train came late.", "keywords": ["train"], "system": "Be brief."},
    **{"ton": "sec", "toxic": True},
}


@pytest.mark.parametrize("name", LABELS)
def test_what_stands_beside_a_text_is_named_with_a_count_and_both_commands(name):
    rows = [{"text": f"The train {number} is late.", name: LABELS[name], "url": "u", "doc_id": 1} for number in (1, 2)]
    said = warnings_of(rows)
    assert said.startswith(f"2 rows (side-columns): Beside text there are {name}, which are not trained.")
    assert f"--column prompt=text --column completion={name}" in said and "--format text" in said
    assert codes(rows)["side-columns"] == 2
    assert "side-columns" not in codes(rows, format="text") and contents(rows) == contents(rows, format="text")


def test_facts_about_a_text_are_no_labels():
    facts = {"id": 1, "url": "u", "source": "s", "date": "2024", "licence": "MIT", "lang": "en", "token_count": 7}
    web = {"dump": "CC", "file_path": "p", "language_score": 0.9, "meta": {"pile_set_name": "x"}, "title": "T"}
    rows = [{"text": f"Text {number}.", **facts, **web, "weirdness": number / 7} for number in range(20)]
    assert "side-columns" not in codes(rows)
    assert codes([{**row, "weirdness": number % 2} for number, row in enumerate(rows)])["side-columns"] == 20


def test_dollys_context_is_part_of_the_question():
    row = {"instruction": "Where is it?", "context": "Bern is a city.", "response": "In Bern.", "category": "qa"}
    assert contents([row]) == [[("user", "Where is it?\n\nBern is a city."), ("assistant", "In Bern.")]]
    assert contents([{**row, "context": ""}]) == [[("user", "Where is it?"), ("assistant", "In Bern.")]]


def test_a_command_that_drops_a_column_says_so_and_one_that_keeps_it_comes_first():
    rows = [{"question": "Who?", "passage": "Tom came.", "answer": "Tom.", "topic": "x"}]
    with pytest.raises(BadData) as error:
        read(rows)
    options = "--column instruction=question --column input=passage --column output=answer"
    assert options in str(error.value) and "It does not train topic." in str(error.value)
    columns = {"instruction": "question", "input": "passage", "output": "answer"}
    assert contents(rows, columns=columns) == [[("user", "Who?\n\nTom came."), ("assistant", "Tom.")]]
    with pytest.raises(BadData, match=r"completion=answer.*It does not train subject, choices"):
        read([{"question": "Who?", "subject": "x", "choices": ["Ann", "Bo"], "answer": 1}])


@pytest.mark.parametrize("name", ["context", "choices", "document", "chat_history", "system_style"])
def test_what_belongs_to_the_question_and_is_not_used_is_a_warning(name):
    value = ["a", "b"] if name == "choices" else "Tom came."
    for row in ({"messages": [HUMAN, ASSISTANT]}, {"prompt": "Who?", "completion": "Tom."}):
        said = warnings_of([{**row, name: value}] * 3)
        assert f"3 rows (unused-content): {name}: not used, though it may belong to the question." in said
        if name == "document" and "prompt" in row:
            assert "--column instruction=prompt --column input=document --column output=completion" in said
        elif name != "choices":
            assert f"--column system={name}" in said or "input=" in said
            assert contents([{**row, name: value}], columns={"system": name})[0][0] == ("system", value)
