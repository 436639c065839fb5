"""The check report in Chromium: a click opens its rows, a severity hides the others, row numbers are copied."""

import pytest
from bridged import Bench
from playwright.sync_api import expect

import etabli

ROWS = [
    *({"prompt": f"Where is {n}?", "completion": ""} for n in range(30)),
    {"prompt": "Who?", "completion": "👋 <b>Well</b>, as an AI, I have no idea."},
]


@pytest.fixture
def bench(browser):
    opened = Bench(browser)
    yield opened
    opened.close()


@pytest.fixture
def report(bench):
    at = bench.mount(etabli.check(ROWS).show(), "CheckReport")
    return bench.page.locator(f"#{at}")


def finding(report, code):
    return report.locator("button.etabli-finding", has_text=code)


def test_a_click_opens_the_rows_and_marks_the_part(report):
    button = finding(report, "ai-disclaimer")
    expect(button).to_have_attribute("aria-expanded", "false")
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(report.locator("article mark")).to_have_text("as an AI, I")
    assert "👋 <b>Well</b>" in report.locator("article pre").last.inner_text(), "what a row says is text"
    finding(report, "empty-answer").click()
    expect(report.locator("article")).to_have_count(25)
    report.get_by_role("button", name="Show more").click()
    expect(report.locator("article")).to_have_count(30)
    report.get_by_role("button", name="Close").press("Escape")
    expect(report.locator("article")).to_have_count(0)
    expect(finding(report, "empty-answer")).to_be_focused()


def test_a_severity_hides_the_others(report):
    report.get_by_role("button", name="30 errors").click()
    expect(finding(report, "ai-disclaimer")).to_be_hidden()
    expect(finding(report, "empty-answer")).to_be_visible()
    report.get_by_role("button", name="all").click()
    expect(finding(report, "ai-disclaimer")).to_be_visible()


def test_row_numbers_are_copied_or_shown(bench, report):
    """A page that isn't served safely has no clipboard: then the numbers are shown, selected."""
    finding(report, "ai-disclaimer").click()
    report.get_by_role("button", name="Copy the row numbers").click()
    field = report.get_by_label("Row numbers")
    expect(field).to_have_value("30")
    assert field.evaluate("field => field.selectionEnd - field.selectionStart") == 2
    bench.page.evaluate(
        "Object.defineProperty(navigator, 'clipboard', "
        "{ value: { writeText: async (text) => { window.copied = text; } } })"
    )
    finding(report, "empty-answer").click()
    report.get_by_role("button", name="Copy the row numbers").click()
    expect(report.get_by_text("Copied.")).to_be_visible()
    assert bench.page.evaluate("window.copied") == ", ".join(map(str, range(30)))


def test_nothing_found_says_what_was_looked_at(bench):
    rows = [{"prompt": f"Where is {n}?", "completion": f"It lies there, {n}."} for n in range(3)]
    at = bench.mount(etabli.check(rows, licence="CC0-1.0", source="mine", model="default").show(), "CheckReport")
    report = bench.page.locator(f"#{at}")
    expect(report.get_by_text("Nothing found.")).to_be_visible()
    expect(report.get_by_text("safety: python-stdnum")).to_be_visible()
    assert not report.locator("button.etabli-finding").count()
