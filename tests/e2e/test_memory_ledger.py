"""The ledger and the round trip in JupyterLab: sliders by keys, the card's line, what a run measured, a kernel lost."""

import nbformat
from test_table import notebook_of

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


def test_one_click_applies_an_advice(browser, tmp_path):
    from bridged import Bench
    from widget_samples import SAMPLES

    bench = Bench(browser)
    widget = SAMPLES["MemoryLedger"](tmp_path)
    at = bench.mount(widget, "MemoryLedger")
    assert "11.8 of 8.0 GiB: does not fit t4" in bench.page.locator(f"#{at} .etabli-verdict").inner_text()
    bench.page.get_by_role("button", name="Apply: checkpoint 16 layers").first.click()
    bench.page.wait_for_function("id => document.querySelector(`#${id} [aria-valuetext='16']`)", arg=at)
    assert widget.seen["now"] == {"seq": 2048, "batch": 1, "rank": 16, "checkpointing": 16}
    bench.close()
