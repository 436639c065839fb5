"""What a person does is answered, or the widget says within 3 s that nobody hears it.

Without a kernel, on the next day, the HTML twin is shown.
"""

import nbformat
import pytest
from bridged import Bench, geometry
from playwright.sync_api import expect
from test_table import notebook_of
from widget_samples import SAMPLES

GONE = "This kernel is gone: run the cell again."
ACTS = {
    "RunMonitor": lambda widget: widget.get_by_role("button", name="Stop run").click(),
    "ChatCompare": lambda widget: widget.get_by_role("button", name="Ask", exact=True).click(),
    "BlindArena": lambda widget: widget.get_by_role("application").press("ArrowLeft"),  # unfolded by ``begun``
    "CheckReport": lambda widget: widget.locator("button.etabli-finding").first.click(),
    "DatasetTable": lambda widget: widget.get_by_role("grid").press("k"),
    "ThresholdPairs": lambda widget: widget.get_by_role("slider").press("End"),
    "MaskLens": lambda widget: widget.get_by_role("radio").first.press("ArrowRight"),
    "MemoryLedger": lambda widget: widget.get_by_role("slider").first.press("Home"),
    "TokenDiff": lambda widget: widget.get_by_role("grid").press("ArrowDown"),
    "TrainingFilm": lambda widget: widget.get_by_role("slider").press("ArrowLeft"),
    "VerdictCard": lambda widget: widget.locator(".etabli-number").first.click(),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("samples")


def begun(bench, folder, name):
    """Mount a widget that is ready for its act; returns its element."""
    at = bench.mount(SAMPLES[name](folder), name)
    geometry(bench.page, at)
    widget = bench.page.locator(f"#{at}")
    if name == "BlindArena":
        widget.get_by_text("Go on voting", exact=True).click()
    if name == "ChatCompare":
        widget.get_by_label("Prompt", exact=True).fill("Are you there?")
    return widget


@pytest.mark.parametrize("name", ACTS)
def test_a_widget_without_a_kernel_says_so_and_takes_no_more(browser, folder, name):
    bench = Bench(browser)
    widget = begun(bench, folder, name)
    bench.answering = False
    ACTS[name](widget)
    expect(widget.locator(".etabli-connection")).to_contain_text(GONE, timeout=4_000)
    assert widget.evaluate("el => [...el.children].filter((one) => !one.inert).length") == 1
    bench.close()


@pytest.mark.parametrize("name", ACTS)
def test_a_widget_that_is_answered_says_nothing(browser, folder, name):
    bench = Bench(browser)
    bench.page.clock.install()
    widget = begun(bench, folder, name)
    bench.page.clock.run_for(500)
    ACTS[name](widget)
    bench.page.clock.run_for(500)  # the widget's own timers, after which it sends
    bench.page.evaluate("Promise.resolve()")
    bench.page.clock.run_for(10_000)
    assert bench.heard > 0 and widget.locator(".etabli-connection").is_hidden()
    bench.close()


def test_a_late_answer_wakes_the_widget(browser, folder):
    bench = Bench(browser)
    at = bench.mount(SAMPLES["VerdictCard"](folder), "VerdictCard")
    widget, line = bench.page.locator(f"#{at}"), bench.page.locator(f"#{at} .etabli-connection")
    bench.answering = False
    ACTS["VerdictCard"](widget)
    expect(line).to_have_text(GONE, timeout=4_000)
    bench.page.evaluate(
        "at => window.models[at].take({ state: {}, messages: [{ type: 'answered', message: 99 }] })", at
    )
    expect(line).to_be_hidden()
    assert widget.evaluate("el => [...el.children].filter((one) => one.inert).length") == 0
    bench.close()


SHOWN = """import time, etabli_widgets
events = [{"kind": "start", "t": 0.0, "steps": 4, "probes": []}, {"kind": "step", "t": 1.0, "step": 1, "loss": 2.0}]
monitor = etabli_widgets.RunMonitor(events, stop=lambda: None, name="kept")
monitor"""


def test_busy_gone_and_the_next_day(lab, open_notebook):
    nbformat.write(notebook_of([SHOWN, "time.sleep(8)"]), lab[1] / "gone.ipynb")
    notebook = open_notebook("gone.ipynb")
    page = notebook.page
    notebook.run_all()
    cell = page.locator(".jp-Notebook .jp-Cell").nth(0)
    live, twin = cell.locator(".etabli-live"), cell.locator(".etabli-twin")
    live.get_by_text("kept: running").wait_for(timeout=60_000)
    expect(twin).to_be_hidden()
    live.get_by_role("button", name="Stop run").click()
    line = live.locator(".etabli-connection")
    expect(line).to_contain_text("busy", timeout=5_000)
    expect(line).to_be_hidden(timeout=15_000)
    expect(live.locator(".etabli-state")).to_contain_text("stopping")

    notebook.restart()
    live.get_by_role("button").first.evaluate("button => { button.disabled = false; button.click(); }")
    expect(line).to_have_text(GONE, timeout=5_000)
    notebook.shot("gone", cell)

    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty")
    page.evaluate("window.jupyterapp.serviceManager.sessions.shutdownAll()")
    page.close()
    notebook = open_notebook("gone.ipynb")
    cell = notebook.page.locator(".jp-Notebook .jp-Cell").nth(0)
    expect(cell.locator(".etabli-twin")).to_be_visible(timeout=30_000)
    expect(cell.locator(".etabli-twin")).to_contain_text("kept: running")
    expect(cell.get_by_text("Error displaying widget")).to_be_hidden(timeout=30_000)
    notebook.shot("next-day", cell)
