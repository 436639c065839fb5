"""What stands beside a row's turns is used, refused or named: marks, splits, states, columns of tasks."""

import json

import pytest

from etabli.checks.check import check
from etabli.core.errors import BadData
from etabli.data.reading.source import read, read_with_notes

USER, ANSWER = {"role": "user", "content": "How many legs have 2 horses?"}, {"role": "assistant", "content": "8 legs."}
PAIR = {"prompt": USER["content"], "completion": ANSWER["content"]}
TURNS = {"messages": [USER, ANSWER, {"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "Yes."}]}


def codes(source, **options):
    """Return how often a check finds each code, but for those about licences."""
    counts = check(source, **options).counts
    return {code: count for code, count in counts.items() if not code.startswith("licence")}


def warnings_of(source):
    """Return what a reading says beside its rows."""
    return "\n".join(read_with_notes(source).warnings())


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


# --- splits -----------------------------------------------------------------------------------------------------------


def rows_with(*columns):
    """Return a row for each of some columns, all with different prompts."""
    return [{"prompt": f"Question {number}?", "completion": "x", **more} for number, more in enumerate(columns)]


def splits(rows, **options):
    """Return the split of each row; one without a split is trained."""
    return [row.get("split", "train") for row in read(rows, **options)]


@pytest.mark.parametrize(
    "name", ["Partition", "Set", "Fold", "stage", "Verwendung", "subset", "usage", "PHASE", "Données"]
)
@pytest.mark.parametrize("test", ["test", "Hold-out", "held out", "devtest", "UNSEEN", "ood", "Test set"])
def test_a_column_of_splits_is_known_by_its_values(name, test):
    rows = rows_with({name: "train"}, {name: test}, {name: "Dev"}, {name: ""}, {name: "Training"})
    assert splits(rows) == ["train", "test", "validation", "train", "train"]
    assert "2 rows (split-column)" in warnings_of(rows)
    assert codes(rows) == {"split-column": 2}


def test_a_column_of_splits_whose_test_rows_come_late():
    rows = rows_with(*[{"Verwendung": "train"}] * 30, *[{"Verwendung": "test"}] * 5)
    assert splits(rows) == ["train"] * 30 + ["test"] * 5


@pytest.mark.parametrize("path", ["metadata.split", "meta.Split", "info.data.partition"])
def test_a_split_within_an_object(path):
    def nested(mark):
        value = mark
        for name in reversed(path.split(".")):
            value = {name: value}
        return value

    rows = rows_with(nested("train"), nested("test"))
    assert splits(rows) == ["train", "test"]
    assert splits(rows, columns={"split": path}) == ["train", "test"]
    as_text = [{name: json.dumps(v) if isinstance(v, dict) else v for name, v in row.items()} for row in rows]
    assert splits(as_text) == ["train", "test"]  # as a table writes objects


@pytest.mark.parametrize(
    "columns, split",
    [
        ({"is_test": True}, "test"),
        ({"isTest": "True"}, "test"),
        ({"test": True}, "test"),
        ({"is_train": False}, "test"),
        ({"is_val": 1}, "validation"),
        ({"held-out": "yes"}, "test"),
        ({"meta": {"is_test": True}}, "test"),
    ],
)
def test_a_column_of_true_and_false_is_a_split(columns, split):
    opposite = {"meta": {"is_test": False}}
    if "meta" not in columns:
        opposite = {name: str(value) not in ("True", "1", "yes") for name, value in columns.items()}
    assert splits(rows_with(columns, opposite)) == [split, "train"]
    if "meta" not in columns:
        [name] = columns
        assert splits(rows_with(columns, opposite), columns={"split": name}) == [split, "train"]


@pytest.mark.parametrize("columns", [{"label": "test"}, {"topic": "test"}, {"stage": "testing"}, {"Antwort": "Test"}])
def test_a_column_that_may_be_a_split_is_named_with_a_command(columns):
    [(name, value)] = columns.items()
    rows = rows_with(columns, columns, {name: "train" if name in ("label", "Antwort") else value})
    rows += rows_with({name: "shipped"}) if name == "stage" else []
    assert set(splits(rows)) == {"train"}
    count = len([row for row in rows if row.get(name) == value])
    warning = warnings_of(rows)
    assert f"{count} rows (split-column)" in warning and f"--column split={name}" in warning
    assert codes(rows)["split-column"] == count
    assert splits(rows, columns={"split": name})[:2] == ["test", "test"]


@pytest.mark.parametrize("columns", [{"topic": "Test results"}, {"stage": "shipped"}, {"score": 1}, {"is_testy": True}])
def test_other_columns_are_no_splits(columns):
    rows = rows_with(columns, columns)
    assert set(splits(rows)) == {"train"} and codes(rows).keys() == {"extra-columns"}


def test_the_strictest_of_several_marks_counts():
    rows = rows_with({"split": "train", "is_test": True}, {"split": "dev", "Partition": "train"}, {"split": "train"})
    assert splits(rows) == ["test", "validation", "train"]


def test_a_mark_that_is_two_held_out_splits_is_a_test():
    assert splits(rows_with({"split": "held-out validation"}, {"split": "hold out"})) == ["test", "test"]


# --- the columns of a task --------------------------------------------------------------------------------------------

TEXT = "The train to Lyon is late."


def label_studio(control, kind, value, data=None, key="text"):
    """Return a task of Label Studio with one annotation."""
    result = {"from_name": control, "to_name": key, "type": kind, "value": {kind: value}}
    return {"id": 3, "data": data or {key: TEXT}, "annotations": [{"result": [result], "was_cancelled": False}]}


LABEL_STUDIO = {
    "a control of its own name": (label_studio("tone", "choices", ["angry"]), "prompt=text", "completion=tone"),
    "a text area": (label_studio("notes", "textarea", ["angry"]), "prompt=text", "completion=notes"),
    "an object of its own name": (
        label_studio("tone", "choices", ["angry"], {"mail": TEXT, "mail_id": "7"}, "body_of_mail"),
        "prompt=mail",
        "completion=tone",
    ),
    "a control named as a column": (
        label_studio("note", "choices", ["angry"], {"text": TEXT, "note": "from Anna"}),
        "prompt=text",
        "completion=annotations.note",
    ),
}


@pytest.mark.parametrize("name", LABEL_STUDIO)
def test_what_annotators_said_is_the_answer_whatever_its_control_is_called(name):
    task, prompt, completion = LABEL_STUDIO[name]
    with pytest.raises(BadData, match=f"--column {prompt} --column {completion}"):
        read([task])
    columns = dict(pair.split("=") for pair in (prompt, completion))
    [row] = read([task], columns=columns)
    assert [message["content"] for message in row["messages"]] == [TEXT, "angry"]
    if "note" in task["data"]:
        assert row["columns"]["note"] == "from Anna"


def test_argillas_questions_of_own_names_are_a_task():
    row = {"text": TEXT, "tone.responses": ["angry"], "tone.responses.status": ["submitted"]}
    with pytest.raises(BadData, match="--column prompt=text --column completion=tone"):
        read([row])


@pytest.mark.parametrize("name", ["réponse", "Étiquette", "ANTWORT", "Übersetzung", "respuesta", "Categoría", "Label"])
def test_a_tasks_columns_in_other_languages(name):
    with pytest.raises(BadData, match=f"--column prompt=text --column completion={name}"):
        read([{"text": TEXT, name: "x"}])
    with pytest.raises(BadData, match=f"--column prompt=Frage --column completion={name}"):
        read([{"Frage": TEXT, name: "x"}])


def test_a_question_beside_a_text_is_a_task():
    for name in ("question", "Frage", "pregunta", "Consigne"):
        assert codes([{"text": TEXT, name: "x"}]) == {"task-columns": 1}


def test_labels_that_come_late_are_a_task_too():
    rows = [{"text": f"{TEXT} {number}"} for number in range(30)] + [{"text": TEXT, "tone": "x", "label": "angry"}]
    with pytest.raises(BadData, match="1 of 31 rows is not text:\n  row 30: Beside text there are label"):
        read(rows)
    assert codes(rows)["task-columns"] == 1
    assert len(read(rows, format="text")) == 31


# --- what a review said -----------------------------------------------------------------------------------------------

REJECTIONS = [
    *[{"Status": "Rejected"}, {"state": "rejected"}, {"review": "REJECTED"}, {"review_status": "pending"}],
    *[{"reviewStatus": "Draft"}, {"accepted": False}, {"approved": "false"}, {"is_rejected": True}, {"isRejected": 1}],
    *[{"draft": True}, {"pending": "yes"}, {"Status": "Abgelehnt"}, {"statut": "Rejeté"}, {"estado": "rechazado"}],
    *[{"answer": "reject"}, {"answer": "ignore"}, {"meta": {"status": "rejected"}}, {"Review Status": "in review"}],
]


@pytest.mark.parametrize("columns", REJECTIONS, ids=str)
def test_what_a_review_rejected_is_left_out_and_counted(columns):
    rows = [PAIR, {**PAIR, **columns}]
    assert [row.get("columns") for row in read(rows)] == [None] and codes(rows)["rejected"] == 1


@pytest.mark.parametrize(
    "columns", [{"status": "pending"}, {"state": "draft"}, {"valid": False}, {"grade": "rejected"}]
)
def test_what_may_be_a_review_is_named_with_a_command(columns):
    [(name, value)] = columns.items()
    rows = rows_with({}, columns, columns)
    assert [row["columns"] for row in read(rows)[1:]] == [{name: value}] * 2
    warning = warnings_of(rows)
    assert "2 rows (unsettled)" in warning and f"--column status={name}" in warning and codes(rows)["unsettled"] == 2
    assert len(read(rows, columns={"status": name})) == 1


@pytest.mark.parametrize(
    "columns",
    [{"status": "cancelled"}, {"accepted": True}, {"is_rejected": False}, {"state": "Ohio"}, {"draft": "beer"}],
)
def test_ordinary_columns_stay_columns(columns):
    rows = rows_with({}, columns)
    assert read(rows)[1]["columns"] == columns and codes(rows).keys() == {"extra-columns"}


def test_an_answer_that_is_read_is_no_review():
    rows = [{"question": "May it pass?", "answer": "reject"}]
    [row] = read(rows, columns={"prompt": "question", "completion": "answer"})
    assert row["messages"][1]["content"] == "reject"


def test_questions_that_were_rejected_are_left_out():
    from etabli.data.reading.source import read_questions

    rows = read_questions([{"prompt": "a"}, {"prompt": "b", "review": "rejected"}])
    assert rows is not None and len(rows) == 1


@pytest.mark.parametrize(
    "name", ["systemPrompt", "System-Prompt", "SYSTEM", "instructions", "Instructions", "systemMessage"]
)
def test_a_system_text_however_its_column_is_spelt(name):
    row = {"messages": [USER, ANSWER], name: "Be brief."}
    assert read([row])[0]["messages"] == [{"role": "system", "content": "Be brief."}, USER, ANSWER]
    assert codes([row]) == {}


# --- nulls that Arrow padded, written as JSON -------------------------------------------------------------------------


def call(arguments):
    """Return a row with a call of a tool."""
    function = {"name": "f" if "city" in arguments else "g", "arguments": arguments}
    turn = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}
    return {"messages": [USER, turn]}


def arguments(row):
    """Return the arguments of the call of a row."""
    return row["messages"][1]["tool_calls"][0]["function"]["arguments"]


def test_nulls_that_arrow_padded_before_json_was_written_are_left_out_and_counted(tmp_path):
    import pyarrow as pa

    rows = [call({"city": "Lyon"}), call({"lamp": "on", "room": "3"})]
    written = pa.Table.from_pylist(rows).to_pylist()
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, written)))
    assert '"lamp": null' in (tmp_path / "rows.jsonl").read_text()
    assert [arguments(row) for row in read(tmp_path / "rows.jsonl")] == [arguments(row) for row in rows]
    assert "2 rows (padding)" in warnings_of(tmp_path / "rows.jsonl") and codes(tmp_path / "rows.jsonl")["padding"] == 2


