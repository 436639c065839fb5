"""Pages are the same markup whatever the texts in them say; here without a browser, in tests/e2e with one."""

import ast
import json
import re
import traceback
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from traitlets import TraitError

import etabli
import etabli_widgets
import hostile_markup
import seal_sample
import test_widgets as parts
from etabli.app import notebooks, report
from etabli.checks.view import check_view
from etabli.core.pages import BASE_POLICY, FOLDER, figures
from etabli.core.pages.sanitise import ATTRIBUTES, sanitise_html
from etabli.evaluation import card
from hostile_markup import HARMLESS, TEXTS, evaluation_with, leaves, planted, replaced, run_with

VALUES = {"class", "content", "href", "http-equiv", "src", "style", "type"}  # attributes whose values may not change


class Outline(HTMLParser):
    """The elements of a page with their attributes, and the values of those that can run or fetch."""

    def __init__(self, page):
        super().__init__()
        self.elements = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, *((name, value if name in VALUES else "") for name, value in attrs)))

    handle_startendtag = handle_starttag

    def handle_comment(self, data):
        self.elements.append(("comment", ("text", data)))

    def handle_decl(self, decl):
        self.elements.append(("declaration", ("text", decl)))


def outline(page):
    return Outline(page).elements


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """{kind of page: function from a text to the page that has it everywhere}."""
    home = tmp_path_factory.mktemp("pages")

    def verdict(extra):
        card.write_page(evaluation_with(extra), home / "verdict.html")
        return (home / "verdict.html").read_text()

    def whole(extra):
        return report.page(evaluation_with(extra), run_with(home, extra), 60)

    return {"verdict": verdict, "report": whole, "check": checked, "overlay": overlaid(home)}


def checked(extra):
    """A data check's part of a page: the findings of two rows, in which every text ends in another."""
    from etabli.checks.check import check

    shown = check([{"instruction": "a", "input": "", "output": "N/A"}, {"instruction": "b", "output": ""}])
    found = shown.store.findings
    shown.store.findings = lambda *asked: (
        item._make(planted([*item], extra))._replace(severity=item.severity) for item in found(*asked)
    )
    shown.name += extra
    shown.lineage = {"licence" + extra: {"x" + extra: 1}}
    shown.format["preview"] = [extra]
    shown.not_run = [{"check": extra, "rows": 1, "why": extra, "fix": extra}]
    return shown._repr_html_()


def overlaid(home):
    def overlay(extra):
        page = figures.page(etabli.overlay([run_with(home, extra), run_with(home, HARMLESS)]), "loss" + extra)
        return re.sub(r"(?s)<script>.*?</script>", "<script></script>", page)  # 4 MB of plotly

    return overlay


@pytest.mark.parametrize("kind", ["verdict", "report", "check"])
def test_a_text_changes_nothing_but_text(pages, kind):
    plain = outline(pages[kind](HARMLESS))
    assert len(plain) > 15
    for name in TEXTS:
        assert outline(pages[kind](hostile_markup.text(name))) == plain, name


def test_a_figure_is_data_that_ends_no_script(pages):
    plain = outline(pages["overlay"](HARMLESS))
    for name in ("end-script", "script", "plotly", "img-error", "svg-load"):
        page = pages["overlay"](hostile_markup.text(name))
        assert outline(page) == plain and page.count("</script>") == 3, name


def raised_in_reading(error):
    """A value of a wrong type may be refused, but not by Jinja in the middle of a page."""
    return not isinstance(error, SyntaxError | AssertionError | RecursionError | MemoryError)


LEAVES = {"text": "<img src=x onerror=hit()>", "dict": {"<img>": "<script>hit()</script>"}, "list": ["<script>", 1]}


