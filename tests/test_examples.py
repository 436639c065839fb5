"""Every example in a docstring runs, on the real thing."""

import ast
import doctest
import re
import textwrap

import pytest

import etabli
from etabli.checks import custom_rules
from etabli.core import trust
from etabli.core.contracts import EVENTS, RECIPE
from etabli.curation.session import curate
from etabli.curation.table import Table
from etabli.data.dataset import Dataset
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run
from etabli.training import callbacks
from etabli_widgets import DatasetTable, RunMonitor
from test_docs import SHIPPED, docstrings


def row(name, question, answer="It lies north of the old town."):
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"id": name, "messages": turns, "lang": "en", "split": "train"}


HARBOUR = "Where in the old harbour of the town does the small white boat of the fishermen lie at night?"
ROWS = [row("a", HARBOUR), row("b", HARBOUR.replace("night", "noon")), row("c", "Name a tree.", "The oak.")]


@pytest.fixture
def names(tmp_path):
    """What stands for the names that examples use."""
    Dataset(ROWS).save(tmp_path / "data")
    desk = curate(tmp_path / "data", {"filters": [{"filter": "near", "threshold": 0.7}]})
    Recipe(data="x").save(tmp_path / "run" / RECIPE)
    steps = [f'{{"kind": "step", "t": {step}, "step": {step}, "loss": 1, "lr": 0.1}}\n' for step in (1, 2)]
    (tmp_path / "run" / EVENTS).write_text("".join(steps))
    return {
        "desk": desk,
        "curation": desk,
        "choose": DatasetTable(Table(desk)).choose,
        "row": "b",
        "run": Run.attach(tmp_path / "run"),
        "overlay": etabli.overlay,
        "RunMonitor": RunMonitor,
    }


MESSAGES = ROWS[2]["messages"]
# Each call with values in it that stands in a docstring, and what holds of what it returns; "..." is what varies.
EXAMPLES = {
    'choose(finding="near", sort="likeness")': lambda rows: rows == 1,
    'curation.set("near", threshold=0.85)': lambda desk: desk.recipe.keys()["filters"][0]["threshold"] == 0.85,
    'desk.decide("fix", row, messages=...)': lambda decision: decision["messages"] == MESSAGES,
    'overlay(run, over="lr")': lambda figure: list(figure.data[0].x) == [0.1, 0.1],
    "RunMonitor(events=[...])": lambda monitor: monitor.step == 3,
}
VARIES = {
    'desk.decide("fix", row, messages=...)': MESSAGES,
    "RunMonitor(events=[...])": {"kind": "step", "t": 1, "step": 3, "loss": 1.0},
}


def calls(text):
    """The calls in double backticks that give a value: others, as ``at(value)``, show what a source has to have."""
    for code in re.findall(r"``([^`]+)``", text):
        try:
            call = ast.parse(code, mode="eval").body
        except SyntaxError:
            continue
        given = [*call.args, *(key.value for key in call.keywords if key.arg)] if isinstance(call, ast.Call) else []
        if any(isinstance(value, ast.Constant | ast.List) for value in given):
            yield code


def test_every_example_of_a_docstring_is_run_here():
    found = {code for path in SHIPPED for text in docstrings(path) for code in calls(text)}
    assert found == set(EXAMPLES)


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_runs(names, code):
    runnable = code.replace("...", "varies")
    assert EXAMPLES[code](eval(runnable, {**names, "varies": VARIES.get(code)}))


def indented(text):
    """The lines of a docstring that are set in, as code."""
    return textwrap.dedent("\n".join(line for line in text.splitlines() if line.startswith("    ") or not line))


def test_the_rules_of_the_example_find_and_filter():
    space = {}
    exec(indented(custom_rules.__doc__), space)
    rules = custom_rules.load_rules([space["spelled_number"], space["short_enough"]])
    kept, found = custom_rules.filter_rows([row("a", "How many?", "twelve"), row("b", "Why?", "word " * 500)], rules)
    assert [kept_row["id"] for kept_row in kept] == ["a"] and found == {"spelled-number": 1, "short-enough": 1}


def test_the_callback_of_the_example_ends_a_run(tmp_path):
    (tmp_path / "watch.py").write_text(indented(callbacks.__doc__))
    trust.remember([trust.read_code(tmp_path / "watch.py", "callbacks")])
    watching = callbacks.Callbacks(Recipe(data="x", callbacks="watch.py"), tmp_path / "run")
    watching("eval", {"loss": 0.2})
    assert watching.reason is None
    watching("eval", {"loss": 0.04})
    assert "good enough" in watching.reason


def test_the_first_page_of_the_package_runs_up_to_training(tmp_path, write_jsonl, monkeypatch, capsys):
    """Training the embedded model is what the tour does."""
    write_jsonl([{"prompt": f"What is {n} and {n}?", "completion": str(2 * n)} for n in range(40)], "my.jsonl")
    monkeypatch.chdir(tmp_path)
    lines = [example.source for example in doctest.DocTestParser().get_examples(etabli.__doc__)]
    before = next(place for place, line in enumerate(lines) if "Run.start" in line)
    space = {}
    exec("".join(lines[:before]), space)
    assert len(Dataset.open("datasets/mine").rows) == 40
    assert Recipe(data="datasets/mine").data == space["etabli"].Recipe(data="datasets/mine").data