def test_nulls_that_a_person_wrote_are_arguments():
    rows = [call({"city": None}), call({"city": "Lyon"}), call({"lamp": None, "room": "3"})]
    assert [arguments(row) for row in read(rows)] == [arguments(row) for row in rows]
    assert "padding" not in codes(rows)


# --- errors that lead on ----------------------------------------------------------------------------------------------

FIELDS = {"text": TEXT}
ARGILLA = {
    "version 2": {"id": "a", "fields": FIELDS, "responses": {"tone": [{"value": "angry", "user_id": "u"}]}},
    "feedback of version 1": {
        **{"fields": FIELDS, "suggestions": []},
        "responses": [{"values": {"tone": {"value": "angry"}}, "status": "submitted"}],
    },
    "classification of version 1": {
        **{"inputs": FIELDS, "prediction": [["calm", 0.9]], "annotation": "angry", "status": "Validated"},
    },
}


@pytest.mark.parametrize("name", ARGILLA)
def test_argillas_records_are_read(name):
    answer = "annotation" if "classification" in name else "tone"
    with pytest.raises(BadData, match=f"--column prompt=text --column completion={answer}"):
        read([ARGILLA[name]])
    [row] = read([ARGILLA[name]], columns={"prompt": "text", "completion": answer})
    assert [message["content"] for message in row["messages"]] == [TEXT, "angry"]


