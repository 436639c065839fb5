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


LEFTS = """(lines) => lines.map((line) => [...line.children].slice(0, 3).map((cell) => {
  const text = document.createRange();
  text.selectNodeContents(cell);
  const [box, letters] = [cell.getBoundingClientRect(), text.getBoundingClientRect()];
  return [Math.round(box.left), Math.round(box.right), letters.left >= box.left - 1 && letters.right <= box.right + 1];
}))"""


def rtl_report():
    """A report of which one sentence is Hebrew, one is very long, and a name has a direction mark."""
    rows = [*ROWS, {"prompt": "When?", "completion": "\u202eabc\u202c"}]
    widget = etabli.check(rows).show()
    first, second, *others = widget.view["groups"]
    groups = [
        {**first, "why": "\u05e9\u05dc\u05d5\u05dd (1) \u05e2\u05d5\u05dc\u05dd"},
        {**second, "why": "word " * 60},
        *others,
    ]
    widget.view = {**widget.view, "name": "mails\u202e.csv", "groups": groups}
    return widget


@pytest.mark.parametrize("width", [1280, 480])
@pytest.mark.parametrize("is_live", [True, False])
def test_the_columns_of_all_lines_are_those_of_the_heads(browser, width, is_live):
    bench, widget = Bench(browser, width=width), rtl_report()
    if is_live:
        at = bench.mount(widget, "CheckReport")
        page = bench.page.locator(f"#{at}")
    else:
        bench.page.set_content(str(widget._twin_bundle()["text/html"]))
        page = bench.page.locator(".etabli-twin")
    expect(page).to_contain_text("mails\\u202e.csv")
    assert "\u202e" not in page.inner_text()
    lines = page.locator(".etabli-finding")
    heads, *others = lines.evaluate_all(LEFTS)
    assert len(others) == len(widget.view["groups"]) > 2
    for cells in others:
        assert [cell[:2] for cell in cells] == [cell[:2] for cell in heads]
        assert all(inside for *_, inside in cells)
    assert len({str(cells) for cells in others}) == 1
    texts = lines.nth(1).locator("> *").all_inner_texts()
    first = widget.view["groups"][0]
    assert texts == [str(first["count"]), first["why"], first["code"]], "the sentence stands before the code"
    bench.close()


def test_findings_are_grouped_by_severity(bench, report):
    names = report.locator(".etabli-severity").all_inner_texts()
    assert names == ["Errors", "Warnings", "Info"][: len(names)] and len(names) > 1
    for label, severity in zip(names, ("error", "warning", "info")):
        codes = report.get_by_role("list", name=label, exact=True).locator("code").all_inner_texts()
        found = {finding["code"] for finding in etabli.check(ROWS).findings() if finding["severity"] == severity}
        assert set(codes) == found
    assert 'leave_out=["error"]' in report.locator(".etabli-next").inner_text()


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
