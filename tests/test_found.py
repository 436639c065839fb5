"""Faults that were found by reading, each with its kind: a test that fails without the mend."""

import json
import math
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import etabli_widgets
from etabli.checks import speed
from etabli.core import storage, trust
from etabli.core.contracts import EVENTS, PROCESS, RECIPE
from etabli.data.dataset import Dataset
from etabli.evaluation import baselines
from etabli.evaluation import test_set as sets
from etabli.runs import events
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run
from etabli.training import train_data as material
from etabli.training import worker
from etabli.training.packing import PackSampler
from etabli_widgets._base import Widget, message

ROOT = Path(__file__).parents[1]

# --- rivals know the rows that were trained, and no others ----------------------------------------------------------

SHORT_ROWS = 'import etabli\n\n@etabli.own_filter\ndef english(row):\n    return row["lang"] == "en"\n'


def through_the_model(recipe, folder, tokenizer):
    """The ids of all rows that the packs of one epoch take through the model: the engine's own record."""
    train_data = material.load_train_data(recipe, tokenizer, folder)
    schedule = PackSampler(train_data.rows, recipe)
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
    trust.remember([trust.read_code(tmp_path / "mine.py", "rules")])
    run, recipe = saved_run(tmp_path, tiny, rows, **keys[kind])
    trained = through_the_model(recipe, run.folder, tokenizer)
    test_set = sets.build_test_set(run)
    assert {row["id"] for row in test_set.train} == trained
    assert {row["id"] for row in sets.build_prompt_set(run, ["Hello"]).train} == trained
    assert len(trained) < len(rows) - len(commands.part("test")) or kind == "named", "nothing was held out: no test"
    for shots in baselines.nearest_rows(test_set.tests, test_set.train, 5):
        assert {row["id"] for row in shots} <= trained


def test_a_row_that_was_held_out_is_no_overlap(commands, tiny, tmp_path):
    held_out = material.hold_out(commands.part("train"), 0)[1]
    asked = [{**row, "id": f"asked-{row['id']}", "split": "test"} for row in held_out]
    run, _ = saved_run(tmp_path, tiny, [*commands.part("train"), *asked])
    assert set(sets.build_test_set(run).overlaps) == {None}


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
    storage.write_json(folder / PROCESS, {"pid": 2**22 + 1, "events_before": events.count_events(folder)})
    with (folder / EVENTS).open("a") as file:
        file.write("".join(f"{line}\n" for line in after + ([end.format(new)] if new else [])))
    run = Run.attach(folder)
    assert run.state == (new or "lost")
    assert new is None or run.why == f"because {new}"


def test_an_odd_speed_in_a_log_is_passed_over(tmp_path):
    write_run(tmp_path / "a", [json.dumps({"kind": "step", "tokens_per_s": value}) for value in ("x", [3], None, 7.0)])
    assert speed.find_measured_speed("default", tmp_path)[0] == 7.0


# --- a page calls what is declared, and nothing else ----------------------------------------------------------------

WIDGETS = [value for value in vars(etabli_widgets).values() if isinstance(value, type) and issubclass(value, Widget)]


class Bell(Widget):
    """Any widget: one method that a page may call, and one that it may not."""

    @message(times=int, loudness=float | None, why=str | None)
    def on_ring(self, fields):
        """Ring."""
        self.rung = fields

    def on_burn(self, fields):
        """Not for a page."""
        self.rung = "burnt"


@pytest.fixture
def bell():
    made = Bell()
    made.rung = None
    return made


def declared(widget):
    names = (name for name in dir(widget) if name.startswith("on_"))
    return {name[3:]: getattr(widget, name).fields for name in names if hasattr(getattr(widget, name), "fields")}


@pytest.mark.parametrize(
    "name", ["burn", "msg", "trait_change", "displayed", "widget_constructed", "", "x" * 999, 3, None]
)
def test_what_is_not_declared_is_passed_over_and_logged_once(bell, caplog, name):
    handlers = len(bell._msg_callbacks.callbacks)
    for _ in range(3):
        bell.received({"type": name, "times": 1})
    assert bell.rung is None and bell.error == "" and len(bell._msg_callbacks.callbacks) == handlers
    [record] = caplog.records
    assert "was passed over" in record.getMessage() and len(record.getMessage()) < 200


def test_ever_new_names_do_not_fill_the_log(bell, caplog):
    for number in range(500):
        bell.received({"type": f"name{number}"})
    assert 0 < len(caplog.records) <= 20


@pytest.mark.parametrize("content", [None, [], "ring", 7, {}, {"type": ["ring"]}, {"type": {}}])
def test_what_is_no_message_does_no_harm(bell, content):
    bell.received(content)
    assert bell.rung is None and bell.error == ""


WRONG = {
    "times": [None, "1", 1.5, True, [1]],
    "loudness": ["loud", math.nan, math.inf, True, 10**400],
    "why": [1, ["x"]],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_wrong_field_is_named_and_nothing_is_called(bell, field, value):
    bell.received({"type": "ring", "times": 1, field: value})
    assert bell.rung is None and f"{field} is " in bell.error and len(bell.error) < 200


def test_a_method_gets_the_fields_that_are_declared_and_no_others(bell):
    bell.received({"type": "ring", "times": 2, "loudness": 3, "why": None, "password": "x"})
    assert bell.rung == {"times": 2, "loudness": 3} and bell.error == ""


def test_a_message_of_the_page_comes_by_this_way(bell):
    """ipywidgets' own door, through which a page's message comes."""
    bell._handle_custom_msg({"type": "ring", "times": 4}, [])
    assert bell.rung == {"times": 4}


def arguments(text: str) -> str:
    """Return the text up to the bracket that closes a call."""
    depth = 0
    for place, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            return text[:place]
    raise AssertionError("the call is not closed")


@pytest.mark.parametrize("widget", WIDGETS, ids=lambda widget: widget.__name__)
def test_what_a_page_sends_is_what_its_widget_declares(widget):
    """Both ways: by the names that the script sends and those that the class declares, and each field of them."""
    calls = [arguments(widget._esm[found.end() :]) for found in re.finditer(r"model\.send\(", widget._esm)]
    sent = [part.split('"', 1) for call in calls for part in re.split(r"\{\s*type: \"", call)[1:]]
    assert {name for name, _ in sent} == set(declared(widget))
    for name, rest in sent:
        fields = set(
            re.findall(r"(?:^|,)\s*(\w+)(?=:|\s*(?:,|$))", re.sub(r"\{[^{}]*\}|\.\.\.\w+|\([^()]*\)", "", rest))
        )
        assert fields <= set(declared(widget)[name]), f"{name} sends {fields}"


@pytest.mark.parametrize("widget", WIDGETS, ids=lambda widget: widget.__name__)
def test_every_method_for_the_page_is_declared(widget):
    """A method ``on_...`` of ours that is not declared would never be called."""
    own = [name for base in widget.__mro__ if base.__module__.startswith("etabli_widgets.") for name in vars(base)]
    assert {name[3:] for name in own if name.startswith("on_")} == set(declared(widget))
