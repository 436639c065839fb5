"""The banner of the mask lens in Chromium: the consequence first, and a jump to the rows that hold a run up."""

from bridged import Bench, geometry
from playwright.sync_api import expect
from widget_samples import SAMPLES


def test_the_banner_leads_to_the_rows_of_this_step(browser, tmp_path):
    bench = Bench(browser)
    at = bench.mount(SAMPLES["MaskLens"](tmp_path), "MaskLens")
    geometry(bench.page, at)
    page = bench.page.locator(f"#{at}")
    banner = page.locator(".etabli-wrong")
    lines = banner.locator("> *").all_inner_texts()
    assert lines[0] == "No run can start: 2 of 62 rows fail not-empty."
    assert [line.split(":")[0] for line in lines[1:]] == ["row r3", "row r9, not in this step"]
    fold, tokens = page.locator("details[data-row=r3]"), page.get_by_label("Tokens of row r3")
    expect(fold).not_to_have_attribute("open", "")
    banner.get_by_role("button", name="row r3").press("Enter")
    expect(tokens).to_be_focused()
    expect(tokens).to_be_in_viewport()
    assert tokens.locator(".etabli-token").count() == 40, "the row is built once"
    bench.page.keyboard.press("End")
    expect(page.locator(".etabli-told")).to_contain_text("token 39")
    banner.get_by_role("button", name="row r3").click()
    expect(fold.locator(".etabli-tokens")).to_have_count(1)
    assert not bench.problems
    bench.close()
