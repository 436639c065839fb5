"""4.5:1 for every text, in light and dark: widgets in each of their states, and pages."""

import pytest
from bridged import Bench, geometry
from contrast import low_contrast
from test_exports_are_readable import EXPORTS, HOME, book  # noqa: F401  (a fixture)
from widget_samples import SAMPLES

THEMES = ["light", "dark"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("samples")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", SAMPLES)
def test_every_text_of_a_widget_can_be_read(browser, folder, name, theme):
    bench = Bench(browser, theme)
    widget = SAMPLES[name](folder)
    at = bench.mount(widget, name)
    geometry(bench.page, at)
    states = [low_contrast(bench.page, f"#{at}")]
    for label in ("Shade by loss", "KL", "rank"):
        for button in bench.page.get_by_text(label, exact=True).all():
            button.click()
            states.append(low_contrast(bench.page, f"#{at}"))
    for state in ("failed", "completed", "stopping"):
        if name == "RunMonitor":
            widget.state, widget.why = state, "no room"
            bench.sync(at)
            states.append(low_contrast(bench.page, f"#{at}"))
    widget.error = "ValueError: an error that is shown"
    bench.sync(at)
    states.append(low_contrast(bench.page, f"#{at}"))
    bench.close()
    assert all(count for count, _ in states) and [low for _, low in states if low] == []


def test_pale_text_is_found(browser, folder):
    bench = Bench(browser)
    at = bench.mount(SAMPLES["RunMonitor"](folder), "RunMonitor")
    bench.page.add_style_tag(content=".etabli.etabli small { opacity: 0.5 }")
    assert low_contrast(bench.page, f"#{at}")[1]
    bench.close()


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", EXPORTS)
def test_every_text_of_a_page_can_be_read(browser, book, tmp_path, name, theme):  # noqa: F811
    if theme == "dark" and name.startswith("nbconvert"):
        pytest.skip("nbconvert's pages are light")
    html = EXPORTS[name](book, tmp_path)
    context = browser.new_context(color_scheme=theme)
    page = context.new_page()
    context.route(
        "**/*",
        lambda route: (
            route.fulfill(body=html, content_type="text/html; charset=utf-8")
            if route.request.url == HOME
            else route.abort()
        ),
    )
    page.goto(HOME)
    count, low = low_contrast(page, ".etabli" if name.startswith("nbconvert") else "body")
    context.close()
    assert count > 30 and not low
