"""Token differences in a page: a grid of answers, the tokens of one, and those of the truth, all walked by keys."""

from bridged import Bench, geometry
from playwright.sync_api import expect
from widget_samples import SAMPLES

import etabli_widgets


def test_the_truths_tokens_are_folded_and_walked_by_keys(bench, tmp_path):
    page = bench.page.locator(f"#{bench.mount(SAMPLES['TokenDiff'](tmp_path), 'TokenDiff')}")
    geometry(bench.page, "TokenDiff-0")
    truth = page.get_by_role("application", name="Tokens of the truth")
    expect(truth).to_be_hidden()
    page.get_by_text("The truth's own tokens: tuned's first choice at 14 of 40, the base's at 3").click()
    truth.focus()
    bench.page.keyboard.press("Home")
    details = page.locator(".etabli-truth .etabli-told")
    expect(details).to_contain_text('token 0: " word0"')
    marks = truth.locator(".etabli-moved").evaluate_all("nodes => nodes.map((node) => node.dataset.other ?? '')")
    moves = SAMPLES["TokenDiff"](tmp_path).row["moves"]
    expected = [
        "tuned" if rank > 1 else "base" if base > 1 else "" for rank, base in zip(moves["rank"], moves["base_rank"])
    ]
    assert marks == expected and {*expected} == {"tuned", "base", ""}
    page.get_by_role("grid").focus()
    bench.page.keyboard.press("ArrowDown")
    expect(page.locator("p.etabli-asked")).to_contain_text("1: ")
    expect(truth).to_be_visible(), "the fold stays open at the next answer"
    assert page.locator(".etabli-told abbr", has_text="nats").first.get_attribute("title")


def test_the_answers_are_a_grid_that_keys_and_screen_readers_walk(bench, tmp_path):
    widget = SAMPLES["TokenDiff"](tmp_path)
    page = bench.page.locator(f"#{bench.mount(widget, 'TokenDiff')}")
    grid = page.get_by_role("grid", name="Answers, the most moved first")
    expect(grid.get_by_role("columnheader")).to_have_text(["question", "tokens", "largest", "whole", "KL"])
    grid.focus()
    for _ in range(len(widget.lines)):  # once more than there are lines to go down to
        bench.page.keyboard.press("ArrowDown")
    chosen = grid.get_by_role("row", selected=True)
    expect(chosen).to_have_count(1)
    expect(chosen.get_by_role("gridcell")).to_have_text([widget.lines[-1]["prompt"], "40", "3.90", "+1.00", "0.40"])
    expect(grid).to_have_attribute("aria-activedescendant", chosen.get_attribute("id"))
    expect(page.locator("p.etabli-asked")).to_contain_text("11: ")
    bench.page.keyboard.press("Home")
    expect(page.locator("p.etabli-asked")).to_contain_text("0: ")
    head, first = grid.get_by_role("columnheader").first.bounding_box(), chosen.bounding_box()
    assert first["y"] >= head["y"] + head["height"] - 1, "the heads cover no line that is chosen"
    bench.page.keyboard.press("Enter")
    bench.page.keyboard.press("Home")
    expect(page.locator(".etabli-told .etabli-token").first).to_have_text('" word0"')
    rows = page.locator(".etabli-told").first.get_by_role("row")
    assert [row.split("\t")[0] for row in rows.all_inner_texts()[1:]] == ["base", "tuned"]


def test_without_an_answer_there_is_a_sentence_and_no_empty_table(browser):
    bench = Bench(browser)
    widget = etabli_widgets.TokenDiff({"model": "SmolLM2", "of": "tuned", "said": [], "rows": []})
    page = bench.page.locator(f"#{bench.mount(widget, 'TokenDiff')}")
    expect(page.get_by_text("No answer was measured.")).to_be_visible()
    expect(page.get_by_role("grid")).to_be_hidden()
    assert not bench.problems
    bench.close()
