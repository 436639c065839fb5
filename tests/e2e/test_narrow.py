"""What a person sees at 1000 px, with a side bar open: heads stand over their columns, tuned is in view."""

import pytest
from bridged import Bench, geometry
from playwright.sync_api import expect
from widget_samples import SAMPLES

WIDTH = 640  # of an output in JupyterLab on a screen of 1000 px

LEFTS = """(row) => [...row.children].map((cell) => Math.round(cell.getBoundingClientRect().left))"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("samples")


@pytest.fixture
def narrow(browser):
    bench = Bench(browser, width=WIDTH)
    yield bench
    bench.close()


@pytest.mark.parametrize("width", [WIDTH, 480, 1280])
def test_heads_of_the_table_stand_over_their_columns(narrow, folder, width):
    narrow.page.set_viewport_size({"width": width, "height": 900})
    narrow.mount(SAMPLES["DatasetTable"](folder), "DatasetTable")
    view = narrow.page.get_by_role("grid")
    for scroll in (0, 90, 0):
        view.evaluate("(view, left) => { view.scrollLeft = left; view.scrollTop = left; }", scroll)
        heads = view.locator(".etabli-heads").evaluate(LEFTS)
        assert heads == view.locator(".etabli-line:not([hidden])").first.evaluate(LEFTS)
    view.focus()
    narrow.page.keyboard.press("End")
    chosen, frame = view.locator(".etabli-line[aria-selected=true]"), view.bounding_box()
    expect(chosen).to_have_attribute("data-place", "61")
    assert chosen.bounding_box()["y"] + 30 <= frame["y"] + frame["height"] + 1
    narrow.page.keyboard.press("Home")
    expect(chosen).to_have_attribute("data-place", "0")
    top, head = chosen.bounding_box(), view.locator(".etabli-heads").bounding_box()
    assert top["y"] >= head["y"] + head["height"] - 1, "the heads cover no line that is chosen"


@pytest.mark.parametrize("width", [360, 480, 600, 900, 1000, 1280, 1600])
def test_question_and_answer_are_in_view_and_get_most_of_the_table(browser, folder, width):
    bench = Bench(browser, width=width)
    bench.mount(SAMPLES["DatasetTable"](folder), "DatasetTable")
    view = bench.page.get_by_role("grid")
    frame = view.bounding_box()
    chosen = view.locator(".etabli-line[data-chosen]")
    cells = [chosen.locator(f".etabli-cell-{name}").bounding_box() for name in ("question", "answer")]
    assert cells[1]["x"] + cells[1]["width"] <= frame["x"] + frame["width"]
    assert sum(cell["width"] for cell in cells) > 0.5 * frame["width"] - 10
    expect(chosen).to_contain_text("rejected")
    expect(chosen).to_contain_text("near")
    bench.close()


def test_the_order_that_code_chose_is_shown(narrow, folder):
    table = SAMPLES["DatasetTable"](folder)
    at = narrow.mount(table, "DatasetTable")
    table.choose(sort="length", descending=True, search="kitchen")
    narrow.sync(at)
    page = narrow.page
    assert page.get_by_label("Sort by").input_value() == "length"
    assert page.get_by_label("Search rows").input_value() == "kitchen"
    page.get_by_role("button", name="Descending").click()
    expect(page.get_by_role("button", name="Ascending")).to_be_visible()
    expect(page.get_by_label("Sort by")).to_have_value("length")
    assert table.asked["sort"] == "length" and not table.asked["descending"]


def test_tuned_is_the_first_system_and_in_view(narrow, folder):
    at = narrow.mount(SAMPLES["VerdictCard"](folder), "VerdictCard")
    geometry(narrow.page, at)
    forest, scores = narrow.page.locator(".etabli-forest"), narrow.page.get_by_role("group", name="Scores")
    lines = forest.locator("tr:has(td)").all_inner_texts()
    assert lines[0].startswith("tuned") and len(lines) == 4
    expect(forest.get_by_text("tuned minus it")).to_be_in_viewport(ratio=1)
    narrow.page.get_by_text("All scores").click()
    expect(scores.locator("th").first).to_be_visible(), "it is built when it is opened"
    heads = scores.locator("th").all_inner_texts()
    assert heads.index("tuned") < heads.index("base")
    expect(scores.get_by_role("columnheader", name="tuned")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("width", [WIDTH, 360])
@pytest.mark.parametrize("name", SAMPLES)
def test_only_marked_parts_scroll_sideways(browser, folder, name, width):
    bench = Bench(browser, width=width)
    at = bench.mount(SAMPLES[name](folder), name)
    geometry(bench.page, at)
    wide = bench.page.evaluate("document.documentElement.scrollWidth")
    bench.close()
    assert wide <= width
