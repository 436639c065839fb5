"""Every format that people use comes in as the same conversations; mapping files, tables in memory, packed files."""

import gzip
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etabli.data.checks.check import check
from etabli.data.dataset import Dataset
from etabli.data.reading.source import read
from etabli.errors import BadData, MissingExtra, Unreadable

ASKED, ANSWERED = "Add\n\n1 and 2", "3"
SAID = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": ANSWERED}]
TURNS = [{"from": "human", "value": ASKED}, {"from": "gpt", "value": ANSWERED}]
CALL = {"name": "add", "arguments": {"a": 1, "b": 2}}
CALLED = [{"type": "function", "function": CALL}]

SAME = {
    "alpaca": {"instruction": "Add", "input": "1 and 2", "output": "3"},
    "sharegpt, a list": TURNS,
    "sharegpt with roles": {"conversations": SAID},
    "sharegpt, text in a cell": {"conversations": json.dumps(TURNS)},
    "chat": {"messages": SAID},
    "chat in parts": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Add\n\n"}, "1 and 2"]}, SAID[1]]
    },
    "LLaMA-Factory's parts": {"messages": [{**SAID[0], "content": [{"type": "text", "value": ASKED}]}, SAID[1]]},
    "prompt and completion": {"prompt": ASKED, "completion": ANSWERED},
    "prompt and completion as turns": {"prompt": [SAID[0]], "completion": [SAID[1]]},
}
PREFERRED = {
    "explicit prompt": {"prompt": ASKED, "chosen": ANSWERED, "rejected": "4"},
    "as turns": {"prompt": [SAID[0]], "chosen": [SAID[1]], "rejected": [SAID[1]]},
    "implicit prompt": {"chosen": SAID, "rejected": [SAID[0], {**SAID[1], "content": "4"}]},
    "sharegpt": {"conversations": TURNS[:1], "chosen": TURNS[1], "rejected": TURNS[1]},
    "alpaca": {"instruction": "Add", "input": "1 and 2", "chosen": "3", "rejected": "4"},
    "OpenAI": {"input": {"messages": SAID[:1]}, "preferred_output": SAID[1:], "non_preferred_output": SAID[1:]},
    "thumb up": {"prompt": ASKED, "completion": ANSWERED, "label": True},
    "thumb up, turns": {"messages": SAID, "label": True},
}


@pytest.mark.parametrize("name", SAME)
def test_one_conversation_in_every_dress(name):
    assert read([SAME[name]])[0]["messages"] == SAID


@pytest.mark.parametrize("name", PREFERRED)
def test_preference_data_is_refused_with_an_offer_and_then_kept(name):
    with pytest.raises(BadData, match=r"--format preferred \(format='preferred'\)"):
        read([PREFERRED[name]])
    report = check([PREFERRED[name]])
    assert report.code == 1 and {"preference-data", "feedback-data"} & report.counts.keys()
    assert read([PREFERRED[name]], format="preferred")[0]["messages"] == SAID


def test_a_thumb_down_is_left_out_and_said():
    rows = [PREFERRED["thumb up"], {**PREFERRED["thumb up"], "completion": "5", "label": False}]
    assert [row["messages"] for row in read(rows, format="preferred")] == [SAID]
    assert check(rows, format="preferred").counts["left-out"] == 1


