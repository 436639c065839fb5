"""Hostile texts in every place of every widget and page, live and exported, in Chromium and in Firefox.

Nothing runs, nothing is asked of the network, and no element is there that harmless texts would not give. The network
is a proxy of our own. An unsafe widget and page show that the test would see it.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bridged import _as_json
from firefox import FIREFOX, NO_FIREFOX, Firefox
from owned_network import HOST, Answer, OwnedNetwork
from payload_parts import ADDRESS, COUNT, payload
from planting import DRESSES, Place, places, plant
from test_pages_are_inert import bare, checked, notebook, whole, without_policy
from widget_samples import SAMPLES

from conftest import RESULTS
from etabli.core.pages import sanitise

HARMLESS = "plainest"
MOST_ITEMS = 6
STRIDE = 1 if RESULTS else 8  # of the payloads, or rounds
ROUNDS_RUN = len(range(0, COUNT, STRIDE))
HOME = f"http://{HOST}/"
HIT = """() => {
  window.hits = [];
  window.hit = (number) => { try { top.hits.push(number); } catch { top.postMessage({ hit: number }, "*"); } };
  addEventListener("message", ({ data }) => { if (data && "hit" in data) window.hits.push(data.hit); });
}"""
UNSAFE = "export default { render: ({ model, el }) => { el.innerHTML = model.get('text'); } };"
SCRIPT = Path(__file__).with_name("injection_page.js").read_text(encoding="utf-8")
PAGES = ("twins", "report", "check", "notebook")
TWINS = "exported twins"  # of all widgets, sanitised by nbconvert: seconds a page, so fewer rounds
BITS = [("map_shown",), ("marks", "bits")]  # marks of rows, packed: no texts of anybody
MARKDOWN = ("notebook", TWINS)


def opened_samples(folder: Path) -> dict[str, Any]:
    """Return the widgets, each with as much open as can be."""
    widgets = {name: sample(folder) for name, sample in SAMPLES.items()}
    gap = widgets["VerdictCard"].view["gaps"][0]
    rows = widgets["VerdictCard"].look(score=gap["score"], slice=gap["slice"], against=gap["against"], which="broken")
    assert rows, "no rows are open"
    for widget in widgets.values():
        widget.error = widget.error or "An error."
    return widgets


def full_state(name: str, widget: Any) -> dict[str, Any]:
    """Return the traits of a widget, and what its HTML twin takes from elsewhere."""
    state = _as_json(widget)
    del state["comm_id"]
    if name == "TokenDiff":
        state["_rows"] = widget._rows
    if name == "VerdictCard":
        state["_picked"] = widget.opened["rows"]
    if name == "DatasetTable":
        state["_lines"] = widget._source.lines(0, 60)
    return dict(shortened(json.loads(json.dumps(state))))


def shortened(value: Any) -> Any:
    """Return a JSON value with the first few items of every list: lists side by side keep one length."""
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    return [shortened(item) for item in value[:MOST_ITEMS]] if isinstance(value, list) else value


def put_state(widget: Any, state: dict[str, Any]) -> None:
    """Give a widget what ``full_state`` returned, with other texts."""
    for trait, value in state.items():
        if trait == "_rows":
            widget._rows = value
        elif trait == "_picked":
            widget._pick = lambda query, rows=value: rows
        elif trait == "_lines":
            widget._source = SimpleNamespace(lines=lambda start, stop, lines=value: lines[start:stop])
        else:
            setattr(widget, trait, value)


class Matrix:
    """Which text stands where in which round. Each payload comes into each place once, as one of three dresses."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.widgets = opened_samples(folder)
        self.states = {name: full_state(name, widget) for name, widget in self.widgets.items()}
        self.usable: dict[str, dict[Place, set[int]]] = {}  # place -> dresses that leave the widget whole
        self.shown: dict[str, set[Place]] = {}

    def texts(self, name: str, number: int) -> Callable[[Place, int, str], str]:
        """Return what the texts of a widget become in a round."""
        order = {place: index for index, place in enumerate(self.usable[name])}

        def text_of(place: Place, copy: int, text: str) -> str:
            which = (number + 37 * order[place] + copy) % COUNT
            dresses = sorted(self.usable[name][place])
            return DRESSES[dresses[(which + order[place]) % len(dresses)]](text, payload(which))

        return text_of

    def planted(self, name: str, number: int) -> dict[str, Any]:
        """Return a widget's state in a round."""
        planted = plant(self.states[name], set(self.usable[name]), self.texts(name, number))
        return dict(planted)

    def harmless(self, name: str) -> dict[str, Any]:
        """Return a widget's state with harmless texts in all places."""
        usable = self.usable[name]
        planted = plant(
            self.states[name], set(usable), lambda place, copy, text: DRESSES[max(usable[place])](text, HARMLESS)
        )
        return dict(planted)

    def twins(self, number: int | None) -> str:
        """Return the HTML twins of all widgets, in a round or with harmless texts."""
        for name, widget in self.widgets.items():
            put_state(widget, self.harmless(name) if number is None else self.planted(name, number))
        return "".join(widget._bundle()["text/html"] for widget in self.widgets.values())

    def page(self, kind: str, number: int | None) -> str:
        """Return a page of ``PAGES`` in a round, without its policy: what escaping alone does."""
        text = HARMLESS if number is None else payload(number)
        makers: dict[str, Callable[[], str]] = {
            "twins": lambda: bare(self.twins(number)),
            "report": lambda: whole(text, self.folder),
            "check": lambda: bare(checked(text)),
            "notebook": lambda: notebook(text, self.folder),
            "exported twins": lambda: notebook(self.twins(number), self.folder),
            "unsafe": lambda: bare(text if stays(text) else ""),
        }
        return without_policy(makers[kind]())


