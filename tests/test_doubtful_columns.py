"""Columns, names and marks of which only a part is known: the known part counts, the rest is named with a count."""

import json

import pytest

from etabli.checks.check import check
from etabli.data.dataset import Dataset
from etabli.data.reading.source import read, read_with_notes

USER, ANSWER = {"role": "user", "content": "How many legs have 2 horses?"}, {"role": "assistant", "content": "8 legs."}


def rows_with(*columns):
    """Return a row for each of some columns, all with different prompts."""
    return [{"prompt": f"Question {number}?", "completion": "x", **more} for number, more in enumerate(columns)]


def codes(source, **options):
    """Return how often a check finds each code, but for those about licences."""
    counts = check(source, **options).counts
    return {code: count for code, count in counts.items() if not code.startswith("licence")}


def warnings_of(source, **options):
    """Return what a reading says beside its rows."""
    return "\n".join(read_with_notes(source, **options).warnings())


def splits(source, **options):
    """Return the split of each row; one without a split is trained."""
    return [row.get("split", "train") for row in read(source, **options)]


def write_rows(path, rows):
    """Write rows as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


# --- splits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, train, test, validation",
    [
        ("Teil", "Training", "Test", "Entwicklung"),
        ("jeu", "entraînement", "jeu de test", "validation"),
        ("parte", "entrenamiento", "prueba", "validación"),
        ("usage", "Training", "PublicTest", "dev"),
    ],
)
def test_words_of_four_languages_are_splits(name, train, test, validation):
    rows = rows_with({name: train}, {name: test}, {name: validation})
    assert splits(rows) == ["train", "test", "validation"] and codes(rows) == {"split-column": 2}


@pytest.mark.parametrize("name", ["part", "Quelle"])
def test_an_unknown_value_beside_two_splits_is_named_and_the_splits_count(name):
    rows = rows_with({name: "train"}, {name: "test"}, {name: "unused"}, {name: ""}, {name: "spare"})
    assert splits(rows) == ["train", "test", "train", "train", "train"]
    assert codes(rows) == {"split-column": 1, "unknown-split": 2}
    said = warnings_of(rows)
    assert "1 row (split-column)" in said and "2 rows (unknown-split)" in said and f"--column split={name}" in said


def test_an_unknown_value_that_comes_late_is_named():
    rows = rows_with(*[{"Teil": "Training"}] * 30, {"Teil": "Reserve"}, {"Teil": "Test"})
    assert splits(rows)[30:] == ["train", "test"] and codes(rows) == {"split-column": 1, "unknown-split": 1}


def test_a_column_of_many_values_is_no_column_of_splits():
    rows = rows_with(*[{"topic": word} for word in ("train", "bus", "test", "ship", "cart", "bike", "walk")])
    assert set(splits(rows)) == {"train"}


def test_a_column_with_a_single_word_of_splits_is_named():
    rows = rows_with({"topic": "test"}, {"topic": "exam"})
    assert set(splits(rows)) == {"train"} and "--column split=topic" in warnings_of(rows)


@pytest.mark.parametrize("true, false", [("Y", "N"), ("VRAI", "FAUX"), ("ja", "nein"), ("oui", "non"), ("sí", "no")])
def test_flags_in_other_languages(true, false):
    rows = rows_with({"is_test": true}, {"is_test": false}, {"is_test": None})
    assert splits(rows) == ["test", "train", "train"] and codes(rows) == {"split-column": 1}
    assert splits(rows, columns={"split": "is_test"}) == ["test", "train", "train"]


@pytest.mark.parametrize("true", ["x", "t", "1"])
def test_an_unknown_value_beside_flags_is_named(true):
    rows = rows_with({"is_test": true}, {"is_test": "?"}, {"is_test": ""})
    assert splits(rows) == ["test", "train", "train"] and codes(rows) == {"split-column": 1, "unknown-split": 1}
    assert codes(rows, columns={"split": "is_test"}) == {"unknown-split": 1}


def test_numbers_of_a_test_are_no_flags():
    rows = rows_with(*[{"test": number} for number in (1, 2, 3)])
    assert set(splits(rows)) == {"train"}


@pytest.mark.parametrize("values", [("Training", "Development"), ("Training", "Evaluation")])
def test_a_person_can_say_that_no_column_is_a_split(values, tmp_path):
    rows = rows_with(*[{"department": value, "split": "test"} for value in values])
    assert "--column split=none" in warnings_of([{**row, "split": None} for row in rows])
    options = {"columns": {"split": "none"}}
    assert splits(rows, **options) == ["train", "train"] and codes(rows, **options) == {"extra-columns": 1}
    assert read(rows, **options)[0]["columns"] == {"department": "Training", "split": "test"}
    Dataset(read(rows, **options)).save(tmp_path / "rows")
    assert splits(tmp_path / "rows") == ["train", "train"]


# --- names of files ---------------------------------------------------------------------------------------------------


def pairs(first):
    """Return two rows of a file."""
    return [{"prompt": f"{first} {number}", "completion": "x"} for number in range(2)]


def split_of_each(folder, **options):
    """Return the splits that the files of a folder got, by the word that their prompts begin with."""
    return {row["messages"][0]["content"].split()[0]: row.get("split") for row in read(folder, **options)}


@pytest.mark.parametrize(
    "names",
    [
        {"latest_dev_team.jsonl": None, "mails.jsonl": None},
        {"eval-questions.jsonl": None, "mails.jsonl": None},
        {"dev/mails.jsonl": None, "user/mails.jsonl": None},
        {"train.jsonl": "train", "dev.jsonl": "validation", "other.jsonl": None},
        {"mails.jsonl": None, "test.jsonl": "test"},
        {"mails.jsonl": None, "mails_test.jsonl": "test"},
        {"mails-train.jsonl": "train", "mails-validation.jsonl": "validation"},
        {"train_fr.jsonl": "train", "test_en.jsonl": "test"},
        {"train/a.jsonl": "train", "test/a.jsonl": "test"},
        {"fr/train-00000-of-00001.jsonl": "train", "fr/test-00000-of-00001.jsonl": "test"},
    ],
    ids=str,
)
def test_a_file_is_a_split_only_beside_others(names, tmp_path):
    for number, name in enumerate(names):
        write_rows(tmp_path / name, pairs(f"f{number}"))
    assert split_of_each(tmp_path) == {f"f{number}": split for number, split in enumerate(names.values())}
    held_out_count = 2 * len([split for split in names.values() if split in ("validation", "test")])
    warnings = warnings_of(tmp_path)
    if held_out_count:
        assert f"{held_out_count} rows (split-file)" in warnings and "--column split=none" in warnings
        assert codes(tmp_path)["split-file"] == held_out_count
        assert set(split_of_each(tmp_path, columns={"split": "none"}).values()) == {None}
        assert "split-file" not in codes(tmp_path, columns={"split": "none"})
    elif None in names.values():
        assert "a name holds a word for a split" in warnings


def test_pages_about_evaluation_are_trained(tmp_path):
    for name in (
        "docs/dev/setup.md",
        "docs/user/use.md",
        "docs/eval.md",
        "docs/test-guide.md",
        "docs/training-guide.md",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n\nA page of {name}.\n")
    assert len(read(tmp_path)) == 5 and {row.get("split") for row in read(tmp_path)} == {None}


def test_a_rows_own_split_is_stronger_than_its_files_name(tmp_path):
    write_rows(tmp_path / "train.jsonl", pairs("a"))
    write_rows(tmp_path / "test.jsonl", [{**row, "split": "train"} for row in pairs("b")])
    assert split_of_each(tmp_path) == {"a": "train", "b": "train"} and "split-file" not in codes(tmp_path)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_readme_from_windows_is_read(line_end, tmp_path):
    write_rows(tmp_path / "a.jsonl", pairs("a"))
    write_rows(tmp_path / "b.jsonl", pairs("b"))
    lines = ["---", "configs:", "- config_name: default", "  data_files: a.jsonl", "---", ""]
    (tmp_path / "README.md").write_bytes(line_end.join(lines).encode())
    assert len(read(tmp_path)) == 2


# --- what a review said -----------------------------------------------------------------------------------------------

REJECTIONS = [
    *[{"review": word} for word in ("declined", "denied", "invalid", "incorrect", "NOK", "refusé", "à revoir")],
    *[{"review_status": word} for word in ("non validé", "invalide", "rejected by QA", "not OK")],
    *[{"exclude": True}, {"keep": "N"}, {"validé": "non"}, {"freigegeben": "nein"}, {"deleted": "VRAI"}],
    *[{"annotations": [{"status": "discarded"}]}, {"responses": [{"status": "discarded"}]}],
    *[{"reviews": [{"accepted": True}, {"accepted": False}]}, {"metadata": {"review": {"value": "rejected"}}}],
    {"answer": "skip"},
]


@pytest.mark.parametrize("columns", REJECTIONS, ids=str)
def test_more_words_of_reviews_leave_a_row_out(columns):
    rows = rows_with({}, columns)
    assert len(read(rows)) == 1 and codes(rows)["rejected"] == 1
    said = warnings_of(rows)
    assert "1 row is left out (rejected)" in said and "--column status=none" in said
    assert len(read(rows, columns={"status": "none"})) == 2 and "rejected" not in codes(
        rows, columns={"status": "none"}
    )


@pytest.mark.parametrize(
    "columns",
    [
        *[{"status": word} for word in ("declined", "refusé", "invalid", "NOK", "rejected by QA")],
        {"cancelled": True},
        {"is_spam": "ja"},
        {"geprüft": "nein"},
    ],
    ids=str,
)
def test_what_may_be_a_loan_or_a_label_is_named_with_two_commands(columns):
    [(name, value)] = columns.items()
    rows = rows_with({}, columns, {name: "good" if name == "status" else "ja" if value == "nein" else "0"})
    said = warnings_of(rows)
    assert len(read(rows)) == 3 and codes(rows)["unsettled"] == 1
    assert "1 row (unsettled)" in said and f"--column status={name}" in said and "--column status=none" in said
    assert [row["messages"][0]["content"] for row in read(rows, columns={"status": name})] == [
        "Question 0?",
        "Question 2?",
    ]
    assert "unsettled" not in codes(rows, columns={"status": "none"})


@pytest.mark.parametrize(
    "columns",
    [
        {"loan": {"status": "rejected"}},
        {"order": {"state": "pending", "approved": False}},
        {"annotations": [{"status": "discarded"}, {"status": "submitted"}]},
        {"reviews": [{"accepted": False}, {"accepted": True}]},
    ],
    ids=str,
)
def test_a_status_of_something_else_is_no_review(columns):
    rows = rows_with({}, columns)
    assert read(rows)[1]["columns"] == columns and codes(rows).keys() == {"extra-columns"}


def label_studio(*annotations, **more):
    """Return a task of Label Studio with annotations, each one a mapping beside its result."""
    result = [{"from_name": "reply", "to_name": "q", "type": "textarea", "value": {"text": ["Sure."]}}]
    return {"id": 1, "data": {"q": "When?"}, "annotations": [{"result": result, **one} for one in annotations], **more}


def test_what_stands_beside_the_data_of_label_studio_is_used_or_named():
    columns = {"columns": {"prompt": "q", "completion": "reply"}}
    rows = [
        label_studio({}, meta={"split": "test", "topic": "bus"}),
        label_studio({}, meta={"split": "train", "topic": "tram"}, drafts=[], created_at="2024"),
        label_studio({"reviews": [{"accepted": False}]}),
        label_studio({}, reviews=[{"accepted": False}]),
        label_studio({"status": "rejected"}),
    ]
    assert splits(rows, **columns) == ["test", "train"] and codes(rows, **columns)["rejected"] == 3
    assert [row["columns"] for row in read(rows, **columns)] == [{"meta": row["meta"]} for row in rows[:2]]
    [kept] = read([label_studio({"reviews": [{"accepted": False}]}, {})], **columns)
    assert kept["messages"][1]["content"] == "Sure."


# --- marks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["is_trainable", "train_on", "do_train", "learn"])
def test_other_names_of_a_turns_mark(name):
    rows = [{"messages": [USER, {**ANSWER, name: False}, USER, {**ANSWER, name: True}]}]
    assert [message.get("train") for message in read(rows)[0]["messages"]] == [None, False, None, True]
    assert codes(rows) == {}


@pytest.mark.parametrize("columns", [{"sample_weight": 0}, {"use_for_training": False}, {"train": "non"}])
def test_other_names_of_a_rows_mark(columns):
    assert [row["messages"][1].get("train") for row in read(rows_with(columns, {}))] == [False, None]
    assert codes(rows_with(columns, {})) == {"nothing-trained": 1}


def test_ignore_means_that_a_turn_is_not_trained():
    rows = [{"messages": [USER, {**ANSWER, "ignore": True}, USER, ANSWER]}]
    assert [message.get("train") for message in read(rows)[0]["messages"]] == [None, False, None, None]


def test_weights_beside_the_turns_are_marks_and_weights_of_things_are_not():
    turns = [USER, ANSWER, USER, ANSWER]
    assert [m.get("train") for m in read([{"messages": turns, "weights": [0, 0, 0, 1]}])[0]["messages"]][1::2] == [
        False,
        True,
    ]
    rows = [{"messages": turns, "weights": [1.5, 20.0], "mask": "N95", "labels_mask": ["none"]}]
    assert codes(rows).keys() == {"extra-columns"}


@pytest.mark.parametrize("name", ["mask", "labels_mask"])
def test_a_mark_of_no_sure_meaning_is_refused_as_a_mark(name):
    turn = {"messages": [USER, {**ANSWER, name: 1}]}
    for row in (turn, {"messages": [USER, ANSWER], name: [0, 1]}):
        [finding] = check([row]).findings("unknown-mark")
        assert f"{name} is a mark" in finding["why"] and finding["severity"] == "error"
        assert "unknown-key" not in codes([row])


def test_axolotls_ranges_of_characters_are_refused_with_what_is_read_instead():
    ranges = [{"begin_offset": 0, "end_offset": 2, "train": False}]
    [finding] = check([{"messages": [USER, {**ANSWER, "train_detail": ranges}]}]).findings("unknown-mark")
    assert "content as parts" in finding["why"]
    assert codes([{"messages": [USER, {**ANSWER, "mask": None, "train_detail": None}]}]) == {}


# --- names in mapping files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key, name", [("training", "trainn"), ("training", "train"), ("thinking", "thougt")])
def test_a_misspelt_key_of_a_turn_in_a_mapping_file_is_named(key, name, tmp_path):
    write_rows(tmp_path / "rows.jsonl", [{"messages": [USER, {**ANSWER, "train": 1, "thought": "2 times 4."}]}])
    field = "message_field_training" if key == "training" else "field_thinking"
    entry = f"datasets:\n  - path: rows.jsonl\n    type: chat_template\n    {field}: {name}\n"
    (tmp_path / "config.yaml").write_text(entry)
    is_missing = name != "train"
    assert (f"names {name}, which no turn" in warnings_of(tmp_path / "config.yaml")) is is_missing
    assert ("missing-names" in codes(tmp_path / "config.yaml")) is is_missing


@pytest.mark.parametrize("name", ["systm", "system"])
def test_a_misspelt_column_in_a_mapping_file_is_named(name, tmp_path):
    write_rows(tmp_path / "rows.jsonl", [{"instruction": "a", "output": "b", "system": "Be brief."}])
    columns = {"prompt": "instruction", "response": "output", "system": name}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"x": {"file_name": "rows.jsonl", "columns": columns}}))
    source = f"{tmp_path / 'dataset_info.json'}#x"
    assert ("names systm, which none of the first rows has" in warnings_of(source)) is (name == "systm")
    assert ("missing-names" in codes(source)) is (name == "systm")