def test_tool_calls_of_openai_and_sharegpt_are_the_same():
    openai = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": json.dumps(CALL["arguments"])}}
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    result = {"role": "tool", "content": "3", "tool_call_id": "c1"}
    chat = {
        "messages": [SAID[0], {"role": "assistant", "content": None, "tool_calls": [openai]}, result, SAID[1]],
        "tools": tools,
    }
    called = [
        TURNS[0],
        {"from": "function_call", "value": json.dumps(CALL)},
        {"from": "observation", "value": "3"},
        TURNS[1],
    ]
    one, other = read([chat])[0], read([{"conversations": called, "tools": json.dumps(tools)}])[0]
    assert one["messages"][1] == {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", **CALLED[0]}]}
    assert other["messages"][1]["tool_calls"] == CALLED
    assert one["tools"] == other["tools"] == tools
    assert [message["role"] for message in other["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert not {"tool-order", "turn-order"} & check([chat]).counts.keys()


def test_tools_survive_a_dataset(tmp_path):
    rows = [
        {
            "messages": [SAID[0], {"role": "assistant", "content": None, "tool_calls": CALLED}],
            "tools": [{"name": "add"}],
        },
        {"messages": [SAID[0], {**SAID[1], "weight": 0}, *SAID]},
    ]
    made = Dataset(read(rows)).save(tmp_path / "d")
    back = Dataset.open(tmp_path / "d")
    assert [row["messages"] for row in back.rows] == [row["messages"] for row in made.rows]
    assert back.rows[0]["tools"] == [{"name": "add"}] and "tools" not in back.rows[1]
    assert back.hash == made.hash


def test_plain_text_in_rows_and_files(tmp_path):
    assert read([{"text": "One."}])[0]["messages"] == [{"role": "text", "content": "One."}]
    (tmp_path / "x.txt").write_text("One\ntwo.\n\n\nThree.\n")
    (tmp_path / "x.md").write_text("# A\n\nOne.\n\n```\n# no heading\n```\n\n## B\nTwo.\n")
    assert [row["messages"][0]["content"] for row in read(tmp_path / "x.txt")] == ["One\ntwo.", "Three."]
    (tmp_path / "lines.txt").write_text("One.\nTwo.\n")
    assert [row["messages"][0]["content"] for row in read(tmp_path / "lines.txt")] == ["One.", "Two."]
    sections = [row["messages"][0]["content"] for row in read(tmp_path / "x.md")]
    assert [section.split("\n")[0] for section in sections] == ["# A", "## B"] and "no heading" in sections[0]
    lines = [item["line"] for item in check(tmp_path / "x.md", rules=always).findings("always")]
    assert lines == [1, 9]


def test_segments_keep_what_is_trained():
    segments = [{"label": False, "text": "Q: 1+2\nA:"}, {"label": True, "text": " 3"}]
    messages = read([{"segments": segments}])[0]["messages"]
    assert [(m["role"], m["content"], m["train"]) for m in messages] == [
        ("text", "Q: 1+2\nA:", False),
        ("text", " 3", True),
    ]


ROWS = [{"instruction": f"Say {number}", "input": "", "output": str(number)} for number in range(70)]


def test_tables_on_disk_and_in_memory(tmp_path):
    import datasets

    wanted = [row["messages"] for row in read(ROWS)]
    frame, table = pd.DataFrame(ROWS), pa.Table.from_pylist(ROWS)
    pq.write_table(table, tmp_path / "x.parquet")
    with pa.ipc.new_file(tmp_path / "x.arrow", table.schema) as out:
        out.write_table(table)
    frame.to_csv(tmp_path / "x.csv", index=False)
    frame.to_csv(tmp_path / "semicolon.csv", index=False, sep=";")
    frame.to_csv(tmp_path / "x.tsv", index=False, sep="\t")
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in ROWS).encode()))
    made = datasets.Dataset.from_list(ROWS)
    parts = datasets.DatasetDict({"test": made.select([0]), "train": made})
    files = [tmp_path / name for name in ("x.parquet", "x.arrow", "x.csv", "semicolon.csv", "x.tsv", "x.jsonl.gz")]
    for source in (*files, frame, table, made, made.to_iterable_dataset(), parts, iter(ROWS)):
        assert [row["messages"] for row in read(source)] == wanted, source


def test_a_frame_with_holes():
    frame = pd.DataFrame(
        [{"instruction": "a", "input": None, "output": "b"}, {"instruction": "a", "input": "c", "output": None}]
    )
    found = [(item["row"], item["code"]) for item in check(frame).findings() if item["severity"] == "error"]
    assert found == [(1, "wrong-type")]


def test_a_dictionary_of_parts_without_train_is_asked_about():
    import datasets

    parts = datasets.DatasetDict({name: datasets.Dataset.from_list(ROWS[:2]) for name in ("a", "b")})
    with pytest.raises(BadData, match="the parts a, b: pass one"):
        read(parts)


@pytest.mark.parametrize("source", [3, {}, {"a": 1}, "x" * 5000, "x" * 300, "a\0b", "", b"bytes", None, [], [3]])
def test_things_that_are_no_rows(source):
    assert check(source).code == 2
    with pytest.raises(Unreadable):
        read(source)


def test_pictures_beside_the_text_are_said():
    report = check([{**SAME["chat"], "images": ["a.png"]}, {**SAME["chat"], "images": []}])
    assert [(item["code"], item["row"]) for item in report.findings() if item["severity"] == "error"] == [
        ("not-text", 0)
    ]