@pytest.fixture(scope="module")
def network() -> Iterator[OwnedNetwork]:
    network = OwnedNetwork()
    yield network
    network.close()


@pytest.fixture(scope="module", params=["Chromium", "Firefox"])
def page(request: pytest.FixtureRequest, network: OwnedNetwork) -> Iterator[Any]:
    """A page of a browser, all of whose requests go to our own network."""
    if request.param == "Firefox":
        if FIREFOX is None:
            pytest.skip(NO_FIREFOX)
        firefox = Firefox(network.port)
        yield firefox.new_page(HIT)
        firefox.close()
        return
    browser = request.getfixturevalue("browser")
    context = browser.new_context(proxy={"server": f"http://127.0.0.1:{network.port}", "bypass": "<-loopback>"})
    context.add_init_script(f"({HIT})()")
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    return Matrix(tmp_path_factory.mktemp("planted"))


def responder(matrix: Matrix) -> Callable[[str, bytes], Answer | None]:
    """Return what the network answers: the trying page, widgets, states and pages of a round."""

    def made(path: str) -> Answer | None:
        kind, _, rest = path.lstrip("/").partition("/")
        if kind == "":
            return "text/html; charset=utf-8", f"<!doctype html><meta charset=utf-8><script>{SCRIPT}</script>".encode()
        if kind == "widgets":
            sources = {name: {"esm": str(one._esm), "css": str(one._css)} for name, one in matrix.widgets.items()}
            return "application/json", json.dumps({**sources, "Unsafe": {"esm": UNSAFE, "css": ""}}).encode()
        if kind == "states":
            return "application/json", json.dumps([[n, matrix.planted(n, int(rest))] for n in matrix.states]).encode()
        if kind == "pages":
            name, _, number = rest.replace("%20", " ").partition("/")
            if number != "harmless" and not number.isdecimal():
                return None
            html = matrix.page(name, None if number == "harmless" else int(number))
            return "text/html; charset=utf-8", html.encode("utf-8", "replace")
        return None

    return lambda path, body: made(path)


def begin(page: Any, network: OwnedNetwork, matrix: Matrix) -> None:
    """Load the trying page and all widgets, and learn once which places leave a widget whole."""
    network.answer = responder(matrix)
    page.goto(HOME)
    page.evaluate("async () => load(await read('/widgets'))")
    if not matrix.usable:
        for name in matrix.states:
            matrix.usable[name] = usable_places(page, matrix, name)
            (harmless,) = page.evaluate("jobs => tryStates(jobs)", [[name, marked(matrix, name)]])
            assert not harmless["error"], (name, harmless["error"])
            order = list(matrix.usable[name])
            matrix.shown[name] = {place for number, place in enumerate(order) if f"q{number}z" in harmless["text"]}
    network.asked.clear()
    page.evaluate("() => { window.hits.length = errors.length = 0; }")


def marked(matrix: Matrix, name: str) -> dict[str, Any]:
    """Return a state in which each place has a mark of its own."""
    order = {place: number for number, place in enumerate(matrix.usable[name])}
    planted = plant(matrix.states[name], set(order), lambda place, copy, text: f"{text}q{order[place]}z")
    return dict(planted)


def usable_places(page: Any, matrix: Matrix, name: str) -> dict[Place, set[int]]:
    """Return the places that can hold another text, and in which dresses: the widget and its twin are drawn with it.

    A name of a field that is not shown is the widget's own, and no text of anybody.
    """
    state = matrix.states[name]
    tries = [
        (place, dress, plant(state, {place}, lambda _, copy, text, dress=dress: DRESSES[dress](text, HARMLESS)))
        for place in places(state)
        if place not in BITS
        for dress in range(len(DRESSES))
        if not (place[0] == "name" and dress)
    ]
    usable: dict[Place, set[int]] = {}
    for start in range(0, len(tries), 12):
        part = tries[start : start + 12]
        told = page.evaluate("jobs => tryStates(jobs)", [[name, planted] for _, _, planted in part])
        for (place, dress, planted), one in zip(part, told):
            is_shown = HARMLESS in one["text"] or place[0] != "name"
            if is_shown and not one["error"] and is_drawn(matrix.widgets[name], planted, state):
                usable.setdefault(place, set()).add(dress)
    return usable