@pytest.mark.parametrize("kind", LEAVES)
def test_a_value_of_another_type_is_refused_or_text(kind, tmp_path):
    """Every number a text, every text a dict, and so on: a page with no other elements, or an error."""
    results = hostile_markup.evaluation()
    results["rows"] = results["rows"][:2]
    run = run_with(tmp_path, HARMLESS)
    known = {tag for tag, *_ in outline(report.page(results, run, 1))} | {"h4"}
    made = 0
    for path in leaves(results):
        try:
            page = report.page(replaced(results, path, LEAVES[kind]), run, 1)
        except Exception as error:
            assert raised_in_reading(error), "".join(traceback.format_exception(error))
            continue
        made += 1
        assert {tag for tag, *_ in outline(page)} <= known, path
        assert "onerror" not in {name for _, *names in outline(page) for name, _ in names}, path
    assert made > 50


def test_every_page_has_a_policy_and_fetches_nothing(pages):
    for kind in ("verdict", "report", "overlay"):
        page = pages[kind](HARMLESS)
        head = dict(re.findall(r'<meta (?:http-equiv|name)="([\w-]+)" content="([^"]*)"', page))
        assert head["referrer"] == "no-referrer" and "viewport" in head
        assert head["Content-Security-Policy"].replace("&#39;", "'").startswith(BASE_POLICY)
        assert page.index("Content-Security-Policy") < page.index("<style"), "what stands before it is not held by it"
        assert ("script-src" in head["Content-Security-Policy"]) == (kind == "overlay")
        assert not [value for tag, *names in outline(page) for name, value in names if name == "src"]


# --- notebooks ------------------------------------------------------------------------------------------------------


def notebook(*outputs, source="1 + 1", markdown="# Title"):
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    made = [nbformat.v4.new_output("display_data", data=data) for data in outputs]
    return new_notebook(cells=[new_markdown_cell(markdown), new_code_cell(source, outputs=made)])


