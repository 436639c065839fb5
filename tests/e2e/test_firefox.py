"""In Firefox each widget shows the texts that it shows in Chromium, and Python answers a click or a key."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bridged import THEMES, Bench
from firefox import FIREFOX, NO_FIREFOX, Firefox, FirefoxPage
from owned_network import HOST, Answer, OwnedNetwork
from test_unanswered import ACTS
from widget_samples import SAMPLES

pytestmark = pytest.mark.skipif(FIREFOX is None, reason=NO_FIREFOX)
BRIDGE = """() => { window.toKernel = async (...sent) =>
  (await fetch("/kernel", { method: "POST", body: JSON.stringify(sent) })).json(); }"""
# What is done in a widget: an element is clicked, or gets a key.
DEEDS = {
    "RunMonitor": (".etabli-top button:not([hidden])", ""),
    "BlindArena": ("[role=application]", "\ue012"),  # arrow left
    "CheckReport": ("button.etabli-finding", ""),
    "DatasetTable": ("[role=grid]", "k"),
    "ThresholdPairs": ("input[type=range]", "\ue010"),  # End
    "MaskLens": ("[role=radio]", "\ue014"),  # arrow right
    "MemoryLedger": ("input[type=range]", "\ue011"),  # Home
    "TokenDiff": ("[role=grid]", "\ue015"),  # arrow down
    "TrainingFilm": ("[role=slider]", "\ue012"),
    "VerdictCard": (".etabli-number", ""),
}


class FirefoxBench(Bench):
    """The page of ``Bench`` in Firefox; messages of the page come as requests."""

    def __init__(self, page: FirefoxPage, network: OwnedNetwork):
        self.page: Any = page
        self.answering, self.heard = True, 0
        self._widgets, self._known, self._messages = {}, {}, {}
        css = (THEMES / "theme-light-extension/index.css").read_text(encoding="utf-8")
        html = f"<!doctype html><meta charset=utf-8><style>{css}</style><body class=jp-Notebook><div id=tab-1></div>"

        def answer(path: str, body: bytes) -> Answer | None:
            if path == "/kernel":
                return "application/json", json.dumps(self._receive(*json.loads(body))).encode()
            return ("text/html; charset=utf-8", html.encode()) if path == "/" else None

        network.answer = answer
        page.resize(1280, 1400)
        page.goto(f"http://{HOST}/")


@pytest.fixture(scope="module")
def fox() -> Iterator[tuple[Firefox, OwnedNetwork]]:
    network = OwnedNetwork()
    firefox = Firefox(network.port)
    yield firefox, network
    firefox.close()
    network.close()


SHOWN = """async id => {
  const read = () => {
    const copy = document.getElementById(id).cloneNode(true);
    copy.querySelectorAll("[role=row]").forEach((row) => row.remove()); // how many are drawn depends on the fonts
    return copy.textContent.split(/\\s+/).join(" ").trim();
  };
  let before;
  for (let text = read(), same = 0; same < 3; same = text === before ? same + 1 : 0) {
    before = text;
    await new Promise((done) => setTimeout(done, 100));
    text = read();
  }
  return before;
}"""  # once it rests


@pytest.mark.parametrize("name", SAMPLES)
def test_the_same_texts_and_an_answer(fox: Any, browser: Any, tmp_path: Path, name: str) -> None:
    firefox, network = fox
    tab = firefox.new_page(BRIDGE)
    bench, chromium = FirefoxBench(tab, network), Bench(browser)
    at = bench.mount(SAMPLES[name](tmp_path), name)
    expected = chromium.page.evaluate(SHOWN, chromium.mount(SAMPLES[name](tmp_path), name))
    chromium.close()
    shown = tab.evaluate(SHOWN, at)
    if name != "RoundTrip":  # it shows how long a message took
        assert shown == expected
    if name in DEEDS:
        selector, key = DEEDS[name]
        tab.evaluate("id => document.querySelectorAll(`#${id} details`).forEach((fold) => (fold.open = true))", at)
        before = bench.heard
        tab.press(f"#{at} {selector}", key) if key else tab.click(f"#{at} {selector}")
        tab.evaluate("() => new Promise((done) => setTimeout(done, 600))")  # longer than any widget's own delay
        assert bench.heard > before
        assert tab.evaluate("id => document.querySelector(`#${id} .etabli-connection`).hidden", at)
    assert tab.problems() == [] and network.asked == []
    tab.close()


def test_the_deeds_are_those_of_chromium() -> None:
    assert set(DEEDS) <= set(ACTS)
