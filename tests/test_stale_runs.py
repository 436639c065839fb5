"""``Run.ensure`` takes an old run for a recipe only if all that the recipe names is what the run began with."""

import json

import pytest

from etabli.core import storage
from etabli.core.contracts import RECIPE, TEMPLATE
from etabli.core.errors import BadInput, MissingData
from etabli.data.dataset import Dataset
from etabli.data.names import backup_path
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run

ROW = {"prompt": "Where is my parcel?", "completion": "On its way."}
FILES = {"rules.py": "# mine\n", "callbacks.py": "def on_step(event): pass\n", "mine.jinja": "{{ messages }}"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A project with a run on its own files, which has the hashes of all of them."""
    monkeypatch.chdir(tmp_path)
    for name in ("rows.jsonl", "eval.jsonl"):
        (tmp_path / name).write_text(json.dumps(ROW) + "\n")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    hashes = {f"{name}_hash": storage.sha256(tmp_path / f"{name}.py") for name in ("rules", "callbacks")}
    row_hashes = {"data_hash": Dataset.open("rows.jsonl").hash, "eval_data_hash": Dataset.open("eval.jsonl").hash}
    make_recipe().save(tmp_path / "runs/mine" / RECIPE, {**hashes, **row_hashes})
    (tmp_path / "runs/mine" / TEMPLATE).write_text(FILES["mine.jinja"])
    return tmp_path


def make_recipe():
    names = {"data": "rows.jsonl", "eval_data": "eval.jsonl", "rules": "rules.py", "callbacks": "callbacks.py"}
    return Recipe(**names, template="mine.jinja")


def test_a_run_of_the_same_files_is_taken(place):
    assert Run.ensure(make_recipe(), "runs/mine").folder == place / "runs/mine"


def test_a_file_is_the_same_under_each_way_to_write_its_path(place):
    for name in ("./rows.jsonl", str(place / "rows.jsonl"), "runs/../rows.jsonl"):
        changed = make_recipe().model_copy(update={"data": name})
        assert Run.ensure(changed, "runs/mine").folder == place / "runs/mine"
    (place / "copy.jsonl").write_text((place / "rows.jsonl").read_text())
    with pytest.raises(BadInput, match="another recipe"):
        Run.ensure(make_recipe().model_copy(update={"data": "copy.jsonl"}), "runs/mine")


@pytest.mark.parametrize("name", ["rows.jsonl", "eval.jsonl"])
def test_a_run_whose_data_are_gone_is_not_taken_for_theirs(place, name):
    (place / name).unlink()
    with pytest.raises(MissingData, match=rf"{name}, which is no longer there.*Run\.attach\('.*mine'\)"):
        Run.ensure(make_recipe(), "runs/mine")
    assert Run.attach("runs/mine").recipe.data == "rows.jsonl", "knowingly, it can be opened"


@pytest.mark.parametrize("name", ["rows.jsonl", "eval.jsonl", "rules.py", "callbacks.py", "mine.jinja"])
def test_a_run_of_other_files_is_refused(place, name):
    text = (place / name).read_text()
    (place / name).write_text(text.replace("parcel", "letter") if "parcel" in text else text + " ")
    with pytest.raises(BadInput, match=rf"{name.partition('.jinja')[0]}.*changed since"):
        Run.ensure(make_recipe(), "runs/mine")


def test_a_run_that_stands_on_its_own_copy_says_so(place, capsys):
    copy = place / "runs/mine" / backup_path("rows.jsonl")
    copy.parent.mkdir(parents=True)
    (place / "rows.jsonl").rename(copy)
    Run.ensure(make_recipe(), "runs/mine")
    assert "rows.jsonl is no longer there; the run stands on its own copy" in capsys.readouterr().err
    copy.write_text(json.dumps({**ROW, "prompt": "Where is my letter?"}))
    with pytest.raises(BadInput, match=r"other rows: rows\.jsonl has changed since"):
        Run.ensure(make_recipe(), "runs/mine")
