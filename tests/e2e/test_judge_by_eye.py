"""Arena, token differences and film in JupyterLab, by keyboard alone; a kernel killed while voting loses no vote."""

import json

import nbformat
from test_table import notebook_of

from etabli.core import journal, storage
from etabli.core.contracts import EVENTS, RECIPE
from etabli.review import votes
from etabli.runs.recipe import Recipe

HOSTILE = "<img src=x onerror=alert(1)> <b>bold</b> \u202e"
ARENA = "import etabli\narena = etabli.arena('answers.jsonl', author='ann')\narena"
DIFF = "etabli.token_diff('diffs.json')"
FILM = "etabli.film('filmed')"


LIVE = ".etabli-live"  # the widget; its HTML twin lies hidden beside it
LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"


def answers(path, n=60):
    lines = [
        {
            "prompt": f"Prompt {at} {HOSTILE}",
            "answers": {"plain": f"short {at}", "rich": f"long {at} {HOSTILE} שלום 😀\n" * 4},
        }
        for at in range(n)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))


def test_vote_by_keys_and_lose_nothing_when_the_kernel_dies(lab, open_notebook):
    root = lab[1]
    answers(root / "answers.jsonl")
    nbformat.write(notebook_of([ARENA, "print(len(arena._session.own_votes()), 'on the disk')"]), root / "arena.ipynb")
    notebook = open_notebook("arena.ipynb")
    page = notebook.page
    notebook.theme(LIGHT)  # the last test's is kept
    notebook.run_all()
    first = page.locator(".jp-Notebook .jp-Cell").nth(0).locator(LIVE)
    first.get_by_text("Pair 1 of ").wait_for(timeout=90_000)
    assert first.locator("img, section b:has-text('bold')").count() == 0, "an answer is text"
    assert "plain" not in first.inner_text(), "nobody says whose"
    before = notebook.cells()
    booth = first.get_by_role("application", name="Vote with the arrow keys")
    booth.focus()
    for number, key in enumerate(["ArrowLeft", "ArrowRight", "ArrowDown", "x", "1", "2", "t", "0"], 2):
        page.keyboard.press(key)
        first.get_by_text(f"Pair {number} of ").wait_for(timeout=10_000)
    assert "Left had" in first.locator(".etabli-last").inner_text()
    for key in ("b", "d", "d", "PageDown", "ArrowUp"):  # none of them a vote, nor the notebook's
        page.keyboard.press(key)
    assert notebook.cells() == before and booth.evaluate("one => one.contains(document.activeElement)")
    notebook.shot("arena-light", first)

    # Killed with votes in flight: what was acknowledged is there, and it goes on after them.
    for number in range(10, 20):
        page.keyboard.press("ArrowLeft")
        first.get_by_text(f"Pair {number} of ").wait_for(timeout=10_000)
    page.keyboard.press("ArrowLeft")
    page.evaluate(f"{notebook.kernel()}.session.kernel.restart()")
    file = root / "votes" / "ann.jsonl"
    kept = len(journal.Journal(file, votes.is_vote).all())
    assert kept in (18, 19)
    notebook.run_all()
    first.get_by_text(f"Pair {kept + 1} of ").wait_for(timeout=90_000)

    first.get_by_role("button", name="Who is who?").focus()
    page.keyboard.press("Enter")
    first.locator(".etabli-verdict").wait_for(timeout=10_000)
    assert "rich against plain" in first.locator("td").first.inner_text()
    notebook.shot("arena-told-light", first)
    notebook.theme(DARK)
    notebook.shot("arena-told-dark", first)


def moves(tokens, luck=7):
    made = {name: [] for name in ("logp", "base_logp", "kl", "rank", "base_rank", "top", "base_top")}
    for at in range(len(tokens)):
        made["logp"].append(-0.1 * (at % luck))
        made["base_logp"].append(-1.3 * ((at * 5) % luck) / 2)
        made["kl"].append(0.2 * (at % 5))
        made["rank"].append(1 + at % 3)
        made["base_rank"].append(1 + at % 40)
        made["top"].append([["the", -0.1], [HOSTILE, -3.0]])
        made["base_top"].append([["a", -0.5]])
    return {"tokens": tokens, "ids": list(range(len(tokens))), **made}


def row(name, prompt, tokens):
    made = moves(tokens)
    changes = [after - before for after, before in zip(made["logp"], made["base_logp"])]
    at = max(range(len(changes)), key=lambda place: abs(changes[place]))
    return {
        "id": name,
        "prompt": prompt,
        "answer": "".join(tokens),
        "move": abs(changes[at]),
        "at": at,
        "total": sum(changes),
        "kl": 0.4,
        "moves": made,
    }


