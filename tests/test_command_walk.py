"""Own data from a file to a verdict by commands alone: what a command refuses names the command that goes on."""

import csv
import json
import re
import shlex

import pytest
import yaml

from etabli.app.cli import run_command
from etabli.data.dataset import Dataset
from etabli.data.overlap import find_overlaps

THINGS = ["lamp", "invoice", "parcel", "garden", "ticket", "refund", "window", "bicycle", "kettle", "charger"]
COLUMNS = ["--column", "prompt=La question", "--column", "completion=What we wrote"]


def write_mails(path, rows=60, **more):
    """Write a CSV with odd column names; ``more`` are columns, each a function of the row's number."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["La question", "What we wrote", "canal", *more])
        for number in range(rows):
            thing = f"{THINGS[number % 10]} {number // 10} " + "x" * (number % 7)
            mail = f"{thing}: {THINGS[(number * 3 + 1) % 10]} broke on day {number}"
            writer.writerow([mail, f"About {thing}.", "mail", *(make(number) for make in more.values())])


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_mails(tmp_path / "Courrier reçu.csv")
    return tmp_path


@pytest.fixture
def run(capsys):
    def run(*words, code=0):
        actual_code = run_command(list(words), False)
        out, err = capsys.readouterr()
        assert actual_code == code, out + err
        return json.loads(out) if "--json" in words and not code else out + err

    return run


def write_recipe(path, **keys):
    path.write_text(yaml.safe_dump({"max_steps": 2, "checkpoint_every": 2, "eval_every": 2, "sample_every": 2, **keys}))


def test_a_file_with_odd_columns_comes_to_a_verdict_by_commands_alone(place, tiny, run, training_here):
    file = "Courrier reçu.csv"
    assert "La question" in run("data", "check", file, code=2)
    run("data", "check", file, *COLUMNS, "--workers", "1")
    said = run("data", "read", file, *COLUMNS, "--test", "0.2", "--out", "datasets/mails")
    assert "60 rows written" in said and "12 of them are the test rows" in said
    write_recipe(place / "mine.yaml", model=tiny, data="datasets/mails")
    assert "completed: step 2/2" in run("train", "mine.yaml")
    results = run("evaluate", "runs/mine", "--score", "exact", "--max-new-tokens", "4", "--json")
    assert len(results["rows"]) == 12 and results["verdict"]
    data = Dataset.open("datasets/mails")
    assert find_overlaps(data.part("test"), data.part("train")) == [None] * 12


def test_what_is_refused_for_want_of_test_rows_names_the_command_that_makes_them(place, tiny, run, training_here):
    run("data", "read", "Courrier reçu.csv", *COLUMNS, "--out", "datasets/all")
    write_recipe(place / "mine.yaml", model=tiny, data="datasets/all")
    run("train", "mine.yaml")
    for words in ([], ["--data", "datasets/all"]):
        refusal = run("evaluate", "runs/mine", *words, code=2)
        assert "0 test rows among 60 rows" in refusal
    command, folder = re.search(r"train again: (etabli .*), then data: (\S+) in the recipe", refusal).groups()
    run(*shlex.split(command)[1:])
    write_recipe(place / "split.yaml", model=tiny, data=folder)
    run("train", "split.yaml")
    assert "tuned" in run("evaluate", "runs/split", "--max-new-tokens", "2")


def test_other_rows_are_asked_by_their_columns(place, tiny, run, training_here):
    run("data", "read", "Courrier reçu.csv", *COLUMNS, "--out", "datasets/all")
    write_recipe(place / "mine.yaml", model=tiny, data="datasets/all")
    run("train", "mine.yaml")
    with (place / "new.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["Q?", "A!"], *([f"Where is box {n}?", f"In hall {n}."] for n in range(5))])
    options = ["--max-new-tokens", "2", "--json"]
    names = ["--column", "prompt=Q?", "--column", "completion=A!"]
    assert "Name the columns" in run("evaluate", "runs/mine", "--data", "new.csv", *options, code=2)
    results = run("evaluate", "runs/mine", "--data", "new.csv", *names, *options)
    assert len(results["rows"]) == 5
    assert "--column with --data" in run("evaluate", "runs/mine", *names, *options, code=2)


class TestDataRead:
    def test_near_copies_of_a_test_row_are_test_rows(self, place, run):
        rows = [
            {"prompt": f"{'Where is ' * (n % 10 + 1)}{THINGS[n % 10]}" + "!" * (n // 10), "completion": "Here."}
            for n in range(40)
        ]
        (place / "copies.jsonl").write_text("\n".join(map(json.dumps, rows)))
        result = run("data", "read", "copies.jsonl", "--test", "0.1", "--out", "d", "--json")
        data = Dataset.open("d")
        groups = {split: {row["copy_group"] for row in data.part(split)} for split in ("train", "test")}
        assert result["test"] == len(data.part("test")) == 4 and not groups["train"] & groups["test"]

    def test_test_rows_that_are_there_are_not_replaced(self, place, run):
        write_mails(place / "m.csv", split=lambda number: "test" if number < 5 else "train")
        assert "has 5 test rows already" in run(
            "data", "read", "m.csv", *COLUMNS, "--test", "0.1", "--out", "d", code=2
        )

    def test_what_is_not_used_is_named_with_its_count(self, place, run):
        write_mails(place / "m.csv", split=lambda number: "fold 3" if number < 7 else "train")
        said = run("data", "read", "m.csv", *COLUMNS, "--out", "d")
        assert "not used: column canal (60 rows have it)" in said and "7 rows (unknown-split)" in said

    def test_a_column_that_seems_to_hold_splits_is_named_by_every_command(self, place, run, tiny, training_here):
        rows = [
            {"prompt": f"{n} is late", "completion": "Sorry.", "set": "test" if n < 4 else "train"} for n in range(40)
        ]
        (place / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
        write_recipe(place / "mine.yaml", model=tiny, data="m.jsonl")
        (place / "filters.yaml").write_text("data: m.jsonl\nfilters: [{filter: exact}]\n")
        for words in (
            ["data", "read", "m.jsonl", "--out", "d"],
            ["data", "prepare", "filters.yaml", "--out", "e"],
            ["train", "mine.yaml"],
        ):
            assert "4 rows (split-column)" in run(*words), words
        assert "4 of them are the test rows" in run("data", "read", "m.jsonl", "--column", "split=set", "--out", "f")

    @pytest.mark.parametrize(("ours", "hint"), [("sytem", "did you mean system?"), ("zzz", "the nearest are")])
    def test_a_misspelt_name_of_a_column_is_refused(self, place, run, ours, hint):
        words = ["data", "read", "Courrier reçu.csv", *COLUMNS, "--column", f"{ours}=canal", "--out", "d"]
        said = run(*words, code=2)
        assert f"nothing reads a column '{ours}', so 'canal' would be left out" in said and hint in said

    def test_rows_with_errors_are_left_out_when_asked(self, place, run):
        rows = [{"prompt": f"Where is {thing}?", "completion": "" if thing == "lamp" else "Here."} for thing in THINGS]
        (place / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
        assert "--leave-out error" in run("data", "read", "m.jsonl", "--out", "d", code=2)
        assert "left out: 1 row (empty-answer)" in run("data", "read", "m.jsonl", "--leave-out", "error", "--out", "d")
        assert len(Dataset.open("d")) == 9
        assert "unknown findings typo" in run("data", "read", "m.jsonl", "--leave-out", "typo", "--out", "d", code=2)

    def test_a_file_that_is_not_there_is_no_matter_of_leaving_out(self, place, run):
        import etabli

        assert "leave" not in run("data", "read", "absent.csv", "--out", "d", code=2)
        with pytest.raises(etabli.EtabliError, match=r"absent\.csv") as error:
            etabli.Project.open(data="absent.csv").read()
        assert "LEAVE_OUT" not in str(error.value)
