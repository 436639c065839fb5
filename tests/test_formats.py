"""Plain formats are read, and every mistake is named with its line."""

import json

import pytest

from etabli.core.errors import BadData
from etabli.data.dataset import Dataset
from etabli.data.reading.source import read

GOOD = {
    "alpaca": {"instruction": "Add", "input": "1 and 2", "output": "3"},
    "prompt-completion": {"prompt": "Add\n\n1 and 2", "completion": "3"},
    "sharegpt": {"conversations": [{"from": "human", "value": "Add\n\n1 and 2"}, {"from": "gpt", "value": "3"}]},
    "chat": {"messages": [{"role": "user", "content": "Add\n\n1 and 2"}, {"role": "assistant", "content": "3"}]},
}
SAID = [{"role": "user", "content": "Add\n\n1 and 2"}, {"role": "assistant", "content": "3"}]


@pytest.mark.parametrize("kind", GOOD)
def test_every_format_gives_the_same_row(kind, tmp_path, write_jsonl):
    jsonl = write_jsonl([GOOD[kind]])
    (tmp_path / "rows.json").write_text(json.dumps([GOOD[kind]], indent=2))
    assert [row["messages"] for row in read(jsonl)] == [SAID]
    assert read(jsonl)[0]["id"] == read(tmp_path / "rows.json")[0]["id"]


def test_csv_with_other_column_names(tmp_path):
    (tmp_path / "x.csv").write_text('question,reply\r\n"Add\n\n1 and 2",3\r\n', encoding="utf-8-sig")
    rows = read(tmp_path / "x.csv", columns={"prompt": "question", "completion": "reply"})
    assert rows[0]["messages"] == SAID


def test_openai_weight_zero_is_not_trained(write_jsonl):
    item = {"messages": [*SAID[:1], {**SAID[1], "weight": 0}]}
    assert read(write_jsonl([item]))[0]["messages"][1]["train"] is False


@pytest.mark.parametrize(
    "bad, said",
    [
        ({"prompt": "a"}, "There is no 'completion'"),
        ({"prompt": "a", "completion": ""}, "completion is empty"),
        ({"prompt": "a", "completion": None}, "completion is NoneType"),
        ({"prompt": 3, "completion": "b"}, "prompt is int"),
    ],
)
def test_a_bad_row_is_named_with_its_line(write_jsonl, bad, said):
    good = GOOD["prompt-completion"]
    with pytest.raises(BadData, match="1 of 4 rows") as error:
        read(write_jsonl([good, good, bad, good]))
    assert f"line 3: {said}" in str(error.value)


def test_all_bad_rows_are_counted_and_ten_named(write_jsonl):
    with pytest.raises(BadData, match="24 of 25 rows") as error:
        read(write_jsonl([GOOD["alpaca"]] + [{"instruction": "a"}] * 24))
    assert str(error.value).count("line ") == 10 and "and 14 more" in str(error.value)


def test_lines_in_an_indented_json_list(tmp_path):
    text = json.dumps([GOOD["alpaca"], {"instruction": "x"}], indent=2)
    (tmp_path / "x.json").write_text(text)
    wanted = text.split("\n").index("  {", 2) + 1
    with pytest.raises(BadData, match=rf"line {wanted}: There is no 'output'"):
        read(tmp_path / "x.json")


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "0 rows"),
        (b"\n\n", "0 rows"),
        (b"[]", "0 rows"),
        (b'{"prompt": "a", "completion": "b"}\n{"prompt": "a"', "line 2: This is not JSON"),
        (b'{"who": 1}', "can't tell the format"),
        (b"[1, 2]", "can't tell the format"),
        (b'{"prompt": "\xff", "completion": "b"}', "not UTF-8"),
        (b'{"messages": []}', "not empty"),
        (b'{"messages": [{"role": "user", "content": "a"}]}', "no assistant turn"),
        (b'{"messages": [{"role": "robot", "content": "a"}]}', "'robot'"),
        (b'{"conversations": [{"from": "alien", "value": "a"}]}', "'alien'"),
        (b"[" * 100_000, "Line 1: Nested too deeply"),
    ],
)
def test_files_that_are_no_data(tmp_path, content, said):
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(BadData, match=said):
        read(tmp_path / "x.jsonl")


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(BadData, match="no file"):
        read(tmp_path / "none.jsonl")
    with pytest.raises(BadData, match=r"no rows\.parquet"):
        Dataset.open(tmp_path)


def test_a_dataset_comes_back_as_it_was(commands, tmp_path):
    commands.save(tmp_path / "d")
    back = Dataset.open(tmp_path / "d")
    assert back.hash == commands.hash
    assert back.rows == commands.rows
    assert json.loads((tmp_path / "d" / "manifest.json").read_text())["hash"] == commands.hash


def test_an_empty_dataset_is_not_written(tmp_path):
    with pytest.raises(BadData, match="0 rows"):
        Dataset([]).save(tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_the_hash_sees_every_change(commands):
    rows = commands.rows
    changed = [{**rows[0], "split": "other"}, *rows[1:]]
    assert len({Dataset(r).hash for r in (rows, changed, rows[1:], rows[::-1])}) == 4


def test_with_test_marks_whole_templates(commands):
    unmarked = Dataset([{**row, "split": None} for row in commands.rows])
    marked = unmarked.with_test(share=0.2)
    test, train = ({row["template"] for row in marked.part(split)} for split in ("test", "train"))
    assert test and train and not test & train
    assert 0.2 * len(marked) <= len(marked.part("test")) < 0.4 * len(marked)
