"""The threshold in Chromium: no move of the slider is lost, its ends are named, and a pair says which row goes."""

import re

import pytest
from playwright.sync_api import expect

import etabli
from etabli.data.dataset import Dataset

MOVE_AND_ANSWER = """([at, value, news]) => {
  const slider = document.querySelector(`#${at} input[type=range]`);
  slider.value = value;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  window.models[at].take(news);
}"""


def turns(answer):
    return [
        {"role": "user", "content": "Where is the harbour of the old town?"},
        {"role": "assistant", "content": answer},
    ]


LONG = "It lies to the north of the old town, behind the lighthouse and the fish market."
ROWS = [
    {"id": "first", "messages": turns(LONG)},
    {"id": "second", "messages": turns(f"{LONG} Really.")},
    {"id": "other", "messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Nobody."}]},
]


@pytest.fixture
def threshold(bench, tmp_path):
    Dataset(ROWS).save(tmp_path / "rows")
    steps = {"filters": [{"filter": "near"}], "protect": {"least": 0}}
    widget = etabli.curate(tmp_path / "rows", steps, author="ann").threshold("near")
    return widget, bench.mount(widget, "ThresholdPairs")


def test_an_older_answer_does_not_take_a_move_back(bench, threshold):
    """The slider need not have the focus: Safari gives none to one that is dragged."""
    widget, at = threshold
    page = bench.page.locator(f"#{at}")
    widget.look(0.7)
    bench.page.evaluate(MOVE_AND_ANSWER, [at, 1, bench._news(at)])
    slider = page.get_by_role("slider")
    expect(slider).to_have_value("1")
    expect(page.get_by_text("near at 1.00 removes 0 of 3 rows (0 pairs).")).to_be_visible()
    assert widget.seen["value"] == 1 and widget.value == 1
    page.get_by_role("button", name="Take 1.00 into the recipe").click()
    expect(page.get_by_role("button", name="This is the recipe's")).to_be_disabled()
    assert widget.chosen == 1
    for key in ("ArrowLeft", "ArrowRight"):  # back where it was, before Python has heard of it
        slider.press(key)
    expect(page.get_by_role("button", name="This is the recipe's")).to_be_visible()
    expect(slider).to_have_value("1")


def test_a_refused_look_leaves_the_slider_where_python_is(bench, threshold, monkeypatch):
    widget, at = threshold
    page = bench.page.locator(f"#{at}")

    def refuse(value):
        raise ValueError("no such threshold")

    monkeypatch.setattr(widget._source, "at", refuse)
    page.get_by_role("slider").press("End")
    expect(page.get_by_role("alert").filter(has_text="no such threshold")).to_be_visible()
    expect(page.get_by_role("slider")).to_have_value(str(widget.seen["value"]))


def test_the_ends_are_named_and_a_pair_says_which_row_goes(bench, threshold):
    widget, at = threshold
    page = bench.page.locator(f"#{at}")
    expect(page.get_by_text("0.50: only a little alike")).to_be_visible()
    expect(page.get_by_text("1.00: the same text")).to_be_visible()
    removed = set(widget._source.curation.result.rejections)
    names = [ROWS[index]["id"] for index in removed]
    stays = {"first", "second"} - {*names}
    expect(page.locator(".etabli-pairs small")).to_have_text(
        re.compile(rf"· row {names[0]} is removed, row {stays.pop()} stays$")
    )
    page.get_by_role("slider").press("End")
    expect(page.locator(".etabli-pairs small")).to_have_text(
        re.compile("· row (first and row second|second and row first) both stay$")
    )
