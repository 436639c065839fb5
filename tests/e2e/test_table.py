"""The table of rows in JupyterLab: first paint, scrolling, 200 decisions by keys alone, and a kernel that is killed.

The figures of docs/curation.md, over 100,000 rows:

    ETABLI_TABLE_ROWS=100000 ETABLI_TABLE_OUT=benchmarks/results/table.json make test-e2e ARGS='-k killed_kernel'
"""

import json
import os
import random
import signal
import time

import nbformat
import pytest

from etabli.core import storage
from etabli.core.contracts import DECISIONS
from etabli.curation.decisions import Decisions
from etabli.data.dataset import Dataset

ROWS = int(os.environ.get("ETABLI_TABLE_ROWS", "3000"))
OUT = os.environ.get("ETABLI_TABLE_OUT")
CELLS = [
    "import os, etabli\nsteps = [{'filter': 'exact'}, {'filter': 'length', 'least': 60}]\n"
    "desk = etabli.curate('many', steps, author='ann')\ntable = desk.table()\nprint('kernel', os.getpid())",
    "table",
    "table.decided",
]
WATCH = """() => {
  window.longest = 0;
  window.tasks = 0;
  new PerformanceObserver((list) => {
    for (const task of list.getEntries()) {
      window.tasks += 1;
      window.longest = Math.max(window.longest, task.duration);
    }
  }).observe({ type: "longtask" });
}"""

BUSY = "() => { setTimeout(() => { const end = performance.now() + 150; while (performance.now() < end); }, 0); }"

OTHER_KERNEL = """old => [...document.querySelectorAll('.jp-OutputArea-output')]
    .some((one) => /kernel \\d+/.test(one.innerText) && !one.innerText.includes('kernel ' + old))"""
KEPT_AGAIN = """() => [...document.querySelectorAll('.etabli-line[data-place="1"]')]
    .some((line) => line.dataset.status === 'kept')"""


def many(count):
    rng = random.Random(0)
    words = [
        "harbour",
        "boat",
        "night",
        "town",
        "fisherman",
        "lamp",
        "<b>bold</b>",
        "garden",
        "\u202e",
        "tree",
        "winter",
        "question",
    ]
    for at in range(count):
        asked = f"{at}: " + " ".join(rng.choices(words, k=rng.randint(4, 30)))
        answer = "The same." if at % 50 == 0 else " ".join(rng.choices(words, k=rng.randint(3, 60)))
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        yield {"id": f"r{at}", "messages": turns, "source": f"s{at % 3}"}


def notebook_of(cells):
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return made


@pytest.fixture
def many_rows(lab):
    Dataset(list(many(ROWS))).save(lab[1] / "many")
    (lab[1] / "many" / DECISIONS).unlink(missing_ok=True)
    return lab[1] / "many"


def run_cell(notebook, at):
    notebook.page.evaluate(
        "at => { const c = window.jupyterapp.shell.currentWidget.content; c.activeCellIndex = at; c.deselectAll(); }",
        at,
    )
    notebook.command("notebook:run-cell")


