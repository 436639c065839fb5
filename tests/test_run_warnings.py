"""What a run warns of is shown by every command that shows the run, and stands in its log."""

import json

import pytest
import yaml

from etabli.app.cli import run_command
from etabli.core.contracts import LOG

CUT, WARM_UP = "rows are longer than max_length (64 tokens)", "the learning rate only rises"


@pytest.fixture
def place(tiny, tmp_path, monkeypatch, training_here, write_jsonl):
    """A folder with a recipe whose rows are cut, and whose warm-up is longer than the run; it stops after one step."""
    monkeypatch.chdir(tmp_path)
    write_jsonl([{"prompt": f"Question {number}", "completion": "long " * 40} for number in range(8)])
    keys = {"model": tiny, "data": "rows.jsonl", "max_length": 64, "max_steps": 3, "max_minutes": 1e-6}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(keys))
    return tmp_path


def run(capsys, *words):
    assert run_command(list(words), False) == 0
    return capsys.readouterr()


def test_a_run_s_warnings_are_shown_once_by_each_command(place, capsys):
    out, err = run(capsys, "train", "mine.yaml")
    assert "stopped: step 1/3" in out
    for text in (out, err, (place / "runs/mine" / LOG).read_text()):
        assert text.count(CUT) == text.count(WARM_UP) == 1
    for command in (["resume", "runs/mine"], ["runs"]):
        out, _ = run(capsys, *command)
        assert out.count(CUT) == out.count(WARM_UP) == 1, "the resumed run gave them again"
        assert "Went on from step 1." in out
    listed = json.loads(run(capsys, "runs", "--json").out)["runs"]
    stopped = json.loads(run(capsys, "stop", "runs/mine", "--json").out)
    for progress in (*listed, stopped):
        assert [CUT in progress["warnings"][0], WARM_UP in progress["warnings"][1]] == [True, True]


def test_warnings_are_printed_while_a_run_is_waited_for(place, capsys):
    """Before the run fails, too: then there is no summary that could hold them."""
    keys = yaml.safe_load((place / "mine.yaml").read_text()) | {"callbacks": "dies.py", "max_minutes": None}
    (place / "dies.py").write_text("def on_step(event):\n    raise SystemExit('gone')\n")
    (place / "mine.yaml").write_text(yaml.safe_dump(keys))
    assert run_command(["train", "mine.yaml"], False) == 2
    out, err = capsys.readouterr()
    assert not out and err.count(CUT) == 1 and "failed" in err
