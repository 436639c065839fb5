"""Faults that were found by reading, each with its kind: a test that fails without the mend."""

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etabli import storage
from etabli.contracts import EVENTS, PROCESS, RECIPE
from etabli.data.checks import speed
from etabli.data.dataset import Dataset
from etabli.evaluation import rivals, sets
from etabli.training import events, material, worker
from etabli.training.batches import Schedule
from etabli.training.recipe import Recipe
from etabli.training.run import Run

ROOT = Path(__file__).parents[1]

# --- rivals know the rows that were trained, and no others ----------------------------------------------------------

SHORT_ROWS = 'import etabli\n\n@etabli.own_filter\ndef english(row):\n    return row["lang"] == "en"\n'


def through_the_model(recipe, folder, tokenizer):
    """The ids of all rows that the packs of one epoch take through the model: the engine's own record."""
    train_data = material.gather(recipe, tokenizer, folder)
    schedule = Schedule(train_data.rows, recipe)
    return {row.id for step in range(1, schedule.steps + 1) for pack in schedule.packs(step) for row in pack}


def saved_run(tmp_path, model, data, **keys):
    Dataset(data).save(tmp_path / "data")
    recipe = Recipe(data="data", model=model, epochs=1, **keys)
    recipe.save(tmp_path / "run" / RECIPE)
    return Run.attach(tmp_path / "run"), recipe


@pytest.mark.parametrize("kind", ["plain", "filtered", "cut", "named"])
def test_rivals_see_the_rows_that_were_trained_and_no_others(commands, tiny, tokenizer, tmp_path, kind):
    (tmp_path / "mine.py").write_text(SHORT_ROWS)
    Dataset(commands.part("train")[:10]).save(tmp_path / "held")
    rows = [*commands.rows, {**commands.part("train")[0]}]  # one id twice
    keys = {
        "plain": {},
        "filtered": {"rules": "mine.py"},
        "cut": {"max_length": 60, "empty_rows": "leave_out"},
        "named": {"eval_data": "held"},
    }
    run, recipe = saved_run(tmp_path, tiny, rows, **keys[kind])
    trained = through_the_model(recipe, run.folder, tokenizer)
    test_set = sets.gather(run)
    assert {row["id"] for row in test_set.train} == trained
    assert {row["id"] for row in sets.of_prompts(run, ["Hello"]).train} == trained
    assert len(trained) < len(rows) - len(commands.part("test")) or kind == "named", "nothing was held out: no test"
    for shots in rivals.nearest(test_set.tests, test_set.train, 5):
        assert {row["id"] for row in shots} <= trained


def test_a_row_that_was_held_out_is_no_overlap(commands, tiny, tmp_path):
    held_out = material.hold_out(commands.part("train"), 0)[1]
    asked = [{**row, "id": f"asked-{row['id']}", "split": "test"} for row in held_out]
    run, _ = saved_run(tmp_path, tiny, [*commands.part("train"), *asked])
    assert set(sets.gather(run).overlaps) == {None}


# --- one odd line in a log hides nothing ----------------------------------------------------------------------------

ODD_LINES = ['{"kind": 3}', '{"kind": "step", "step": "x", "t": 1}', '{"kind": "end", "t": 1}', "{}", "[1]", "torn {"]


def write_run(folder, lines):
    Recipe(data="x").save(folder / RECIPE)
    (folder / EVENTS).write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize("odd", ODD_LINES)
def test_a_failure_after_an_odd_line_keeps_its_reason(tmp_path, odd):
    write_run(tmp_path, ['{"kind": "start", "t": 1}', odd])
    gone = subprocess.Popen(["true"])  # a real process that is no more
    identity = worker.identity(tmp_path, gone.pid)
    gone.wait()
    storage.write_json(tmp_path / PROCESS, identity)
    log = events.EventLog(tmp_path)
    log.write("end", state="failed", why="the disk is full")
    log.close()
    run = Run.attach(tmp_path)
    assert (run.state, run.why) == ("failed", "the disk is full")


LINES = st.lists(st.sampled_from([*ODD_LINES, '{"kind": "step", "step": 1, "t": 1}', '{"kind": "heartbeat", "t": 1}']))
ENDS = ["failed", "completed", "stopped"]


@settings(max_examples=60, deadline=None)
@given(LINES, LINES, st.sampled_from([None, *ENDS]), st.sampled_from([None, *ENDS]))
def test_the_state_is_that_of_the_log_without_its_odd_lines(tmp_path_factory, before, after, old, new):
    """An end of an earlier process does not count, one of the present process does, wherever odd lines stand."""
    folder = tmp_path_factory.mktemp("run")
    end = '{{"kind": "end", "t": 1, "state": "{0}", "why": "because {0}"}}'
    write_run(folder, before + ([end.format(old)] if old else []))
    storage.write_json(folder / PROCESS, {"pid": 2**22 + 1, "events_before": events.count(folder)})
    with (folder / EVENTS).open("a") as file:
        file.write("".join(f"{line}\n" for line in after + ([end.format(new)] if new else [])))
    run = Run.attach(folder)
    assert run.state == (new or "lost")
    assert new is None or run.why == f"because {new}"


def test_an_odd_speed_in_a_log_is_passed_over(tmp_path):
    write_run(tmp_path / "a", [json.dumps({"kind": "step", "tokens_per_s": value}) for value in ("x", [3], None, 7.0)])
    assert speed.measured("default", tmp_path)[0] == 7.0
