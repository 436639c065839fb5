"""Shapes of rows that nobody named: what they hold is read, refused with advice that works, or named with a count."""

import json
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
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
    assert "1 row (other-answers): Other branches" in warnings_of([row])


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
    with pytest.raises(BadData, match="1 of 31 rows is not text:\n  row 30: Each row is one turn"):
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


# --- rows under keys --------------------------------------------------------------------------------------------------


def test_a_rows_key_becomes_a_column(tmp_path):
    row = {"prompt": "Who?", "completion": "Tom."}
    rows = read(write_json(tmp_path, {"a": row, "b": row}))
    assert [row["columns"] for row in rows] == [{"key": "a"}, {"key": "b"}]
    assert [row["split"] for row in read(write_json(tmp_path, {"train": {"a": row}, "test": {"b": row}}))] == [
        "train",
        "test",
    ]
    columns = {"prompt": ["Who?"], "completion": ["Tom."]}
    rows = read(write_json(tmp_path, {"train": columns, "test": columns}))
    assert [(row["split"], row["messages"][1]["content"]) for row in rows] == [("train", "Tom."), ("test", "Tom.")]


QUESTIONS_AS_KEYS = {
    "prompt=key --column completion=answer": {"Who is Ann?": {"answer": "A", "x": 1}, "Who?": {"answer": "B", "x": 1}},
    "prompt=key --column completion=value": {"Who is Ann?": "A", "Who?": "B"},
    "prompt=0 --column completion=1": [["Who is Ann?", "A"], ["Who is Bo?", "B"]],
    "prompt=key --column completion=fr": {"thumbs up": {"en": "A", "fr": "A"}, "x": {"en": "B", "fr": "B"}},
}


@pytest.mark.parametrize("options", QUESTIONS_AS_KEYS)
def test_questions_as_keys_are_read_with_the_command_that_is_advised(options, tmp_path):
    path = write_json(tmp_path, QUESTIONS_AS_KEYS[options])
    if "fr" not in options:
        with pytest.raises(BadData, match=f"--column {options}"):
            read(path)
    columns = dict(option.split("=") for option in options.replace("--column ", "").split())
    assert [row[-1][1] for row in contents(path, columns=columns)] == ["A", "B"]


def test_several_labels_of_a_text_are_one_answer():
    rows = [{"text": "The train is late.", "label": ["POS", "NEG"]}]
    columns = {"prompt": "text", "completion": "label"}
    assert contents(rows, columns=columns) == [[("user", "The train is late."), ("assistant", "POS, NEG")]]


def test_rows_that_the_data_server_cut_are_left_out_with_a_count(tmp_path):
    rows = [
        {"row_idx": number, "row": {"prompt": "Who?", "completion": "A long an"}, "truncated_cells": cut}
        for number, cut in enumerate(([], ["completion"], []))
    ]
    path = write_json(tmp_path, {"features": [], "rows": rows, "partial": True})
    assert len(read(path)) == 2
    assert "1 row is left out: the data server cut cells" in warnings_of(path)


def test_a_cache_point_in_bedrocks_system_is_no_text():
    row = {
        "system": [{"text": "A"}, {"cachePoint": {"type": "default"}}, {"text": "B"}],
        "messages": [HUMAN, ASSISTANT],
    }
    assert contents([row]) == [[("system", "AB"), *PAIR]]


# --- what is said -----------------------------------------------------------------------------------------------------


def test_a_mark_that_is_no_split_is_said_with_its_value():
    assert "split is 'challenge'" in warnings_of([{"prompt": "a", "completion": "b", "split": "challenge"}])


def test_an_unknown_column_name_is_answered_with_the_ten_nearest():
    with pytest.raises(BadData) as error:
        read([{"prompt": "a", "completion": "b", "c": "d"}], columns={"zzzzqq": "c"})
    assert 1 <= str(error.value).partition("nearest are ")[2].partition(". ")[0].count(",") + 1 <= 10


def test_a_question_that_the_text_does_not_answer_was_not_rejected_by_a_person():
    rows = [{"context": "C", "question": "Who?", "answers": {"text": texts}} for texts in (["Tom"], [])]
    assert "1 row is left out (rejected): The text does not answer the question." in warnings_of(rows)


# --- tables and folders -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_the_names_of_classes_are_read_and_not_their_numbers(kind, tmp_path):
    features = {"text": {"_type": "Value"}, "label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}
    tags = {"tags": {"feature": {"names": ["x", "y"], "_type": "ClassLabel"}, "_type": "Sequence"}}
    facts = json.dumps({"info": {"features": {**features, **tags}}})
    table = pa.table({"text": ["bad", "good"], "label": [0, 1], "tags": [[0], [1, 0]]})
    table = table.replace_schema_metadata({"huggingface": facts})
    path = tmp_path / f"rows.{kind}"
    if kind == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    rows = read(path, columns={"prompt": "text", "completion": "label"})
    assert [row["messages"][1]["content"] for row in rows] == ["neg", "pos"]
    assert [row["columns"]["tags"] for row in rows] == [["x"], ["y", "x"]]


def test_a_readmes_pattern_of_any_depth_names_files(tmp_path):
    front = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: 'data/**'\n---\n"
    (tmp_path / "README.md").write_text(front)
    for folder in ("data", "data/deep"):
        (tmp_path / folder).mkdir()
        write_json(tmp_path / folder, [{"prompt": "Who?", "completion": "Tom."}])
    assert [row["split"] for row in read(tmp_path)] == ["train", "train"]


def test_a_part_of_a_saved_set_that_is_no_split_is_left_out_and_named(tmp_path):
    (tmp_path / "dataset_dict.json").write_text("{}")
    for part in ("train", "unsupervised", "test"):
        (tmp_path / part).mkdir()
        write_json(tmp_path / part, [{"prompt": f"Who is {part}?", "completion": "Tom."}])
    assert sorted(row["split"] for row in read(tmp_path)) == ["test", "train"]
    assert "1 file of the folder is not read: unsupervised/rows.json" in warnings_of(tmp_path)


@pytest.mark.parametrize("name", ["system", "system_prompt", "preamble"])
def test_a_system_text_beside_all_rows_is_their_system_turn(name, tmp_path):
    rows = [{"prompt": "Who?", "completion": "Tom."}, {"prompt": "Where?", "completion": "Here.", name: "Be kind."}]
    texts = contents(write_json(tmp_path, {name: "Be brief.", "examples": rows}))
    assert [row[0] for row in texts] == [("system", "Be brief."), ("system", "Be kind.")]


def test_a_zip_of_several_files_is_refused_with_what_to_do(tmp_path):
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        for name in ("train", "test"):
            archive.writestr(f"{name}.jsonl", json.dumps({"prompt": "Who?", "completion": "Tom."}))
    with pytest.raises(BadData, match=r"of 2 files .*: unpack it and name the folder"):
        read(tmp_path / "rows.zip")
