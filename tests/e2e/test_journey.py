"""The journey of a person: Run All, watch, restart the kernel, stop; then ask both models."""

import json
import os
import signal
import time

import nbformat
import pytest
from test_table import notebook_of

from etabli.runs.run import Run


def wait(true, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.2)


@pytest.fixture
def data(lab, commands):
    folder = lab[1] / "datasets" / "home-commands"
    if not folder.exists():
        commands.save(folder)
    return folder


def test_watch_restart_stop(lab, data, tiny, put_notebook, open_notebook):
    root = lab[1]
    notebook = open_notebook(put_notebook("02_finetune", MODEL=tiny, STEPS=100_000))
    page = notebook.page
    notebook.run_all()

    bar = page.get_by_role("progressbar", name="Training progress")
    page.get_by_text("first: running").wait_for(timeout=120_000)
    seen = int(bar.get_attribute("value"))
    page.wait_for_function("n => document.querySelector('.etabli-bar').value > n + 5", arg=seen, timeout=60_000)
    assert page.locator(".etabli-chart path.etabli-loss").get_attribute("d").count("L") > 3

    # A letter typed into the widget stays there: `b` would insert a cell, `dd` delete one.
    stop = page.get_by_role("button", name="Stop run")
    cells = notebook.cells()
    stop.focus()
    page.keyboard.press("b")
    page.keyboard.press("d")
    page.keyboard.press("d")
    assert notebook.cells() == cells

    # The kernel dies; the run does not. Running the cells again attaches to it.
    pid = json.loads((root / "runs/first/process.json").read_text())["pid"]
    notebook.restart()
    step = Run.attach(root / "runs/first").progress()["step"]
    wait(lambda: Run.attach(root / "runs/first").progress()["step"] > step)
    notebook.run_all()
    page.wait_for_function("n => document.querySelector('.etabli-bar')?.value > n", arg=step, timeout=60_000)
    assert json.loads((root / "runs/first/process.json").read_text())["pid"] == pid

    # Stop while the cell that waits keeps the kernel busy: it is heard, and nothing has to be interrupted.
    notebook.shot("monitor-light", page.locator(".jp-Notebook"))
    page.wait_for_function(f"{notebook.kernel()}.session.kernel.status === 'busy'", timeout=30_000)
    page.get_by_role("button", name="Stop run").click()
    page.locator(".etabli-state", has_text="first: stopped").wait_for(timeout=60_000)
    run = Run.attach(root / "runs/first")
    assert run.state == "stopped" and run.adapter.is_dir()
    assert not page.get_by_role("button", name="Stop run").is_visible()
    notebook.theme("JupyterLab Dark")
    notebook.shot("monitor-dark", page.locator(".jp-Notebook"))


def test_killed_resumed_and_the_tab_closed(lab, data, tiny, open_notebook):
    """The process is killed: the monitor offers to resume, and shows that it went on as the same run."""
    root = lab[1]
    cells = [
        "import etabli",
        f"recipe = etabli.Recipe(model={tiny!r}, data='datasets/home-commands', max_steps=100_000, checkpoint_every=20,"
        " eval_every=1000, sample_every=1000)\nrun = etabli.Run.ensure(recipe, 'runs/killed')\nrun.show()",
    ]
    nbformat.write(notebook_of(cells), root / "killed.ipynb")
    notebook = open_notebook("killed.ipynb")
    page = notebook.page
    notebook.theme("JupyterLab Light")
    notebook.run_all()
    cell = page.locator(".jp-Notebook .jp-Cell").nth(1).locator(".etabli-live")
    cell.get_by_text("killed: running").wait_for(timeout=120_000)
    run = Run.attach(root / "runs/killed")
    wait(lambda: run.progress()["step"] >= 30 and run.progress()["step"] % 20 > 8)
    os.kill(json.loads((run.folder / "process.json").read_text())["pid"], signal.SIGKILL)
    cell.get_by_text("killed: lost").wait_for(timeout=30_000)
    notebook.shot("lost-light", cell)
    cell.get_by_role("button", name="Resume").click()
    cell.get_by_text("the same to the last bit").wait_for(timeout=120_000)
    cell.get_by_text("killed: running").wait_for(timeout=30_000)
    notebook.shot("resumed-light", cell)
    assert all(one["first_difference"] is None for one in run.continuity()) and len(run.continuity()) == 1

    # The tab is closed: the run goes on, and another tab attaches to it.
    page.close()
    step = run.progress()["step"]
    wait(lambda: run.progress()["step"] > step + 20)
    notebook = open_notebook("killed.ipynb")
    notebook.theme("JupyterLab Dark")
    notebook.run_all()
    cell = notebook.page.locator(".jp-Notebook .jp-Cell").nth(1).locator(".etabli-live")
    cell.get_by_text("the same to the last bit").wait_for(timeout=60_000)
    notebook.shot("resumed-dark", cell)
    cell.get_by_role("button", name="Stop run").click()
    cell.get_by_text("killed: stopped").wait_for(timeout=60_000)
    assert cell.get_by_role("button", name="Resume").is_visible() and run.state == "stopped"