def test_walk_through_token_differences_by_keys(lab, open_notebook):
    rows = [
        row("a", "Where is the harbour?", ["North", " of", " the", " old", " town", ".", HOSTILE, "<|im_end|>"]),
        row("rtl", "An answer from the right", ["שלום", " עולם", " טוב", "", "", "👩‍👩‍👧", " סוף"]),
        row("long", "Ten thousand tokens", [f" word{at}" for at in range(10_000)]),
    ]
    diffs = {
        "version": 1,
        "model": "base-model",
        "adapter": "x",
        "of": "tuned",
        "limit": None,
        "answers": "y",
        "rows": rows,
        "said": [],
    }
    storage.write_json(lab[1] / "diffs.json", diffs)
    nbformat.write(notebook_of(["import etabli", DIFF]), lab[1] / "diffs.ipynb")
    notebook = open_notebook("diffs.ipynb")
    page = notebook.page
    notebook.theme(LIGHT)  # the last test's is kept
    notebook.run_all()
    cell = page.locator(".jp-Notebook .jp-Cell").nth(1).locator(LIVE)
    cell.get_by_role("grid").wait_for(timeout=90_000)
    before = notebook.cells()
    told = cell.locator(".etabli-told")
    cell.get_by_role("grid").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Home")
    told.get_by_text('token 0: "North"').wait_for(timeout=5_000)
    page.keyboard.press("ArrowRight")
    told.get_by_text('token 1: " of"').wait_for(timeout=5_000)
    assert "choice" in told.inner_text() and "nats" in told.inner_text()
    page.keyboard.press("n")
    assert told.locator("img").count() == 0 and cell.locator(".etabli-strip img").count() == 0
    notebook.shot("token-diff-light", cell)
    cell.get_by_role("radio", name="log-probability").focus()
    page.keyboard.press("ArrowRight")
    cell.get_by_role("radio", name="KL").and_(cell.locator("[aria-checked=true]")).wait_for(timeout=10_000)

    # Text from the right: the key to the left goes on, and no sign is torn.
    cell.get_by_role("grid").focus()
    page.keyboard.press("ArrowDown")
    cell.locator(".etabli-strip", has_text="שלום").wait_for(timeout=10_000)
    page.keyboard.press("Enter")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    told.get_by_text("token 1:").wait_for(timeout=5_000)
    assert "··👩‍👩‍👧" in cell.locator(".etabli-strip").inner_text(), "parts as dots, the whole sign at its last token"
    notebook.shot("token-diff-rtl-light", cell)
    cell.get_by_role("grid").focus()
    page.keyboard.press("End")
    cell.locator(".etabli-moved").nth(9_999).wait_for(state="attached", timeout=30_000)
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    told.get_by_text("token 9999:").wait_for(timeout=10_000)
    assert notebook.cells() == before
    notebook.theme(DARK)
    notebook.shot("token-diff-dark", cell)


def filmed(folder):
    """A run's events as they lie on disk; two probes, one of them of one frame."""
    Recipe(data="x.jsonl").save(folder / RECIPE)
    texts = ["I am", "I am a", '{"a":', '{"a": 1}', '{"a": 1}']
    lines = [{"kind": "start", "steps": 40, "probes": ["Turn on the lamp", "One frame " + HOSTILE]}]
    for at, text in enumerate(texts):
        tokens = list(text)
        told = {
            "tokens": tokens,
            "logp": [-0.1] * len(tokens),
            "base_logp": [-0.1 - at] * len(tokens),
            "kl": [float(at)] * len(tokens),
        }
        lines.append({"kind": "sample", "step": 10 * at, "probe": 0, "text": text, "ids": [1], **told})
    lines += [
        {"kind": "sample", "step": 0, "probe": 1, "text": HOSTILE, "ids": [1]},
        {"kind": "end", "state": "completed", "why": ""},
    ]
    (folder / EVENTS).write_text("".join(json.dumps({"t": 1.0, **line}) + "\n" for line in lines))


def test_scrub_through_the_film_and_pin_by_keys(lab, open_notebook):
    filmed(lab[1] / "filmed")
    nbformat.write(notebook_of(["import etabli", FILM]), lab[1] / "film.ipynb")
    notebook = open_notebook("film.ipynb")
    page = notebook.page
    notebook.theme(LIGHT)  # the last test's is kept
    notebook.run_all()
    cell = page.locator(".jp-Notebook .jp-Cell").nth(1).locator(LIVE)
    slider = cell.get_by_role("slider")
    slider.wait_for(timeout=90_000)
    before = notebook.cells()
    slider.focus()
    for step in (10, 20):
        page.keyboard.press("ArrowRight")
        cell.get_by_text(f"step {step} · KL").wait_for(timeout=10_000)
    assert cell.locator(".etabli-strip").inner_text().strip() == '{"a":'
    page.keyboard.press("p")
    cell.get_by_role("button", name="◆ step 20").wait_for(timeout=10_000)
    assert [pin["step"] for pin in map(json.loads, (lab[1] / "filmed" / "pins.jsonl").read_text().splitlines())] == [20]
    notebook.shot("film-light", cell)
    cell.get_by_role("button", name="First change: step 10").focus()
    page.keyboard.press("Enter")
    cell.get_by_text("step 10 · KL").wait_for(timeout=10_000)
    cell.get_by_role("combobox").select_option(index=1)
    cell.get_by_text("The answer never changed").wait_for(timeout=10_000)
    assert cell.locator("img").count() == 0 and cell.get_by_role("slider").is_disabled()
    assert notebook.cells() == before
    notebook.theme(DARK)
    cell.get_by_role("combobox").select_option(index=0)
    cell.get_by_text("step 0 · KL").wait_for(timeout=10_000)
    notebook.shot("film-dark", cell)
