"""A thought before an answer is folded, whatever it holds, and what is missing is no error: the scripts in Chromium."""

import json
from pathlib import Path

import pytest
from bridged import Bench

import etabli_widgets
from etabli_widgets import markup
from etabli_widgets.training_film import TrainingFilm

STATIC = Path(etabli_widgets.__file__).parent / "static"
HOSTILE = "<img src=x onerror='window.hit = 1'> </details> </think"


@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.set_content("<pre id=place></pre>")
    page.add_script_tag(content='const ROOT = ["etabli"];\nconst GLOSSARY = {};\n' + (STATIC / "shared.js").read_text())
    yield page
    page.close()


@pytest.mark.parametrize(
    ("text", "thought", "folded", "answer"),
    [
        ("plain", "", None, "plain"),
        ("<think>so</think>\n42", "", "so", "42"),
        ("<think>so and", "", "so and", ""),
        ("<thinking>so</thinking>\n42", "", "so", "42"),
        ("<THINK>so</THINK>42", "", "so", "42"),
        ("<think>\n<think>so</think>\n</think>42", "", "so", "42"),
        ("[THINK]so[/THINK]42", "", "so", "42"),
        ("[THINK]so and", "", "so and", ""),
        ("<think>\n\n</think>\n\n42", "", None, "42"),
        ("a <think> in it", "", None, "a <think> in it"),
        ("42", "from the log", "from the log", "42"),
        (f"<think>{HOSTILE}</think>{HOSTILE}", "", HOSTILE, HOSTILE),
        (None, "", None, ""),
    ],
)
def test_an_answer_with_its_thought(page, text, thought, folded, answer):
    page.evaluate(
        "([text, thought]) => document.querySelector('#place').replaceChildren(...answerNodes(text, thought))",
        [text, thought],
    )
    twin = str(markup.answer(text)) if text and not thought else ""
    assert ("<details" in twin) == (folded is not None and not thought), "the twin without scripts folds it too"
    folds = page.locator("#place details")
    assert folds.count() == (folded is not None)
    if folded is not None:
        assert folds.evaluate("fold => fold.open") is False
        assert folds.locator("span").evaluate("node => node.textContent") == folded
    assert page.locator("#place").evaluate("node => node.lastChild.textContent") == answer
    assert page.locator("#place img").count() == 0 and not page.evaluate("window.hit ?? 0")


def test_a_missing_text_is_empty(page):
    assert page.evaluate("[visible(undefined), visible(null), visible(7), visible('a\\u200b')]") == [
        "",
        "",
        "7",
        "a\\u200b",
    ]


def test_the_arena_folds_both_thoughts(page):
    traits = {"pair": {"number": 1, "prompt": "p", "left": "a", "right": "", "thoughts": ["why a", HOSTILE]}}
    traits |= {"total": 1, "done": 0, "watched": "", "last": {}, "told": {}, "said": [], "heard": 0, "error": ""}
    text = (STATIC / "blind_arena.js").read_text()
    source = text.replace("export default widget(render);", "window.show = render;")
    assert "window.show" in source
    page.add_script_tag(content=f"{{ {source} }}")
    page.evaluate(
        "traits => show({ el: document.body.appendChild(document.createElement('div')),"
        " model: { get: (name) => traits[name], on() {}, off() {}, send() {} } })",
        json.loads(json.dumps(traits)),
    )
    folds = page.locator(".etabli-sides details")
    assert folds.count() == 2 and folds.nth(1).locator("span").evaluate("node => node.textContent") == HOSTILE
    assert page.locator(".etabli-sides pre.etabli-empty").count() == 1, "an empty answer is shown as such"
    assert page.locator(".etabli-sides img").count() == 0


def test_the_film_folds_the_thoughts_of_answers_without_tokens(browser):
    frames = [
        {"step": step, "text": f"<think>{HOSTILE}</think>{step}", "tokens": None, "mean_kl": None} for step in (0, 5)
    ]
    strips = [{"probe": "p", "frames": frames, "changed": None, "jump": None}]
    film = TrainingFilm(film={"run": "r", "state": "finished", "steps": 5, "pins": [], "said": [], "strips": strips})
    film.at = 1
    bench = Bench(browser)
    shown = bench.page.locator(f"#{bench.mount(film, 'TrainingFilm')}")
    texts = shown.locator("details.etabli-thought span").evaluate_all("nodes => nodes.map(node => node.textContent)")
    assert texts == [HOSTILE] * 2, "in the frame that is shown and in that of step 0"
    assert shown.locator("pre").evaluate_all("nodes => nodes.map(node => node.lastChild.textContent)") == ["5", "0"]
    assert shown.locator("img").count() == 0 and not bench.problems
    bench.close()
    assert str(film.html()).count("<details") == 2
