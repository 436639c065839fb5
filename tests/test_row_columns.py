"""What stands beside a row's turns is used, refused or named: marks, splits, states, columns of tasks."""

import json

import pytest

from etabli.checks.check import check
from etabli.data.reading.source import read

USER, ANSWER = {"role": "user", "content": "How many legs have 2 horses?"}, {"role": "assistant", "content": "8 legs."}
PAIR = {"prompt": USER["content"], "completion": ANSWER["content"]}
TURNS = {"messages": [USER, ANSWER, {"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "Yes."}]}


def codes(source, **options):
    """Return how often a check finds each code, but for those about licences."""
    counts = check(source, **options).counts
    return {code: count for code, count in counts.items() if not code.startswith("licence")}


def train_flags(row, **options):
    """Return the mark of each message of the first row."""
    return [message.get("train") for message in read([row], **options)[0]["messages"]]


# --- marks ------------------------------------------------------------------------------------------------------------

ROW_MARKS = ["train", "weight", "loss_weight", "training", "trainable", "train_on_turn", "loss", "loss_mask"]
FORMS = [
    (PAIR, [None, False]),
    (TURNS, [None, False, None, False]),
    ({"instruction": "a", "output": "b"}, [None, False]),
    ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, [None, False]),
    ({"text": "a"}, [False]),
]


@pytest.mark.parametrize("name", [*ROW_MARKS, "masked"])
@pytest.mark.parametrize("row, flags", FORMS)
def test_a_mark_of_the_whole_row_is_a_mark_of_its_turns(row, flags, name):
    turned = name == "masked"
    assert train_flags({**row, name: turned}) == flags
    assert train_flags({**row, name: not turned}) == [None] * len(flags)
    assert train_flags({**row, name: str(int(turned))}) == flags  # as a cell of a table
    found = codes([{**row, name: turned}])
    assert found["nothing-trained"] == 1 and "extra-columns" not in found


@pytest.mark.parametrize("name", [*ROW_MARKS, "train_mask"])
def test_a_list_of_marks_beside_the_turns(name):
    assert train_flags({**TURNS, name: [0, 0, 0, 1]}) == [None, False, None, True]


def test_the_mark_of_a_turn_is_stronger_than_the_rows():
    turns = [USER, {**ANSWER, "train": True}, *TURNS["messages"][2:]]
    assert train_flags({"messages": turns, "train": False}) == [None, True, None, False]


@pytest.mark.parametrize("value", [0.5, 2, "0.25"])
def test_a_weight_of_a_row_is_named_with_advice_for_weights(value):
    rows = [PAIR, {**PAIR, "prompt": "x", "weight": value}]
    assert codes(rows)["row-weight"] == 1 and len(read(rows)) == 2
    [finding] = check(rows).findings("row-weight")
    assert "Repeat a row" in finding["fix"]
    [finding] = check([{"messages": [USER, {**ANSWER, "weight": 0.5}]}]).findings("unknown-mark")
    assert "repeat a row" in finding["fix"] and "Write text as text" not in finding["fix"]


def test_a_column_of_words_is_no_mark():
    [row] = read([{**PAIR, "training": "level 2 of 3"}])
    assert row["columns"] == {"training": "level 2 of 3"} and "train" not in row["messages"][1]


MASKED = [{"role": "user", "content": "a", "training": False}, {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize(
    "row, flags",
    [
        ({"messages": MASKED}, [None, True]),
        ({"messages": [{**turn, "training": None} for turn in MASKED], "loss_mask": [0, 1]}, [None, True]),
        ({"messages": [{**turn, "training": None} for turn in MASKED], "train": False}, [None, False]),
        ({"messages": [{**turn, "training": None} for turn in MASKED]}, [True, True]),
    ],
)
def test_a_mark_in_the_row_is_stronger_than_axolotls_roles(row, flags, tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    entry = '  - path: rows.jsonl\n    type: chat_template\n    roles_to_train: ["user", "assistant"]\n'
    (tmp_path / "config.yaml").write_text(f"datasets:\n{entry}")
    [row] = read(tmp_path / "config.yaml")
    assert [message.get("train") for message in row["messages"]] == flags
