"""The verdict card: one plot of differences, and behind it only what the plot does not show."""

import pytest
from bridged import Bench, geometry
from playwright.sync_api import expect
from widget_samples import SAMPLES

import hostile_markup
from etabli.evaluation import card
from etabli.evaluation.aggregate import summarise

TUNED_LOSS, BASE_LOSS = 1.0, 2.0


@pytest.fixture
def narrow(browser):
    bench = Bench(browser, width=600)
    yield bench
    assert not bench.problems
    bench.close()


def results_by_loss():
    """Return results of a score of which less is better, and of which lookup has none."""
    results = hostile_markup.evaluation()
    results["metrics"] = [{**results["metrics"][0], "name": "loss", "unit": "nats/token", "better": "lower"}]
    for number, row in enumerate(results["rows"]):
        noise = 0.01 * (number % 3)
        values = {"base": BASE_LOSS + noise, "prompted": TUNED_LOSS - noise, "lookup": None, "tuned": TUNED_LOSS}
        row["errors"], row["values"] = {}, {"loss": values}
    return summarise(results)


def test_a_verdict_by_loss_shows_only_what_it_has(narrow, tmp_path):
    results = results_by_loss()
    widget = card.verdict(results)
    widget.look(score="loss", slice=results["scores"][0]["slice"], arm="tuned")
    at = narrow.mount(widget, "VerdictCard")
    geometry(narrow.page, at)
    page = narrow.page.locator(f"#{at}")
    assert page.get_by_role("listitem").inner_text().endswith(".")
    expect(page.get_by_text("Row by row")).to_be_hidden()
    assert "Row by row" not in widget.html(), "no row is right or wrong by its loss"
    summary = page.locator(".etabli-row > summary").first
    assert "lookup" not in summary.inner_text() and "tuned 1.000" in summary.inner_text()
    summary.click()
    expect(page.get_by_text("lookup (not scored)").first).to_be_visible()
    forest = page.locator(".etabli-forest")
    assert forest.evaluate("part => part.scrollWidth <= part.clientWidth"), "nothing runs off the edge"


def test_to_the_right_of_zero_is_better_also_where_less_is(narrow):
    """Tuned loses one nat less than base; a hundredth more than prompted."""
    at = narrow.mount(card.verdict(results_by_loss()), "VerdictCard")
    forest = narrow.page.locator(f"#{at} .etabli-forest")
    assert forest.locator("th").nth(2).inner_text().split() == ["worse", "←", "0", "→", "better"]

    def place(name, part):
        box = forest.locator("tr", has_text=name).locator(f".etabli-bar {part}").bounding_box()
        return box["x"] + box["width"] / 2

    zero = place("tuned", "i")
    assert forest.locator("tr:nth-child(2) b").count() == 0, "tuned has no difference from itself"
    assert place("base", "b") > zero + 20 and place("base", "u") > zero + 20
    assert place("prompted", "u") <= zero + 1


def test_what_is_plotted_is_not_repeated_and_no_rows_are_no_button(narrow, tmp_path):
    widget = SAMPLES["VerdictCard"](tmp_path)
    page = narrow.page.locator(f"#{narrow.mount(widget, 'VerdictCard')}")
    changes = page.get_by_role("group", name="Rows that changed")
    expect(changes).to_be_hidden()
    page.get_by_text("Row by row: what tuned fixed and broke").click()
    expect(changes.locator("th")).to_have_text(["score", "against", "fixed", "broken", "both", "neither", "McNemar"])
    gap = widget.view["gaps"][0]
    cells = changes.locator("tr", has_text=gap["against"]).locator("td")
    for number, which in enumerate(("fixed", "broken", "both", "neither"), 2):
        total = gap["flips"][which]
        expect(cells.nth(number)).to_have_text(str(total))
        expect(cells.nth(number).get_by_role("button")).to_have_count(1 if total else 0)
    assert gap["flips"]["fixed"] == 0, "one of them is none"
    page.get_by_text("By length").click()
    others = page.get_by_role("group", name="Differences by other scores")
    expect(others).to_contain_text("difference")
    assert "McNemar" not in others.inner_text()