@pytest.mark.parametrize(
    "rejected",
    [
        {"fields": FIELDS, "responses": {"tone": [{"value": "angry", "status": "discarded"}]}},
        {"fields": FIELDS, "responses": [{"values": {"tone": {"value": "angry"}}, "status": "discarded"}]},
        {"fields": FIELDS, "responses": []},
        {**ARGILLA["classification of version 1"], "status": "Discarded"},
        {**ARGILLA["classification of version 1"], "annotation": None},
    ],
)
def test_argillas_discarded_records_are_left_out(rejected):
    answer = "annotation" if "annotation" in rejected else "tone"
    rows = [PAIR, rejected]
    assert len(read(rows, columns=None)) == 1 and codes(rows)["rejected"] == 1, answer


@pytest.mark.parametrize("row", [{"messages": ["Hello", "Hi."]}, {"conversations": ["Hello", "Hi."]}])
def test_turns_without_a_speaker_are_refused_with_the_form_to_write(row):
    with pytest.raises(
        BadData, match=r'a turn that says who speaks\. Write \{"(role|from)": "user", "(content|value)"'
    ):
        read([row])


def test_a_file_in_a_turn_of_gemini_is_named():
    part = {"fileData": {"mimeType": "image/png", "fileUri": "gs://x/y.png"}}
    turns = [
        {"role": "user", "parts": [part, {"text": "What is it?"}]},
        {"role": "model", "parts": [{"text": "A cat."}]},
    ]
    with pytest.raises(BadData, match="A part of type 'fileData': this trains text models"):
        read([{"contents": turns}])
    assert codes([{"contents": turns}])["not-text"] == 1


