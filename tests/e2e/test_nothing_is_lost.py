"""Kernel restarts, reloads and cut websockets while a run goes on: the view is the log again, within two seconds."""

import time

import nbformat
import pytest
from playwright.sync_api import expect
from test_table import notebook_of

from conftest import ROUNDS
from etabli.runs import events
from etabli.runs.run import Run

LATE = 2.0  # seconds that the view may lie behind the log
STEPS_SEEN = """() => {
  const widgets = [...document.querySelectorAll(".jp-Notebook .etabli-live.etabli-run-monitor")];
  const bar = widgets.at(-1)?.querySelector(".etabli-bar");
  return [widgets.length, bar?.hasAttribute("value") ? bar.value : -1];
}"""


@pytest.fixture
def running(lab, tiny, commands, open_notebook, request):
    """A notebook that shows a run which goes on."""
    root, place = lab[1], f"runs/{request.node.name}/watched"
    if not (root / "datasets/home-commands").exists():
        commands.save(root / "datasets/home-commands")
    cells = [
        "import etabli",
        f"recipe = etabli.Recipe(model={tiny!r}, data='datasets/home-commands', max_steps=100_000,"
        " checkpoint_every=1000, eval_every=1000, sample_every=1000)",
        f"run = etabli.Run.ensure(recipe, {place!r})\nrun.show()",
    ]
    nbformat.write(notebook_of(cells), root / "watched.ipynb")
    notebook = open_notebook("watched.ipynb")
    notebook.run_all()
    notebook.page.get_by_text("watched: running").wait_for(timeout=120_000)
    run = Run.attach(root / place)
    yield notebook, run
    run.stop()


def seconds_until_current(notebook, run):
    """How long until the page shows a step that the log had when the clock began, or a later one."""
    goal, start = run.progress()["step"], time.monotonic()
    while time.monotonic() - start < 60:
        shown, step = notebook.page.evaluate(STEPS_SEEN)
        if shown and step >= goal:
            assert step <= run.progress()["step"], "the view is ahead of the log"
            return time.monotonic() - start
        notebook.page.wait_for_timeout(50)
    raise AssertionError(f"step {goal} was never shown: {notebook.page.evaluate(STEPS_SEEN)}")


def no_point_twice(notebook):
    drawn = notebook.page.locator(".etabli-run-monitor path.etabli-loss").last.get_attribute("d")
    places = [float(point.split(",")[0]) for point in drawn.replace("M", "L").split("L")[1:]]
    return places == sorted(places)


def until_shown(notebook):
    notebook.page.locator(".etabli-live .etabli-state", has_text="watched: running").last.wait_for(timeout=60_000)


def test_a_monitor_that_nobody_touches_says_that_its_kernel_is_gone(running):
    notebook, _ = running
    notebook.restart()
    line = notebook.page.locator(".etabli-live .etabli-connection").last
    expect(line).to_contain_text("This kernel is gone", timeout=3_000)


def test_a_reload_while_a_cell_waits(running):
    """The page connects although the kernel is busy; its Stop ends the run, and the wait."""
    notebook, run = running
    notebook.command("notebook:insert-cell-below")
    notebook.page.wait_for_function("window.jupyterapp.shell.currentWidget.content.widgets.length === 4")
    cell = "window.jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel"
    notebook.page.evaluate(f"{cell}.setSource('run.wait(quiet=True)')")
    notebook.command("notebook:run-cell")
    notebook.command("docmanager:save")
    notebook.page.wait_for_timeout(1000)
    notebook.page.reload()
    notebook.page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.content?.widgets?.length > 0")
    until_shown(notebook)
    assert seconds_until_current(notebook, run) <= LATE
    notebook.page.get_by_role("button", name="Stop run").last.click()
    notebook.page.locator(".etabli-live .etabli-state", has_text="stopped").last.wait_for(timeout=60_000)


def test_restarts_reloads_and_cuts(running, count):
    notebook, run = running
    page, delays = notebook.page, {"kernel restarts": [], "reloads": [], "cut websockets": []}
    for _ in range(ROUNDS):
        notebook.restart()
        notebook.run_all()
        until_shown(notebook)
        delays["kernel restarts"].append(seconds_until_current(notebook, run))
        assert no_point_twice(notebook)
    notebook.command("docmanager:save")
    page.wait_for_timeout(1000)
    for _ in range(ROUNDS):
        page.reload()
        page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.content?.widgets?.length > 0", timeout=60_000)
        until_shown(notebook)
        delays["reloads"].append(seconds_until_current(notebook, run))
        assert no_point_twice(notebook)
    for _ in range(ROUNDS):
        page.evaluate(f"{notebook.kernel()}.session.kernel.reconnect()")
        delays["cut websockets"].append(seconds_until_current(notebook, run))
        assert no_point_twice(notebook)
    steps = [event["step"] for event in events.of_kind(run.events(), "step")]
    assert steps == list(range(1, len(steps) + 1)), "the log itself"
    for name, seconds in delays.items():
        count(name, {"times": len(seconds), "slowest_s": round(max(seconds), 2)})
        assert max(seconds) <= LATE, (name, seconds)
