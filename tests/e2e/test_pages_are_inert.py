"""Hostile texts in every page, in a real browser: nothing runs, nothing is fetched.

Escaping and policy are tried apart: pages without their policy, and a page with a policy whose texts are not escaped.
"""

import json
import re

import nbformat
import pytest
from playwright.sync_api import Error

import etabli_widgets
import hostile_markup
from etabli.app import notebooks, report
from etabli.core.pages import figures, render
from etabli.core.pages.notebook import PLOTLY
from etabli.evaluation import card
from hostile_markup import HARMLESS, TEXTS, evaluation_with, run_with

HOME = "http://page.invalid/"
SETTLE = """() => new Promise(done => {
  for (const one of document.querySelectorAll("details")) one.open = true;
  for (const one of document.querySelectorAll("[autofocus], [onmouseover], a, input")) {
    one.dispatchEvent(new MouseEvent("mouseover"));
    one.focus();
  }
  requestAnimationFrame(() => setTimeout(done, 0));
})"""
MARKS = """() => [...document.querySelectorAll("*")].flatMap(one => [...one.attributes]
  .filter(({name, value}) => name.startsWith("on") || /^\\s*(javascript|data:text)/i.test(value))
  .map(({name, value}) => name + "=" + value))"""


class Watched:
    """A page that is loaded from memory. What else it asks for is refused and written down, and what it runs too."""

    def __init__(self, browser):
        self.context = browser.new_context()
        self.page = self.context.new_page()
        self.html, self.ran, self.asked, self.refused = "", [], [], []
        self.context.expose_binding("hit", lambda source, name="?": self.ran.append(name))
        self.context.route("**/*", self._answer)
        self.page.on("dialog", lambda dialog: (self.ran.append(dialog.message), dialog.dismiss()))
        self.page.on("console", self._hear)

    def _answer(self, route):
        if route.request.url == HOME:
            route.fulfill(body=self.html, content_type="text/html; charset=utf-8")
        else:
            self.asked.append(route.request.url)
            route.abort()

    def _hear(self, message):
        if "Content Security Policy" in message.text:
            self.refused.append(message.text)

    def load(self, html):
        """Load a page, open, hover and focus everything; returns what ran, what was asked for and what could run."""
        self.html, self.ran, self.asked, self.refused = html, [], [], []
        try:
            self.page.goto(HOME, wait_until="load")
            self.page.evaluate(SETTLE)
            return self.ran, self.asked, self.page.evaluate(MARKS)
        except Error as error:  # it was led elsewhere
            return self.ran, self.asked, [str(error)]


@pytest.fixture
def watched(browser):
    opened = Watched(browser)
    yield opened
    opened.context.close()


def without_policy(page):
    """The page as it is if its policy did not hold: what escaping alone does."""
    return re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page, count=1)


def bare(body):
    return f"<!doctype html><meta charset=utf-8><title>x</title><main>{body}</main>"


def parts(extra, folder):
    """What a notebook shows of ours: twins of widgets and a data check, in which every text is or ends in another."""
    log = run_with(folder, extra).events()
    past = [{"prompt": extra, "answers": {extra: {"text": extra}}, "temperature": extra}]
    monitor = etabli_widgets.RunMonitor(events=log, name=extra, notes=[extra])
    monitor.error = extra
    chat = etabli_widgets.ChatCompare({extra: iter}, past=past)
    shown = [monitor, chat, card.verdict(evaluation_with(extra)), etabli_widgets.RoundTrip(mends=extra)]
    return bare("".join(widget._bundle()["text/html"] for widget in shown) + checked(extra))


def checked(extra):
    """A data check of a file that holds the text in its names, fields, records and answers."""
    from etabli.checks.check import check

    rows = [{"instruction": extra, "output": extra}, {"instruction": extra, "output": "", extra: extra}]
    shown = check(rows)
    shown.name, shown.format["reason"] = extra, extra
    shown.format["preview"] += [extra]
    return shown._repr_html_()


def whole(extra, folder):
    return report.page(evaluation_with(extra), run_with(folder, extra), 60)


def notebook(extra, folder):
    """A notebook whose text, code and every kind of output are the text."""
    output, data = nbformat.v4.new_output, ("text/html", "text/markdown", "text/latex", "text/plain", "image/svg+xml")
    outputs = [output("display_data", data={mime: extra}) for mime in (*data, "application/javascript")]
    outputs += [output("stream", text=extra), output("error", ename="E", evalue=extra, traceback=[extra])]
    cells = [nbformat.v4.new_markdown_cell(extra), nbformat.v4.new_code_cell(extra, outputs=outputs)]
    notebooks.to_html(nbformat.v4.new_notebook(cells=cells), folder / "page.html")
    return (folder / "page.html").read_text()