def page_of(book, tmp_path):
    notebooks.to_html(book, tmp_path / "page.html")
    return (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("name", TEXTS)
def test_outputs_of_a_notebook_keep_only_harmless_elements(name, tmp_path):
    hostile = hostile_markup.text(name)
    outputs = [{mime: hostile} for mime in ("text/html", "text/markdown", "text/plain", "text/latex")]
    outputs += [{"application/javascript": hostile}, {"image/svg+xml": hostile}]
    book = notebook(*outputs, source=hostile, markdown=hostile)
    book.cells[1].outputs += [
        nbformat.v4.new_output("stream", name="stdout", text=hostile),
        nbformat.v4.new_output("error", ename="E", evalue=hostile, traceback=[hostile]),
    ]
    found = outline(page_of(book, tmp_path))
    body = found[[tag for tag, *_ in found].index("body") + 1 :]
    allowed = {*(name for names in ATTRIBUTES.values() for name in names), "viewbox"}
    for tag, *attributes in body:
        if tag == "img":  # a picture that is only looked at: what an image shows can't run
            assert dict(attributes)["src"].startswith("data:image/svg+xml;base64,")
            continue
        assert tag not in ("script", "style", "link", "meta", "iframe", "comment"), tag
        assert {name for name, _ in attributes} <= allowed
        assert not re.search(r"(?i)javascript:|data:|url\(", " ".join(value or "" for _, value in attributes))


def test_frames_twins_pictures_and_figures_are_shown(tmp_path):
    import pandas as pd
    import plotly.graph_objects as go
    import plotly.io

    frame = pd.DataFrame({"a<b>": ["<img src=x>", "y"]})._repr_html_()
    monitor = etabli_widgets.RunMonitor(events=hostile_markup.LOG, name="seen")._bundle()
    drawing = plotly.io.renderers["plotly_mimetype"].to_mimebundle(go.Figure().add_scattergl(y=[1, 2]).to_dict())
    picture = {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"}
    html = page_of(notebook({"text/html": frame}, monitor, drawing, picture, markdown="[on](01_data.ipynb)"), tmp_path)
    assert "<th>a&lt;b&gt;</th>" in html and '<table class="dataframe">' in html and "<b>seen</b>: failed" in html
    assert ".etabli.etabli-run-monitor {" in html and '<div class="etabli etabli-run-monitor etabli-twin">' in html
    assert re.search(r'points="[\d.]+,', html) and 'viewBox="0 0 560 180"' in html, "the chart of the losses"
    assert 'src="data:image/png;base64,iVBORw0KGgo="' in html and "&lt;Figure" not in html
    assert '"type": "scatter"' in html and html.count("Plotly.newPlot(") == 1 and html.count("plotly.js v") == 1
    assert 'href="01_data.html"' in html


def test_what_our_own_twins_need_is_kept(tmp_path, monkeypatch):
    """A sanitiser that took away what a twin is made of would show pages that are wrong, not unsafe."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "e2e")
    from widget_samples import SAMPLES

    twins = [make(tmp_path / name).html() for name, make in SAMPLES.items()]
    for twin in map(str, (*twins, checked(HARMLESS).split("</style>")[1])):
        kept, whole = outline(sanitise_html(twin)), outline(twin)
        assert names(kept) == names(whole)
        assert styles(kept) == styles(whole)


def names(elements):
    """Tags with the names of their attributes; every parser adds a tbody."""
    return [(tag, sorted(name for name, _ in attributes)) for tag, *attributes in elements if tag != "tbody"]


def styles(elements):
    return [re.sub(r"\s|;$", "", value) for _, *attributes in elements for name, value in attributes if name == "style"]


# --- the kind: no markup but in templates ---------------------------------------------------------------------------

ELSEWHERE = {"pages", "markup.py"}


def built(tree):
    """Texts that are put together in code: f-strings, +, %, format and join."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield from (part for part in node.values if isinstance(part, ast.Constant))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
            yield from (side for side in (node.left, node.right) if isinstance(side, ast.Constant))
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("format", "join", "replace"):
            yield from (part for part in (node.func.value, *node.args) if isinstance(part, ast.Constant))


def opens_a_tag(text):
    return isinstance(text, str) and re.search(r"(?i)(?<!\?P)</?(?!think>)[a-z][\w-]*([\s/>]|$)|<!(doctype|--)", text)


def test_html_is_built_in_templates_alone():
    assert opens_a_tag(next(built(ast.parse('f"<td>{x}</td>"'))).value)
    wrong = []
    for package in (etabli, etabli_widgets):
        home = Path(package.__file__).parent
        for path in home.rglob("*.py"):
            if not ELSEWHERE & set(path.relative_to(home).parts):
                lines = [part.lineno for part in built(ast.parse(path.read_text())) if opens_a_tag(part.value)]
                wrong += [f"{path.name}:{line}" for line in lines]
    assert not wrong


def test_no_template_turns_escaping_off():
    templates = list(FOLDER.glob("*.j2"))
    assert len(templates) >= 8
    for path in templates:
        text = path.read_text()
        assert not re.search(r"\|\s*safe\b|autoescape|Markup", text), path.name
        assert not re.search(r"""=\s*\{\{|<script>\s*\{\{(?! script )|\bon\w+\s*=""", text), path.name


# --- twins ----------------------------------------------------------------------------------------------------------


def test_an_element_escapes_whatever_goes_in():
    from etabli_widgets.markup import element, fragment, table

    for name in TEXTS:
        hostile = hostile_markup.text(name)
        made = fragment(hostile, element("p", [hostile, (hostile,)], class_=hostile), table([hostile], [[hostile]]))
        assert [tag for tag, *_ in outline(made)] == ["p", "table", "tr", "th", "tr", "td"]
    assert element("i", None, open_=True, hidden=False, data_part=0) == '<i open data-part="0"></i>'
    assert element("p", {"<b>": 1}, b"<b>") == "<p>{&#x27;&lt;b&gt;&#x27;: 1}b&#x27;&lt;b&gt;&#x27;</p>"


def source(**answers):
    """What a widget is fed from: an object whose methods answer the same whatever they are asked."""
    return SimpleNamespace(**{name: (lambda *_, answer=answer, **__: answer) for name, answer in answers.items()})


def ledger(seen):
    place = SimpleNamespace(name=seen["now"]["card"])
    known = {"model": seen["now"]["model"], "device": place, "stops": {}, "setup": None}
    return etabli_widgets.MemoryLedger(SimpleNamespace(**known, **vars(source(slider_positions={}, breakdown_at=seen))))


def compared(data):
    pairs = source(at=data, choose=None)
    pairs.filter, pairs.floor, pairs.value = data["filter"], 0.5, 0.8
    return etabli_widgets.ThresholdPairs(pairs)


def voted(data):
    session = source(current_pair=None, progress_text=data["watched"], reveal_as_text=data["told"])
    session.total, session.notes, session.vote_count, session.is_revealed = 2, data["said"], 1, False
    arena = etabli_widgets.BlindArena(session)
    arena.look()
    return arena


def listed(data):
    rows = source(select=40, lines=data["lines"], facets=data["facets"], histograms={}, count_marked=0)
    rows.total, rows.source_count, rows.marks = 40, 1, parts.Marks()
    return etabli_widgets.DatasetTable(rows)


HELD = parts.Memory().breakdown_at(seq=128, batch=1, rank=8, checkpointing=0)
ROWS = [parts.Rows().line(number) for number in range(3)]
WIDGETS = {
    "RunMonitor": (
        lambda data: etabli_widgets.RunMonitor(**data),
        {"events": parts.EVENTS, "name": "n", "notes": ["x"]},
    ),
    "MaskLens": (etabli_widgets.MaskLens, parts.LENS),
    "TokenDiff": (etabli_widgets.TokenDiff, {**parts.DIFFS, "rows": parts.DIFFS["rows"][:1]}),
    "TrainingFilm": (etabli_widgets.TrainingFilm, parts.FILM),
    "VerdictCard": (etabli_widgets.VerdictCard, card.view(hostile_markup.evaluation())),
    "rows of VerdictCard": (
        lambda rows: etabli_widgets.VerdictCard(card.view(hostile_markup.evaluation()), lambda asked: rows),
        card.pick_rows(hostile_markup.evaluation(), "exact", "en")[:2],
    ),
    "CheckReport": (
        lambda view: etabli_widgets.CheckReport(view, lambda code, most: {}),
        json.loads(json.dumps(check_view(etabli.check("customer-mails")))),
    ),
    "MemoryLedger": (ledger, {**HELD, "now": {**HELD["now"], "card": "t4", "model": "m"}}),
    "ThresholdPairs": (compared, {**parts.Pairs().at(0.8), "filter": "near"}),
    "BlindArena": (voted, {"watched": "w", "told": parts.Session().reveal_as_text(), "said": ["s"]}),
    "DatasetTable": (listed, {"lines": ROWS, "facets": parts.Rows().facets()}),
    "ChatCompare": (
        lambda past: etabli_widgets.ChatCompare({"base": iter}, past=past),
        [{"prompt": "p", "answers": {"base": {"text": "t"}}, "strength": 0.5}],
    ),
    "RoundTrip": (lambda data: etabli_widgets.RoundTrip(**data), {"mends": "pip"}),
    "SealCard": (etabli_widgets.SealCard, seal_sample.SEAL),
}


@pytest.mark.parametrize("name", WIDGETS)
def test_no_leaf_of_what_a_widget_is_given_becomes_markup(name):
    """Every text, and every number too, as all hostile texts at once: the same elements, or an error."""
    make, data = WIDGETS[name]
    plain = outline(make(data)._bundle()["text/html"])
    known = {tag for tag, *_ in plain} | {"small", "p", "ul", "li", "div", "b", "i", "u", "span"}
    every = " ".join(map(hostile_markup.text, TEXTS))
    shown = 0
    for path in leaves(data):
        try:
            found = outline(make(replaced(data, path, every))._bundle()["text/html"])
        except (ArithmeticError, AttributeError, KeyError, TraitError, TypeError, ValueError):
            continue  # a text where a number has to be
        shown += 1
        assert {tag for tag, *_ in found} <= known, path
        assert not [key for _, *names in found for key, _ in names if key.startswith("on") or key in ("src", "href")]
    assert shown >= len([*leaves(data)]) / 2