def test_columns_are_renamed_and_the_reason_said():
    rows = [{"question": "a?", "reply": "b", "prompt": "not this"}]
    assert read(rows, columns={"prompt": "question", "completion": "reply"})[0]["messages"][0]["content"] == "a?"
    report = check(rows, columns={"prompt": "question", "completion": "reply"})
    assert report.format["name"] == "prompt-completion" and "1 of the first 1 rows" in report.format["reason"]
    with pytest.raises(BadData, match="--column prompt=question"):
        read([{"question": "a?", "reply": "b"}])


def test_an_unknown_format_is_named():
    with pytest.raises(BadData, match="Unknown format 'alpacca'"):
        read(ROWS, format="alpacca")


# --- mapping files ----------------------------------------------------------------------------------------------------


def test_llama_factory_mapping(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps([{"q": ASKED, "a": ANSWERED}]))
    talk = [{"who": "person", "said": ASKED}, {"who": "machine", "said": ANSWERED}]
    (tmp_path / "talk.json").write_text(json.dumps([{"talk": talk}]))
    tags = {"role_tag": "who", "content_tag": "said", "user_tag": "person", "assistant_tag": "machine"}
    info = {
        "plain": {"file_name": "rows.json", "columns": {"prompt": "q", "response": "a"}},
        "talk": {"file_name": "talk.json", "formatting": "sharegpt", "columns": {"messages": "talk"}, "tags": tags},
        "ranked": {"file_name": "rows.json", "ranking": True},
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    for name in ("plain", "talk"):
        assert read(tmp_path / f"dataset_info.json#{name}")[0]["messages"] == SAID
        assert Dataset.open(tmp_path / f"dataset_info.json#{name}").rows[0]["messages"] == SAID
    with pytest.raises(BadData, match="Preference data"):
        read(tmp_path / "dataset_info.json#ranked")
    with pytest.raises(BadData, match="maps 3 data sets: name one"):
        read(tmp_path / "dataset_info.json")
    with pytest.raises(BadData, match="no entry 'other'; it has plain, talk"):
        read(tmp_path / "dataset_info.json#other")


def test_axolotl_config(tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"segments": [{"label": True, "text": "x"}]}) + "\n")
    (tmp_path / "config.yaml").write_text("base_model: x\ndatasets:\n  - path: rows.jsonl\n    type: input_output\n")
    assert read(tmp_path / "config.yaml")[0]["messages"] == [{"role": "text", "content": "x", "train": True}]
    (tmp_path / "other.yaml").write_text("a: 1\n")
    with pytest.raises(BadData, match="without axolotl's section `datasets`"):
        read(tmp_path / "other.yaml")


def test_a_hub_name_without_hub_says_so(monkeypatch):
    monkeypatch.setattr("etabli.environment.hub_reachable", lambda: False)
    with pytest.raises(Unreadable, match="no file owner/name, and the Hub can't be reached"):
        read("owner/name")


def test_a_hub_name_without_the_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingExtra, match="pip install datasets"):
        read("owner/name")


# --- lineage ----------------------------------------------------------------------------------------------------------


def test_licence_and_terms_travel_into_the_manifest(tmp_path):
    rows = read([{**ROWS[0], "license": "MIT"}, ROWS[1]], licence="CC-BY-NC-4.0", generator="gpt-4", source="a survey")
    facts = Dataset(rows).save(tmp_path / "d").facts()["counts"]
    assert facts["licence"] == {"MIT": 1, "CC-BY-NC-4.0": 1} and facts["source"] == {"a survey": 2}
    assert next(iter(facts["terms"])).startswith("OpenAI's terms forbid")
    report = check(ROWS[:1], licence="CC-BY-NC-4.0", generator="gpt-4")
    assert {"licence-non-commercial", "terms-restrict"} <= report.counts.keys() and report.code == 1


def test_known_ancestry_is_a_hint_and_a_format_is_none(tmp_path):
    for name, licence in (("alpaca_data.json", "CC-BY-NC-4.0 (by its name)"), ("faq-alpaca.json", None)):
        (tmp_path / name).write_text(json.dumps(ROWS[:1]))
        assert read(tmp_path / name)[0].get("licence") == licence


def always(row):
    """Found everywhere."""
    return True


always = __import__("etabli").own_check(always)