@pytest.mark.parametrize("kind", [whole, parts, notebook])
def test_escaping_alone_lets_nothing_run_or_fetch(watched, kind, tmp_path):
    for name in TEXTS:
        found = watched.load(without_policy(kind(hostile_markup.text(name), tmp_path)))
        assert found == ([], [], []), name


LEADS_ELSEWHERE = "meta-refresh"  # no policy forbids that; escaping does


def test_the_policy_alone_lets_nothing_run_or_fetch(watched, browser):
    """A page into which a text has come as markup; and that it would run and fetch if the policy were not there."""
    page = render("verdict.html.j2", subject="x", twin="HERE")
    unguarded, caught = Watched(browser), 0
    for name in [name for name in TEXTS if name != LEADS_ELSEWHERE]:
        hostile = page.replace("HERE", hostile_markup.text(name))
        ran, asked, _ = unguarded.load(without_policy(hostile))
        caught += bool(ran or asked)
        ran, asked, marks = watched.load(hostile)
        assert (ran, asked) == ([], []) and not any("navigation" in mark for mark in marks), name
    unguarded.context.close()
    assert caught > 45, "these texts are not hostile"


def test_figures_are_drawn_under_their_policy_and_run_nothing_else(watched):
    import plotly.graph_objects as go

    texts = {name: hostile_markup.text(name) for name in TEXTS}
    figure = go.Figure(layout={"height": 3000})
    for extra in texts.values():
        hover = render("hover.html.j2", asked=extra, answer=extra, row=extra)
        figure.add_scattergl(x=[1, 2], y=[2, 1], name=figures.text(extra), text=[hover, extra], hoverinfo="text")
    assert watched.load(figures.page(figure, texts["end-title"])) == ([], [], [])
    page = watched.page
    assert page.locator(".plot .scatterlayer").count() == 1 and not watched.refused
    legend = page.locator(".legendtext").all_text_contents()
    assert len(legend) == len(TEXTS) and legend[list(TEXTS).index("img-src")] == texts["img-src"]
    page.locator(".scatterlayer .point").first.hover(force=True)
    for trace, extra in zip(figure.data, texts.values()):
        trace.name = extra  # as somebody's own figure might have it: plotly itself reads a little HTML
    assert watched.load(figures.page(figure, "x"))[:2] == ([], [])
    assert not watched.page.locator(".legendtext a[*|href^=javascript]").count()


def test_another_script_in_a_page_of_figures_does_not_run(watched):
    import plotly.graph_objects as go

    page = figures.page(go.Figure().add_scatter(y=[1, 2]), "x")
    ran, asked, _ = watched.load(
        page.replace("<h1>", "<script>hit('script')</script><img src=y onerror=hit('img')><h1>")
    )
    assert not ran and not asked and len(watched.refused) >= 3


def test_pages_look_as_they_should_without_a_network(watched, tmp_path):
    """Styles hold: the chart has its lines, the card its bars, one widget's rules do not reach another's twin."""
    assert watched.load(whole(HARMLESS, tmp_path)) == ([], [], []) and not watched.refused
    style = "([part, name]) => getComputedStyle(document.querySelector(part))[name]"
    assert watched.page.evaluate(style, [".etabli-run-monitor .etabli-loss", "strokeWidth"]) == "1.5px"
    assert watched.page.evaluate(style, [".etabli-verdict-card .etabli-forest .etabli-bar", "position"]) == "absolute"
    assert watched.page.evaluate(style, [".etabli-verdict-card td", "fontVariantNumeric"]) == "tabular-nums"
    assert watched.page.evaluate(style, [".etabli-run-monitor td", "fontVariantNumeric"]) == "normal"
    watched.page.emulate_media(color_scheme="dark")
    assert watched.page.evaluate(style, ["body", "backgroundColor"]) == "rgb(22, 24, 28)"
    watched.page.set_viewport_size({"width": 360, "height": 800})
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 360, "only tables scroll sideways"


def test_a_figure_in_a_notebook_is_drawn_once_for_all(watched, tmp_path):
    import plotly.graph_objects as go

    drawing = {PLOTLY: json.loads(go.Figure().add_scattergl(y=[1, 2]).to_json())}
    outputs = [nbformat.v4.new_output("display_data", data=drawing)] * 2
    cells = [nbformat.v4.new_code_cell("figure", outputs=outputs)]
    notebooks.to_html(nbformat.v4.new_notebook(cells=cells), tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert watched.load(html) == ([], [], []) and not watched.refused
    assert watched.page.locator(".plot .scatterlayer").count() == 2 and len(html) < 6e6