CHAT = """
import etabli_widgets, time
def slowly(word):
    def answer(prompt):
        text = ""
        for part in (word + " <b>says</b> " + prompt).split(" "):
            text += part + " "
            time.sleep(0.05)
            yield text
    return answer
chat = etabli_widgets.ChatCompare({"base": slowly("base"), "tuned": slowly("tuned")}, ["lights on"])
chat
"""


def test_ask_both(lab, open_notebook):
    import nbformat

    root = lab[1]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CHAT), nbformat.v4.new_code_cell("chat.history")])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, root / "chat.ipynb")
    notebook = open_notebook("chat.ipynb")
    page = notebook.page
    notebook.run_all()
    page.get_by_role("button", name="lights on").click()
    page.get_by_label("Prompt", exact=True).press("Enter")
    page.get_by_label("tuned").get_by_text("tuned <b>says</b> lights on").wait_for(timeout=30_000)
    assert page.get_by_label("base").locator("pre").inner_text().strip() == "base <b>says</b> lights on"
    assert page.locator(".etabli-sides b").count() == 2, "an answer's markup is text"
    notebook.shot("chat-light", page.locator(".etabli-sides").locator(".."))
    notebook.theme("JupyterLab Dark")
    notebook.shot("chat-dark", page.locator(".etabli-sides").locator(".."))
    page.get_by_label("Prompt", exact=True).press_sequentially("bdd")
    assert notebook.cells() == 2 and page.get_by_label("Prompt", exact=True).input_value().endswith("bdd")


CHECKED = """
import etabli
rows = [{"prompt": f"Where is harbour {n}?", "completion": "It lies north of the old town."} for n in range(6)]
rows += [{"prompt": "Who is <b>she</b>?", "completion": ""}]
rows += [{"prompt": "And he?", "completion": "As an AI, I have no idea."}]
rows += [{"prompt": f"Key {n}?", "completion": "N/A"} for n in range(50)] + [{"prompt": 3}]
etabli.check(rows)
"""


def test_a_click_on_a_finding_opens_its_rows(lab, open_notebook):
    import nbformat

    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CHECKED)])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, lab[1] / "check.ipynb")
    notebook = open_notebook("check.ipynb")
    page = notebook.page
    notebook.run_all()
    report = page.locator(".etabli-check-report.etabli-live")
    report.wait_for(timeout=60_000)
    codes = report.locator("button.etabli-finding code").all_inner_texts()
    assert codes.index("missing-key") < codes.index("placeholder") < codes.index("licence-unknown")
    row = report.get_by_text("row 7", exact=False)
    assert not row.is_visible()
    report.locator("button.etabli-finding", has_text="ai-disclaimer").click()
    row.wait_for()
    assert report.locator("mark").inner_text().startswith("As an AI")
    report.locator("button.etabli-finding", has_text="empty-answer").click()
    report.get_by_text("Who is <b>she</b>?").wait_for()  # what a row says is text
    notebook.shot("check-light", page.locator(".jp-Notebook"))
    notebook.theme("JupyterLab Dark")
    notebook.shot("check-dark", page.locator(".jp-Notebook"))


CARD = """
import json
from pathlib import Path
import etabli
results = json.loads(Path("card.json").read_text())
card = etabli.verdict(results)
card
"""


def test_a_click_on_a_number_opens_its_rows(lab, open_notebook, answered):
    import nbformat

    from etabli.core import storage

    storage.write_json(lab[1] / "card.json", answered)
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CARD), nbformat.v4.new_code_cell("card.opened")])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, lab[1] / "card.ipynb")
    notebook = open_notebook("card.ipynb")
    page = notebook.page
    notebook.run_all()
    gap = answered["scores"][0]["differences"][-1]
    which = max(("fixed", "broken", "both", "neither"), key=lambda name: gap["flips"][name])
    page.locator(".etabli-live").get_by_text("Row by row").click(timeout=60_000)
    changes = page.locator(".etabli-live").get_by_role("group", name="Rows that changed")
    line = changes.locator("tr", has_text=gap["minus"]).first
    line.get_by_role("button", name=f"{which} (").press("Enter")
    rows = page.locator(".etabli-rows")
    rows.get_by_text(f"{gap['flips'][which]} rows").wait_for(timeout=10_000)
    assert rows.locator(".etabli-row").count() == min(50, gap["flips"][which])
    first = rows.locator(".etabli-row > summary").first
    assert all(f"{arm} " in first.inner_text() for arm in answered["arms"]), "who is right, before anything is opened"
    first.press("Enter")
    rows.get_by_text("prompt and raw output").first.click()
    assert "<|im_start|>" in rows.locator(".etabli-row").first.inner_text()
    notebook.shot("verdict-light", page.locator(".jp-Notebook"))
    notebook.theme("JupyterLab Dark")
    notebook.shot("verdict-dark", page.locator(".jp-Notebook"))
    rows.get_by_role("button", name="Close").click()
    rows.wait_for(state="hidden")
    assert notebook.cells() == 2
