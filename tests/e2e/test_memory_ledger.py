"""The ledger and the round trip in JupyterLab: sliders by keys, the card's line, what a run measured, a kernel lost."""

import re

import nbformat
import pytest
from bridged import Bench
from test_table import notebook_of
from widget_samples import SAMPLES

from etabli.runs.recipe import Recipe
from etabli.runs.run import Run

CARD = "from etabli import memory\nledger = memory.ledger('meta-llama/Llama-3.1-8B', 't4', seq=2048)\nledger"
RAN = "memory.ledger('measured')"
TRIP = "from etabli.app.doctor import round_trip\ntrip = round_trip()\ntrip"


def test_sliders_move_bars_and_a_run_stands_before_its_ghost(lab, tiny, dataset, open_notebook):
    recipe = Recipe(model=tiny, data=str(dataset), max_steps=2, eval_every=2, sample_every=2, checkpoint_every=2)
    Run.start(recipe, lab[1] / "measured").wait(quiet=True)
    nbformat.write(notebook_of([TRIP, "print('the kernel knows:', trip.ok)", CARD, RAN]), lab[1] / "ledger.ipynb")
    notebook = open_notebook("ledger.ipynb")
    page = notebook.page
    notebook.run_all()
    cells = page.locator(".jp-Notebook .jp-Cell")
    cells.nth(0).get_by_text("Widgets work here").wait_for(timeout=120_000)
    ledger = cells.nth(2).locator(".etabli-live")
    ledger.get_by_text("does not fit t4").wait_for(timeout=120_000)
    assert ledger.locator(".etabli-bar").count() == 6
    before = notebook.cells()
    notebook.shot("ledger-light", ledger)

    layers = ledger.get_by_label("layers checkpointed").first
    layers.focus()
    page.keyboard.press("End")
    ledger.locator(".etabli-verdict[data-fits=true]").wait_for(timeout=10_000)
    assert layers.get_attribute("aria-valuetext") == "32"
    rows = ledger.get_by_label("tokens a row").first
    rows.focus()
    page.keyboard.press("End")
    ledger.locator(".etabli-verdict[data-fits=false]").wait_for(timeout=10_000)
    page.keyboard.press("d")
    page.keyboard.press("d")
    assert notebook.cells() == before
    notebook.shot("ledger-long-light", ledger)

    page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 3; }")
    ran = cells.nth(3).locator(".etabli-live")
    ran.locator(".etabli-ghost").first.wait_for(timeout=120_000)
    ran.scroll_into_view_if_needed()
    assert ran.locator(".etabli-ghost").count() >= 3
    notebook.shot("ledger-measured-light", ran)
    notebook.theme("JupyterLab Dark")
    notebook.shot("ledger-measured-dark", ran)
    notebook.shot("ledger-dark", ledger)


@pytest.mark.parametrize("width", [1280, 600])
def test_bars_are_named_and_the_limit_has_a_label_over_its_line(browser, tmp_path, width):
    bench = Bench(browser, width=width)
    widget = SAMPLES["MemoryLedger"](tmp_path)
    shown = bench.page.locator(f"#{bench.mount(widget, 'MemoryLedger')}")
    for phase in widget.seen["phases"]:
        name = shown.get_by_role("img", name=f"{phase['name']}: ").get_attribute("aria-label")
        for part, size in phase["parts"].items():
            assert f"{part} {size / 2**30:.2f} GiB" in name
        assert name.endswith("the card's limit is 8.0 GiB") and ("measured" in name) == bool(phase["measured"])
        assert f'aria-label="{name}"'.replace("'", "&#x27;") in widget.html(), "in the twin as well"
    label = shown.locator(".etabli-limit-label span").bounding_box()
    line = shown.locator(".etabli-bar .etabli-limit").first.bounding_box()
    assert shown.locator(".etabli-limit-label").inner_text() == "limit 8.0 GiB"
    assert label["x"] + label["width"] / 2 == pytest.approx(line["x"] + line["width"] / 2, abs=2)
    assert label["y"] + label["height"] <= line["y"] + 4
    widget.seen = {**widget.seen, "limit": 80 * 2**30}
    bench.sync(shown.get_attribute("id"))
    assert shown.locator(".etabli-limit-label").count() == 0
    assert "80.0 GiB, lies beyond the bars" in shown.locator(".etabli-parts").inner_text()
    bench.close()


def test_one_click_applies_an_advice(browser, tmp_path):
    bench = Bench(browser)
    widget = SAMPLES["MemoryLedger"](tmp_path)
    at = bench.mount(widget, "MemoryLedger")
    assert "11.8 of 8.0 GiB: does not fit t4" in bench.page.locator(f"#{at} .etabli-verdict").inner_text()
    bench.page.get_by_role("button", name="Apply: checkpoint 16 layers").first.click()
    bench.page.wait_for_function("id => document.querySelector(`#${id} [aria-valuetext='16']`)", arg=at)
    assert widget.seen["now"] == {"seq": 2048, "batch": 1, "rank": 16, "checkpointing": 16}
    bench.close()


OUTSIDE_TRACK = """bars => bars.querySelectorAll(".etabli-bar > div").values().flatMap(track => {
  const right = track.getBoundingClientRect().right;
  return [...track.querySelectorAll("*")].filter(part => part.getBoundingClientRect().right > right + 1);
}).map(part => part.className || part.tagName).toArray()"""


@pytest.mark.parametrize("limit", [8, 14, 80])
@pytest.mark.parametrize("factor", [0.9, 1.2, 2.0])
def test_what_was_measured_stays_in_its_track_however_far_the_forecast_was_off(browser, tmp_path, factor, limit):
    bench = Bench(browser)
    widget = SAMPLES["MemoryLedger"](tmp_path)
    phases = [{**phase, "measured": factor * phase["device"]} for phase in widget.seen["phases"]]
    widget.seen = {**widget.seen, "phases": phases, "limit": limit * 2**30}
    shown = bench.page.locator(f"#{bench.mount(widget, 'MemoryLedger')}")
    assert shown.locator(".etabli-measured").count() == len(phases)
    assert shown.locator(".etabli-bars").evaluate(OUTSIDE_TRACK) == []
    widths = [float(width) for width in re.findall(r"etabli-measured\" style=\"width:([\d.]+)%", widget.html())]
    assert len(widths) == len(phases) and max(widths) <= 100, "in the twin as well"
    bench.close()


@pytest.mark.parametrize(
    ("largest", "sentence"),
    [
        ((256, 3), "At most fit 64 × 256 tokens, or 3 × 32,768 tokens."),
        ((256, 0), "At most fit 64 × 256 tokens; not even one row of 32,768 tokens fits."),
        ((0, 3), "At most fit 3 × 32,768 tokens; not even the shortest rows fit, 64 at once."),
        ((0, 0), "Not even one row of 32,768 tokens fits; not even the shortest rows fit, 64 at once."),
    ],
)
def test_what_fits_at_most_is_said_without_rows_of_no_tokens(browser, tmp_path, largest, sentence):
    bench = Bench(browser)
    widget = SAMPLES["MemoryLedger"](tmp_path)
    now = {**widget.seen["now"], "batch": 64, "seq": 32_768}
    widget.seen = {**widget.seen, "now": now, "largest": dict(zip(("seq", "batch"), largest))}
    shown = bench.page.locator(f"#{bench.mount(widget, 'MemoryLedger')}")
    assert shown.get_by_text("Most is taken in the phase").inner_text().endswith(f"generate. {sentence}")
    assert f"generate. {sentence}" in widget.html() and repr(widget).endswith(sentence)
    bench.close()