def test_a_killed_kernel_loses_none_of_200_decisions(lab, many_rows, open_notebook):
    nbformat.write(notebook_of(CELLS), lab[1] / "table.ipynb")
    notebook = open_notebook("table.ipynb")
    page = notebook.page
    notebook.ready()
    run_cell(notebook, 0)
    said = page.locator(".jp-OutputArea-output", has_text="kernel ")
    said.wait_for(timeout=180_000)
    pid = int(said.inner_text().split()[1])
    page.evaluate(WATCH)
    page.evaluate(BUSY)
    page.wait_for_function("() => window.longest > 100", timeout=5_000)  # the watch sees what it is there to see
    began = time.monotonic()
    run_cell(notebook, 1)
    view = page.locator(".etabli-lines-view")
    view.locator(".etabli-line").first.wait_for(timeout=30_000)
    painted = time.monotonic() - began
    assert view.get_attribute("aria-rowcount") == str(ROWS) and view.locator(".etabli-line").count() < 60
    assert page.locator(".etabli-line b").count() == 0, "what a row says is text"

    # Scroll through everything, then jump about; every line that comes to rest in view is the right one.
    page.evaluate("() => { window.longest = 0; window.tasks = 0; }")
    box = view.bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    for _ in range(60):
        page.mouse.wheel(0, 700)
        page.wait_for_timeout(16)
    for place in (0.9, 0.1, 0.5, 1.0, 0.0):
        view.evaluate("(view, share) => { view.scrollTop = share * view.scrollHeight; }", place)
        page.wait_for_timeout(120)
    view.evaluate("view => { view.scrollTop = 0.5 * view.scrollHeight; }")
    page.wait_for_function(
        """() => [...document.querySelectorAll('.etabli-lines-view .etabli-line')].filter((line) => !line.hidden)
               .every((line) => line.querySelector('.etabli-cell-question').textContent
                 .startsWith(line.dataset.place + ':'))""",
        timeout=20_000,
    )
    scrolled = page.evaluate("() => ({ longest: window.longest, tasks: window.tasks })")

    # 200 decisions by keys alone. A letter stays in the table: no cell comes or goes.
    cells = notebook.cells()
    view.focus()
    page.keyboard.press("Home")
    page.wait_for_timeout(300)
    for at in range(200):
        page.keyboard.press("k" if at % 2 else "d")
        if at % 20 == 19:  # a person looks up, too
            page.wait_for_timeout(150)
    page.get_by_text("200 decisions of ann on the disk").wait_for(timeout=60_000)
    assert notebook.cells() == cells
    notebook.shot("table-light", page.locator(".jp-Notebook"))
    for _ in range(12):  # and some more, of which the kernel may not live to see the end
        page.keyboard.press("k")
    os.kill(pid, signal.SIGKILL)
    said = int(page.locator("small[role=status]", has_text="on the disk").inner_text().split()[0])
    held = Decisions(many_rows / DECISIONS).standing()
    expected = {f"r{at}": "keep" if at % 2 else "drop" for at in range(200)}
    assert {name: one["do"] for name, one in held.items() if name in expected} == expected
    assert len(held) >= said >= 200, "what the page called written is written"
    assert all(one["by"] == "ann" for one in held.values())

    # On the next open they are there.
    notebook.restart()
    run_cell(notebook, 0)
    page.wait_for_function(OTHER_KERNEL, arg=pid, timeout=180_000)
    run_cell(notebook, 1)
    page.wait_for_function(KEPT_AGAIN, timeout=180_000)
    figures = {
        "rows": ROWS,
        "first_paint_seconds": round(painted, 2),
        "longest_task_ms_while_scrolling": scrolled["longest"],
        "tasks_over_50_ms_while_scrolling": scrolled["tasks"],
        "decisions_by_keyboard": 200,
        "lost_after_sigkill": max(0, said - len(held)),
    }
    if OUT:
        storage.write_json(OUT, figures)
    assert painted < 2 and scrolled["longest"] < 100, json.dumps(figures)


def test_look_fix_undo_and_choose_a_threshold(lab, open_notebook):
    rows = list(many(40))
    rows += [
        {
            **rows[5],
            "id": "near",
            "messages": [
                rows[5]["messages"][0],
                {"role": "assistant", "content": rows[5]["messages"][1]["content"] + " changed"},
            ],
        }
    ]
    Dataset(rows).save(lab[1] / "few")
    steps = "[{'filter': 'near'}, {'filter': 'quality'}, {'filter': 'length', 'least': 12}]"
    cells = [
        f"import etabli\ndesk = etabli.curate('few', {steps}, author='ann')\ndesk.table()",
        "desk.threshold('near')",
        "desk.map('finding')",
    ]
    nbformat.write(notebook_of(cells), lab[1] / "few.ipynb")
    notebook = open_notebook("few.ipynb")
    page = notebook.page
    notebook.run_all()
    view = page.locator(".etabli-lines-view")
    view.locator(".etabli-line").first.wait_for(timeout=60_000)
    page.get_by_label("Finding", exact=True).select_option(label="near (1)")
    page.get_by_text("1 of 41 rows", exact=True).wait_for(
        timeout=90_000
    )  # the other cells may still keep the kernel busy
    detail = page.get_by_label("The chosen row")
    detail.locator("ins", has_text="changed").wait_for(timeout=60_000)
    view.focus()
    page.keyboard.press("r")
    page.keyboard.type("not so near")
    page.keyboard.press("Enter")
    page.keyboard.press("f")
    page.get_by_label("The last answer, rewritten").fill("Quite another answer. <i>dd</i>")
    page.keyboard.press("Control+Enter")
    view.locator(".etabli-line[data-status=fixed]").wait_for(timeout=10_000)
    detail.get_by_text("fixed").wait_for(timeout=10_000)
    line = Decisions(lab[1] / "few" / DECISIONS).all()[-1]
    assert (line["do"], line["why"], line["messages"][1]["content"]) == (
        "fix",
        "not so near",
        "Quite another answer. <i>dd</i>",
    )
    notebook.shot("table-fixed-light", page.locator(".jp-Notebook"))
    page.keyboard.press("u")
    view.locator(".etabli-line[data-status=rejected]").wait_for(timeout=10_000)
    slider = page.get_by_label("Threshold")
    slider.focus()
    page.keyboard.press("End")
    page.get_by_text("near at 1.00 removes 0 of 41 rows (0 pairs).").wait_for(timeout=10_000)
    page.get_by_role("button", name="Take 1.00 into the recipe").click()
    page.get_by_role("button", name="This is the recipe's").wait_for(timeout=10_000)
    notebook.theme("JupyterLab Dark")
    notebook.shot("table-fixed-dark", page.locator(".jp-Notebook"))
    page.locator(".js-plotly-plot").scroll_into_view_if_needed()
    notebook.shot("map-dark")
    notebook.theme("JupyterLab Light")
    notebook.shot("map-light")