def test_a_yaml_file_of_rows_is_answered_with_a_command_that_works(tmp_path, monkeypatch):
    import subprocess
    import sys

    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.yaml").write_text("- prompt: a\n  completion: b\n")
    with pytest.raises(BadData) as error:
        read("rows.yaml")
    command = str(error.value).partition("JSONL: ")[2].replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert len(read("rows.jsonl")) == 1
    (tmp_path / "train.yaml").write_text("dataset: identity,alpaca\ndataset_dir: data\n")
    with pytest.raises(BadData, match=r"etabli data check 'data/dataset_info.json#identity'"):
        read("train.yaml")


def test_all_refused_keys_of_axolotl_are_listed_at_once(tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": [USER, ANSWER]}))
    keys = "    shards: 4\n    train_on_eos: all\n    nonsense: 1\n    more_nonsense: 2\n"
    (tmp_path / "config.yaml").write_text(f"datasets:\n  - path: rows.jsonl\n    type: chat_template\n{keys}")
    with pytest.raises(BadData) as error:
        read(tmp_path / "config.yaml")
    assert all(key in str(error.value) for key in ("shards 4", "train_on_eos 'all'", "nonsense 1", "more_nonsense 2"))


def test_what_a_json_file_says_of_all_rows_is_theirs(tmp_path):
    content = {"_meta": {"license": "CC-BY-4.0", "language": "fr"}, "source": "our shop", "data": [PAIR]}
    (tmp_path / "rows.json").write_text(json.dumps(content))
    [row] = read(tmp_path / "rows.json")
    assert (row["licence"], row["lang"], row["source"]) == ("CC-BY-4.0", "fr", "our shop")
    [finding] = check(tmp_path / "rows.json").findings("unfolded")
    assert "Not read" not in finding["why"]
    (tmp_path / "rows.json").write_text(json.dumps({**content, "_meta": {"license": "MIT", "rows": 1}}))
    [finding] = check(tmp_path / "rows.json").findings("unfolded")
    assert "Not read: _meta" in finding["why"]


def test_unused_columns_are_named_in_one_order_and_a_rows_own_id_is_kept():
    rows = [{**PAIR, "id": "mail-7", "zeta": 1, "alpha": 2, "mid": 3}]
    [finding] = check(rows).findings("extra-columns")
    assert finding["excerpt"] == "alpha, id, mid, zeta"
    [row] = read(rows)
    assert row["columns"]["id"] == "mail-7" and read([{**PAIR, "id": row["id"]}])[0].get("columns") is None


def test_a_file_in_another_encoding_is_one_mistake_with_one_command(tmp_path):
    lines = [json.dumps({**PAIR, "prompt": f"Où est {n} ?"}, ensure_ascii=False) for n in range(30)]
    (tmp_path / "rows.jsonl").write_bytes("\n".join(lines).encode("cp1252"))
    with pytest.raises(BadData) as error:
        read(tmp_path / "rows.jsonl")
    assert str(error.value).count("not UTF-8") == 1 and "So do 29 more" in str(error.value)
    assert f"iconv -f WINDOWS-1252 -t UTF-8 {tmp_path / 'rows.jsonl'} > new-rows.jsonl" in str(error.value)


def test_a_number_sign_in_a_file_name_is_part_of_it(tmp_path, monkeypatch):
    from etabli.app.project import _name_for
    from etabli.core.contracts import RECIPE
    from etabli.evaluation.compare import _find_own_data
    from etabli.runs.recipe import Recipe
    from etabli.runs.run import Run

    monkeypatch.chdir(tmp_path)
    (tmp_path / "My C# notes.jsonl").write_text(json.dumps(PAIR))
    assert _name_for("My C# notes.jsonl") == "My-C-notes" and _name_for("dataset_info.json#mine") == "dataset_info"
    Recipe(data="My C# notes.jsonl").save(tmp_path / "run" / RECIPE)
    assert _find_own_data(Run.attach(tmp_path / "run")) == str(tmp_path / "My C# notes.jsonl")


def test_a_column_that_a_mapping_names_and_no_row_has_is_named(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps([{"instr": "a", "outp": "b", "sys": "c"}]))
    columns = {"prompt": "instr", "response": "outp", "images": "pictures"}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"x": {"file_name": "rows.json", "columns": columns}}))
    source = tmp_path / "dataset_info.json"
    [finding] = check(source).findings("missing-names")
    assert "pictures" in finding["why"]
    [row] = read(source, columns={"system": "sys"})  # beside the mapping's own names, not instead of them
    assert [message["content"] for message in row["messages"]] == ["c", "a", "b"]
    columns["response"] = "output"
    source.write_text(json.dumps({"x": {"file_name": "rows.json", "columns": columns}}))
    with pytest.raises(BadData, match="There is no 'output'; the row has"):
        read(source)