def results_by_slice():
    """Return results of two slices beside "all"; lookup has no score on any row."""
    results = hostile_markup.evaluation()
    for number, row in enumerate(results["rows"]):
        row["slices"], row["errors"] = [f"part {number % 2}"], {}
        row["values"]["exact"] = {"base": number > 2, "prompted": number > 1, "lookup": None, "tuned": number > 9}
    return summarise(results)


def test_all_rows_and_the_plot_come_first_and_slices_are_built_when_they_are_opened(narrow):
    widget = card.verdict(results_by_slice())
    view = widget.view
    assert [line["text"].split(":")[0] for line in view["lines"]] == ["all", "part 0", "part 1"]
    widget.view = {**view, "lines": [view["lines"][0], *view["lines"][1:] * 500], "scores": view["scores"] * 300}
    page = narrow.page.locator(f"#{narrow.mount(widget, 'VerdictCard')}")
    assert page.evaluate("card => card.querySelectorAll('*').length") < 300
    plot, slices = page.locator(".etabli-forest"), page.get_by_text("On 1,000 slices: ")
    tops = [part.bounding_box()["y"] for part in (page.get_by_role("listitem").first, plot, slices)]
    assert tops == sorted(tops)
    expect(page.get_by_role("listitem")).to_have_text([view["lines"][0]["text"]])
    slices.click()
    expect(page.get_by_role("listitem")).to_have_count(1_001)
    page.get_by_text("All scores").click()
    expect(page.get_by_role("group", name="Scores").locator("tr")).to_have_count(1 + len(widget.view["scores"]))
    assert page.bounding_box()["height"] < 2_000
    twin = widget.html()
    assert twin.index("all: tuned") < twin.index("etabli-forest") < twin.index("<summary>On 1,000 slices: ")


@pytest.mark.parametrize("name", ["lookup", "tuned"])
def test_a_system_without_a_score_has_its_line(narrow, name):
    results = hostile_markup.evaluation()
    for row in results["rows"]:
        row["errors"] = {}
        row["values"]["exact"] = {**dict.fromkeys(results["arms"], 1.0), name: None}
    widget = card.verdict(summarise(results))
    page = narrow.page.locator(f"#{narrow.mount(widget, 'VerdictCard')}")
    lines = page.locator(".etabli-forest tr:has(td)")
    assert [line.split()[0] for line in lines.all_inner_texts()] == ["tuned", "base", "prompted", "lookup"]
    note = f"— 0 of {len(results['rows'])} scored"
    expect(lines.filter(has_text=name).locator("td").nth(1)).to_have_text(note)
    assert widget.html().count(f"0 of {len(results['rows'])} scored") == 1


def test_each_system_stands_over_its_own_interval(narrow):
    """The intervals of shares lie on a scale from 0 to 100 %: an independent reading of the drawn boxes gives them."""
    results = results_by_slice()
    page = narrow.page.locator(f"#{narrow.mount(card.verdict(results), 'VerdictCard')}")
    score = next(one for one in results["scores"] if (one["name"], one["slice"]) == ("exact", "all"))
    for name in ("tuned", "base", "prompted"):
        own = page.locator(".etabli-forest tr", has=narrow.page.get_by_role("cell", name=name, exact=True)).first
        frame, reach = own.locator(".etabli-own").bounding_box(), own.locator(".etabli-own span").bounding_box()
        drawn = [reach["x"] - frame["x"], reach["x"] + reach["width"] - frame["x"]]
        expected = [score["arms"][name][bound] * frame["width"] for bound in ("low", "high")]
        assert drawn == pytest.approx(expected, abs=1.5)


def test_a_verdict_without_rows_says_so(narrow):
    widget = card.verdict(summarise({**hostile_markup.evaluation(), "rows": []}))
    page = narrow.page.locator(f"#{narrow.mount(widget, 'VerdictCard')}")
    expect(page.get_by_text("No score is left to be shown.")).to_be_visible()
    expect(page.get_by_text("All scores")).to_be_hidden()
    twin = widget.html()
    assert "No score is left" in twin and "All scores" not in twin
