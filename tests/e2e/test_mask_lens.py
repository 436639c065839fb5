"""The mask lens in JupyterLab: tokens told, policies and spans by keys alone, what holds a run up in red."""

import nbformat
from test_table import notebook_of

from etabli.data.dataset import Dataset

SEEN = "import etabli\nlens = etabli.lens(etabli.Recipe(data='lens-data', model=r'{}'))\nlens"
RED = "etabli.lens(etabli.Recipe(data='red-data', model=r'{}', max_length=64), loss=False)"


def talk(name, asked, answer, **more):
    turns = [{"role": "user", "content": asked, **more}, {"role": "assistant", "content": answer}]
    return {"id": name, "messages": turns}


def test_look_at_tokens_choose_spans_and_see_what_is_red(lab, tiny, open_notebook):
    rows = [talk(f"r{n}", f"Where is <b>harbour</b> {n}, please?", "North \u202e of the old town.") for n in range(5)]
    Dataset(rows).save(lab[1] / "lens-data")
    Dataset([*rows, talk("long", "word " * 300, "Yes."), talk("mine", "Hm?", "Hm.", train=True)]).save(
        lab[1] / "red-data"
    )
    nbformat.write(notebook_of([SEEN.format(tiny), "lens.policy", RED.format(tiny)]), lab[1] / "lens.ipynb")
    notebook = open_notebook("lens.ipynb")
    page = notebook.page
    notebook.run_all()
    first = page.locator(".jp-Notebook .jp-Cell").nth(0).locator(".etabli-live")
    first.get_by_text("All assertions hold for 5 rows.").wait_for(timeout=90_000)
    tokens = first.get_by_role("application").first
    assert tokens.locator("b").count() == 0, "what a row says is text"
    assert tokens.locator("[data-trained=true]").first.evaluate("one => one.dataset.role") == "assistant"
    tokens.locator(".etabli-token").nth(5).hover()
    told = first.locator(".etabli-told")
    told.get_by_text("token 5 ·").wait_for(timeout=5_000)
    assert "loss" in told.inner_text() and "masked" in told.inner_text()
    before = notebook.cells()

    # Policies and spans without a mouse.
    policies = first.get_by_role("radio")
    policies.nth(0).focus()
    page.keyboard.press("ArrowLeft")  # from the first to the last, which is answers_and_reasoning
    page.keyboard.press("ArrowLeft")
    first.get_by_role("radio", name="spans").and_(first.locator("[aria-checked=true]")).wait_for(timeout=5_000)
    assert tokens.locator("[data-trained=true]").count() == 0
    tokens.focus()
    page.keyboard.press("End")
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    for count in (1, 2):
        page.keyboard.press("Space")
        first.get_by_role("radio", name=f"spans {count} token").wait_for(timeout=10_000)
        page.keyboard.press("ArrowRight")
    assert tokens.locator("[data-trained=true]").count() == 2
    page.keyboard.press("d")
    page.keyboard.press("d")
    assert notebook.cells() == before
    notebook.shot("lens-spans-light", first)
    first.get_by_role("button", name="Shade by loss").press("Enter")
    notebook.shot("lens-loss-light", first)

    page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 2; }")
    red = page.locator(".etabli-live", has_text="No run can start").first
    red.scroll_into_view_if_needed(timeout=60_000)
    red.get_by_text("No run can start: 1 of 7 rows fails not-empty.").wait_for(timeout=60_000)
    notebook.shot("lens-red-light", red)
    notebook.theme("JupyterLab Dark")
    notebook.shot("lens-red-dark", red)
    notebook.shot("lens-spans-dark", first)