def is_drawn(widget: Any, state: dict[str, Any], before: dict[str, Any]) -> bool:
    """Can a widget have this state, and make its twin of it?"""
    try:
        put_state(widget, state)
        widget._bundle()
    except Exception:
        return False
    finally:
        put_state(widget, before)
    return True


def is_sanitised(shape: str) -> bool:
    """Is an element one that a notebook's Markdown may make? None that runs or loads anything is."""
    tag, *attributes = shape.split()
    return tag in sanitise.TAGS and {*attributes} <= {*sanitise.ATTRIBUTES["*"], *sanitise.ATTRIBUTES.get(tag, ())}


def strange(seen: list[str], harmless: list[str]) -> list[str]:
    """Return the elements that are there only with hostile texts."""
    return sorted({*seen} - {*harmless})


@pytest.fixture
def ready(page: Any, network: OwnedNetwork, matrix: Matrix) -> Any:
    begin(page, network, matrix)
    return page


def browser_name(request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.params["page"])


def test_an_unsafe_widget_and_an_unsafe_page_are_seen(
    ready: Any, network: OwnedNetwork, count: Any, request: Any
) -> None:
    """The control: the same texts, not escaped."""
    staying = filter(stays, map(payload, range(COUNT)))
    jobs = [["Unsafe", {"text": text}] for text in staying]
    told = ready.evaluate("async jobs => { await tryStates(jobs, false); await settled(); return window.hits; }", jobs)
    assert len({*told}) > 40, len({*told})
    seen = ready.evaluate("runPages", [["unsafe"], 0, COUNT, 1])
    obeyed = {*map(str, told), *map(str, seen["hits"]), *(address.rsplit("/", 1)[1] for address in addresses(network))}
    count(f"injection, control, {browser_name(request)}", {"payloads": COUNT, "obeyed by an unsafe page": len(obeyed)})
    assert len(obeyed) > 200 and len(addresses(network)) > 60, (len(obeyed), len(addresses(network)))
    assert strange(seen["seen"]["unsafe"], ["html", "head", "body", "meta charset", "title", "main"])


def stays(text: str) -> bool:
    """Does a text leave the page where it is, where it is obeyed? The others would end the control."""
    return "refresh" not in text and "form" not in text and "<base" not in text


def addresses(network: OwnedNetwork) -> set[str]:
    """Return the attacker's addresses that were asked for."""
    return {address for address in network.asked if address.startswith(ADDRESS)}


def test_live_widgets(ready: Any, network: OwnedNetwork, matrix: Matrix, count: Any, request: Any) -> None:
    told = ready.evaluate("runStates", [0, COUNT, STRIDE])
    assert told["hits"] == [] and network.asked == []
    shown = {name: len(matrix.shown[name]) for name in matrix.states}
    for name, seen in told["seen"].items():
        (harmless,) = ready.evaluate("jobs => tryStates(jobs)", [[name, matrix.harmless(name)]])
        assert strange(seen["shapes"], harmless["shapes"]) == [], name
        assert seen["errors"] == [], name
        assert shown[name] >= 1, name  # RoundTrip has one
    assert told["errors"] == []
    cells = {
        "payloads": ROUNDS_RUN,
        "places": shown,
        "tried": ROUNDS_RUN * sum(shown.values()),
        "executed": 0,
        "requests": 0,
    }
    count(f"injection, live, {browser_name(request)}", cells)


def test_exported_pages(ready: Any, network: OwnedNetwork, matrix: Matrix, count: Any, request: Any) -> None:
    told = ready.evaluate("runPages", [list(PAGES), 0, COUNT, STRIDE])
    twins = ready.evaluate("runPages", [[TWINS], 0, COUNT, 32 * min(STRIDE, 4)])
    assert twins["hits"] == [] and network.asked == [] and network.errors == []
    for kind, seen in {**told["seen"], **twins["seen"]}.items():
        harmless = ready.evaluate("async kind => (await tryPages([`/pages/${kind}/harmless`]))[0]", kind)
        assert len(harmless) > 5, (kind, "was not loaded")
        assert [shape for shape in strange(seen, harmless) if kind not in MARKDOWN or not is_sanitised(shape)] == [], (
            kind
        )
    places_in_twins = sum(len(usable) for usable in matrix.usable.values())
    tried = ROUNDS_RUN * (places_in_twins + len(PAGES) - 1)
    cells = {"payloads": ROUNDS_RUN, "pages": [*PAGES, TWINS], "places in twins": places_in_twins, "tried": tried}
    count(f"injection, exported, {browser_name(request)}", {**cells, "executed": 0, "requests": 0})
