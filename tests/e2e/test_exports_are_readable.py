"""In every exported page each letter lies on top at its own place: nothing covers it, and it runs over nothing."""

import nbformat
import pytest
from widget_samples import SAMPLES, results

import hostile_markup
from etabli.app import notebooks, report
from etabli.checks.check import check
from etabli.evaluation import card

HOME = "http://page.invalid/"
# Of every letter that is not scrolled out of view: the topmost element at its middle has to be the one it stands in.
UNFOLD = """() => {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
  return Math.max(document.documentElement.scrollHeight, document.body.scrollHeight);
}"""
COVERED = """() => {
  const seenThrough = (parent, x, y) => {
    for (let node = parent; node && node !== document.body; node = node.parentElement) {
      if (getComputedStyle(node).overflow === "visible") continue;
      const box = node.getBoundingClientRect();
      if (x < box.left || x > box.right || y < box.top || y > box.bottom) return true;
    }
    return false;
  };
  const covered = [];
  let letters = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const parent = text.parentElement;
    if (parent.closest("script, style, select, .plot") || !parent.checkVisibility()) continue;
    for (let at = 0; at < text.length; at += text.length > 300 ? 7 : 1) {
      if (!text.data[at].trim()) continue;
      const range = document.createRange();
      range.setStart(text, at);
      range.setEnd(text, at + 1);
      const box = range.getBoundingClientRect();
      const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
      if (!box.width || seenThrough(parent, x, y)) continue;
      letters += 1;
      const top = document.elementFromPoint(x, y);
      if (top !== parent) covered.push(`${text.data.slice(0, 40)}[${at}] in ${parent.tagName}.${parent.className}: ` +
        `${top?.tagName}.${top?.className}`);
    }
  }
  return [letters, covered.slice(0, 8)];
}"""


def letters_of(browser, html, width, dark=False):
    """Return how many letters a page shows, and which of them something else covers."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light")
    page = context.new_page()

    def answer(route):
        if route.request.url == HOME:
            route.fulfill(body=html, content_type="text/html; charset=utf-8")
        else:
            route.abort()

    context.route("**/*", answer)
    page.goto(HOME, wait_until="load")
    page.set_viewport_size({"width": width, "height": page.evaluate(UNFOLD) + 100})  # a point beyond it is nowhere
    seen = page.evaluate(COVERED)
    context.close()
    return seen


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A notebook with every widget's twin and a data check, as it lies on the disk after a session."""
    folder = tmp_path_factory.mktemp("exports")
    rows = [{"prompt": f"Where is harbour {number}?", "completion": ""} for number in range(6)]
    outputs = [_two_outputs(make(folder)._bundle()) for make in SAMPLES.values()]
    outputs.append([{"text/html": check(rows)._repr_html_()}])
    cells = [
        nbformat.v4.new_code_cell(
            "widget", outputs=[nbformat.v4.new_output("display_data", data=data) for data in parts]
        )
        for parts in outputs
    ]
    return nbformat.v4.new_notebook(cells=cells)


def _two_outputs(bundle):
    """The HTML twin, and the live widget, whose state no page has."""
    twin = {name: bundle[name] for name in ("text/plain", "text/html")}
    return [twin, {name: value for name, value in bundle.items() if name not in twin}]


def by_nbconvert(template):
    def export(book, folder):
        from nbconvert import HTMLExporter

        return HTMLExporter(template_name=template).from_notebook_node(book)[0]

    return export


def our_page(book, folder):
    notebooks.to_html(book, folder / "page.html")
    return (folder / "page.html").read_text(encoding="utf-8")


def verdict_page(book, folder):
    card.write_page(results(), folder / "verdict.html")
    return (folder / "verdict.html").read_text(encoding="utf-8")


def report_page(book, folder):
    return report.page(results(), hostile_markup.run_with(folder, "x"), 60)


EXPORTS = {
    "nbconvert lab": by_nbconvert("lab"),
    "nbconvert classic": by_nbconvert("classic"),
    "our notebook page": our_page,
    "verdict": verdict_page,
    "report": report_page,
}


@pytest.mark.parametrize("width", [1280, 1000, 700])
@pytest.mark.parametrize("name", EXPORTS)
def test_nothing_covers_a_letter(browser, book, tmp_path, name, width):
    html = EXPORTS[name](book, tmp_path)
    letters, covered = letters_of(browser, html, width)
    assert letters > 1000 and not covered
    assert "−" in html, "a difference with its sign is on the page"


def test_a_bar_over_a_sign_is_found(browser, book, tmp_path):
    html = EXPORTS["nbconvert lab"](book, tmp_path)
    broken = html.replace(
        "</head>", "<style>.etabli.etabli.etabli-verdict-card .etabli-bar{left:100%;right:-100%}</style></head>", 1
    )
    assert letters_of(browser, broken, 1000)[1]
