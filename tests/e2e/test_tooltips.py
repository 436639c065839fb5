"""A tooltip of a plotly figure shows a row's text as it is: no entity stays undecoded."""

import pytest
from playwright.sync_api import expect

import etabli
from etabli.core.pages import figures
from etabli.data.dataset import Dataset

SIGNS = "\"double\" 'single' <b>bold</b> & &amp; &quot; 100 % \u2212"


@pytest.fixture(scope="module")
def figure(tmp_path_factory):
    folder = tmp_path_factory.mktemp("map") / "rows"
    turns = [{"role": "user", "content": f"{SIGNS} asked"}, {"role": "assistant", "content": f"{SIGNS} answered"}]
    others = [[{**turn, "content": f"{turn['content']} {number} lamp"} for turn in turns] for number in range(5)]
    Dataset([{"id": f"r{number}", "messages": messages} for number, messages in enumerate(others)]).save(folder)
    return etabli.curate(folder, [{"filter": "exact"}], author="ann").map("finding")


def test_a_tooltip_shows_signs_as_they_are(browser, figure):
    context = browser.new_context()
    page = context.new_page()
    page.set_content(figures.page(figure, "map"))
    page.locator(".scatterlayer .point").first.hover(force=True)
    tooltip = page.locator(".hoverlayer .hovertext")
    expect(tooltip).to_contain_text("answered", timeout=10_000)
    shown = tooltip.text_content().replace("\u00a0", " ")
    context.close()
    assert f"{SIGNS} asked" in shown and f"{SIGNS} answered" in shown, shown
