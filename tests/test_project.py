"""A project says once what is trained on what; what has become stale says so."""

import csv
import json

import pytest

import etabli
from etabli.core.errors import BadData, BadInput, BadRecipe, MissingData
from etabli.curation.groups import group_near_copies
from etabli.data.dataset import Dataset

WORDS = ["lamp", "invoice", "parcel", "garden", "ticket", "refund", "window", "bicycle", "kettle", "charger"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_mails(path, count=30):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["mail", "reply"])
        for number in range(count):
            thing = WORDS[number % 10]
            writer.writerow([f"{thing} {number} is {'broken' if number % 3 else 'late'} since {number + 2} May", thing])


COLUMNS = {"prompt": "mail", "completion": "reply"}


def test_the_second_notebook_reads_what_the_first_was_told(folder):
    write_mails(folder / "mails.csv")
    first = etabli.Project.open(data="mails.csv", columns=COLUMNS, lang="en", model="m")
    saved = first.prepare()
    second = etabli.Project.open(data=None, columns=None, model="")
    assert second == first and second.dataset() == "datasets/mails"
    assert Dataset.open("datasets/mails").hash == saved.hash
    assert {row["lang"] for row in saved.rows} == {"en"}


def test_a_missing_data_set_is_made_from_its_source(folder):
    write_mails(folder / "mails.csv")
    project = etabli.Project.open(data="mails.csv", columns=COLUMNS)
    assert len(Dataset.open(project.dataset())) == 30


def test_a_missing_source_is_refused_and_nothing_else_is_used(folder):
    etabli.Project.open().prepare(etabli.home_commands(n=20, test=4))
    with pytest.raises(BadData, match=r"absent\.csv"):
        etabli.Project.open(data="absent.csv").dataset()


def test_a_source_that_is_gone_is_said_to_be_gone(folder):
    write_mails(folder / "mails.csv")
    project = etabli.Project.open(data="mails.csv", columns=COLUMNS)
    project.prepare()
    (folder / "mails.csv").unlink()
    with pytest.raises(MissingData, match=r"mails\.csv is gone.*DATA = 'datasets/mails'"):
        project.dataset()
    assert etabli.Project.open(data="datasets/mails").dataset(), "what the sentence advises"


@pytest.mark.parametrize("change", ["file", "columns", "lang"])
def test_what_is_stale_says_so(folder, change):
    write_mails(folder / "mails.csv")
    etabli.Project.open(data="mails.csv", columns=COLUMNS, lang="en").prepare()
    if change == "file":
        write_mails(folder / "mails.csv", count=31)
    project = etabli.Project.open(
        **{"columns": {"columns": COLUMNS | {"prompt": "reply"}}, "lang": {"lang": "fr"}}.get(change, {})
    )
    with pytest.raises(BadInput, match=rf"stale.*{'sha256' if change == 'file' else change} was"):
        project.dataset()
    if change != "columns":
        assert len(project.prepare()) and project.dataset() == "datasets/mails"


SOURCES = {
    "folder": ("in", "in/train.csv"),
    "folder within a folder": ("deep", "deep/train/part.csv"),
    "glob": ("in/tr*.csv", "in/train.csv"),
    "mapping file": ("map/dataset_info.json#mails", "map/train.csv"),
    "columns of a mapping file": ("map/dataset_info.json#mails", "map/dataset_info.json"),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_change_within_any_source_makes_the_data_set_stale(folder, kind):
    data, changed_file = SOURCES[kind]
    for name in ("in/train.csv", "map/train.csv", "deep/train/part.csv", "deep/test/part.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_mails(folder / name, 30 if "train" in name else 6)
    mapping = {"mails": {"file_name": "train.csv", "columns": {"prompt": "mail", "response": "reply"}}}
    (folder / "map/dataset_info.json").write_text(json.dumps(mapping))
    columns = None if "#" in data else COLUMNS
    etabli.Project.open(data=data, columns=columns).prepare()
    assert etabli.Project.open().dataset(), "nothing has changed"
    if changed_file.endswith(".json"):
        (folder / changed_file).write_text(json.dumps(mapping).replace('"response"', ' "response"'))
    else:
        write_mails(folder / changed_file, count=31)
    with pytest.raises(BadInput, match=r"stale.*sha256 was"):
        etabli.Project.open().dataset()


def test_files_of_one_name_in_two_folders_are_both_in_the_provenance(folder):
    for name in ("train", "test"):
        (folder / "deep" / name).mkdir(parents=True)
        (folder / f"deep/{name}/part.jsonl").write_text(f'{{"prompt": "{name}?", "completion": "Yes."}}')
    assert len(Dataset.open("deep").recipe["files"]) == 2


def test_another_source_leaves_the_old_columns_behind_and_says_so(folder, capsys):
    write_mails(folder / "mails.csv")
    etabli.Project.open(data="mails.csv", columns=COLUMNS, lang="en", model="m")
    project = etabli.Project.open(data="home-commands")
    assert (project.columns, project.lang, project.name, project.model) == ({}, None, "home-commands", "m")
    assert "data was 'mails.csv' and is now 'home-commands'" in capsys.readouterr().err


def test_a_data_set_is_never_written_over_its_own_source(folder):
    etabli.Project.open().prepare(etabli.home_commands(n=20, test=4))
    project = etabli.Project.open(data="datasets/home-commands")
    assert project.folder == "datasets/home-commands-split"
    source = Dataset.open("datasets/home-commands")
    assert project.prepare().hash == source.hash == Dataset.open(project.dataset()).hash
    with pytest.raises(BadInput, match="is the source itself"):
        etabli.Project.open(name="home-commands").prepare()
    assert Dataset.open("datasets/home-commands").recipe == source.recipe


def test_a_wrong_project_names_all_mistakes(folder):
    with pytest.raises(BadRecipe, match=r"(?s)name.*colour"):
        etabli.Project.open(name="../x", colour="red")


def test_near_copies_are_in_one_group_and_strangers_are_not():
    texts = [
        "Where is my parcel, ordered on Monday?",
        "where is my parcel ordered on monday",
        "Cancel my subscription now",
    ]
    rows = [
        {"id": str(number), "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "Yes."}]}
        for number, text in enumerate(texts)
    ]
    groups = group_near_copies(rows)
    assert groups[0] == groups[1] != groups[2]
    assert group_near_copies([row | {"template": "t"} for row in rows]) == ["t"] * 3


def test_no_near_copy_of_a_test_row_is_trained():
    rows = [  # ten questions that share no word, each three times
        {
            "id": str(number),
            "messages": [
                {"role": "user", "content": f"{WORDS[number % 10]} " * (number % 10 + 3) + "!" * (number // 10)},
                {"role": "assistant", "content": "We are sorry."},
            ],
        }
        for number in range(30)
    ]
    groups = group_near_copies(rows)
    split = Dataset([{**row, "copy_group": group} for row, group in zip(rows, groups)]).with_test()
    tested = {group for group, row in zip(groups, split.rows) if row["split"] == "test"}
    trained = {group for group, row in zip(groups, split.rows) if row["split"] == "train"}
    assert len(tested | trained) == 10 and tested and trained and not tested & trained
    with pytest.raises(BadData, match="copies of each other"):
        Dataset([{**row, "copy_group": "all"} for row in rows]).with_test()
