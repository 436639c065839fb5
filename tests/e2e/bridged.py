"""Widgets in a page without Jupyter: the real scripts and styles, joined to the real Python object.

The page loads style and module as anywidget does. A message of the page calls ``Widget.received`` here, and what
changed in Python goes back. So an order of eleven widgets takes a second, not a minute; the journeys use JupyterLab.
"""

import contextlib
import json
import re
import sys
from pathlib import Path
from typing import Any

THEMES = Path(sys.prefix) / "share/jupyter/lab/themes/@jupyterlab"
HOME = "http://widgets.invalid/"
MOUNT = """async ([id, name, esm, css, state, root]) => {
  if (!document.getElementById("css-" + name)) {
    const style = document.createElement("style");
    style.id = "css-" + name;
    style.textContent = css;
    document.head.append(style);
  }
  const url = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
  const { default: widget } = await import(url);
  const heard = {};
  let dirty = {};
  const fire = (event, ...args) => [...(heard[event] ?? [])].forEach((call) => call(...args));
  const take = (answer) => {
    if (!answer) return;
    Object.assign(state, answer.state);
    for (const trait of Object.keys(answer.state)) fire("change:" + trait);
    for (const message of answer.messages) fire("msg:custom", message);
  };
  const model = {
    get: (trait) => state[trait],
    set(trait, value) {
      const values = typeof trait === "string" ? { [trait]: value } : trait;
      Object.assign(state, values);
      Object.assign(dirty, values);
      for (const key of Object.keys(values)) fire("change:" + key);
    },
    save_changes() { toKernel(id, { state: dirty }).then(take); dirty = {}; },
    on(events, call) { for (const event of events.split(" ")) (heard[event] ??= new Set()).add(call); },
    off(events, call) { for (const event of events.split(" ")) heard[event]?.delete(call); },
    send(content) { toKernel(id, { content }).then(take); },
  };
  const el = document.createElement("div");
  el.id = id;
  document.querySelector(root).append(el);
  window.models = { ...window.models, [id]: { take, model, fire } };
  window.undo = { ...window.undo, [id]: await widget.render({ model, el }) };
}"""


class Bench:
    """A page on which widgets are mounted."""

    def __init__(self, browser: Any, theme: str = "light", width: int = 1280):
        self.context = browser.new_context(viewport={"width": width, "height": 1400})
        self.page = self.context.new_page()
        self.asked: list[str] = []
        self.problems: list[str] = []
        self.answering, self.heard = True, 0
        self._widgets: dict[str, Any] = {}
        self._known: dict[str, dict[str, Any]] = {}
        self._messages: dict[str, list[Any]] = {}
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.context.expose_function("toKernel", self._receive)
        css = (THEMES / f"theme-{theme}-extension/index.css").read_text(encoding="utf-8")
        dark = json.dumps(theme == "light")
        body = "<div class=tab id=tab-1></div><div class=tab id=tab-2></div>"
        self.html = (
            f"<!doctype html><html lang=en><meta charset=utf-8><title>Widgets</title><style>{css}\n{SHELL}</style>"
        )
        self.html += f'<body class="jp-Notebook" data-jp-theme-light={dark}><div role=main>{body}</div>'
        self.context.route("**/*", self._answer)
        self.page.goto(HOME)

    def _answer(self, route: Any) -> None:
        if route.request.url == HOME:
            route.fulfill(body=self.html, content_type="text/html; charset=utf-8")
        else:
            self.asked.append(route.request.url)
            route.abort()

    def mount(self, widget: Any, name: str, root: str = "#tab-1") -> str:
        """Show a widget; returns the id of its element."""
        at = f"{name}-{len(self._widgets)}"
        self._widgets[at], self._messages[at] = widget, []
        widget.send = lambda content, buffers=None: self._messages[at].append(content)
        state = _as_json(widget)
        self._known[at] = state
        self.page.evaluate(MOUNT, [at, name, str(widget._esm), str(widget._css), state, root])
        return at

    def _receive(self, at: str, sent: dict[str, Any]) -> dict[str, Any] | None:
        self.heard += 1
        if not self.answering:
            return None
        widget = self._widgets[at]
        if "content" in sent:
            widget.received(sent["content"])
        else:
            self._known[at].update(sent["state"])
            for name, value in sent["state"].items():
                setattr(widget, name, value)
        return self._news(at)

    def _news(self, at: str) -> dict[str, Any]:
        now = _as_json(self._widgets[at])
        news = {name: value for name, value in now.items() if self._known[at].get(name) != value}
        self._known[at] = now
        messages, self._messages[at] = self._messages[at], []
        return {"state": news, "messages": messages}

    def sync(self, at: str) -> None:
        """Bring what Python has changed by itself into the page."""
        self.page.evaluate("([at, news]) => window.models[at].take(news)", [at, self._news(at)])

    def close(self) -> None:
        """Close the page."""
        with contextlib.suppress(Exception):
            self.context.close()


# What a notebook's page does to the elements in it: the same names of classes, and widths of its own.
SHELL = """body { margin: 0; background: var(--jp-layout-color1); color: var(--jp-ui-font-color1); }
.tab { padding: 12px; max-width: 100%; box-sizing: border-box; }
.tab > div { margin-bottom: 24px; }"""


def _as_json(widget: Any) -> dict[str, Any]:
    state = widget.get_state()
    state = {name: value for name, value in state.items() if not re.match(r"_(esm|css|model|view|dom|anywidget)", name)}
    return dict(json.loads(json.dumps({name: state[name] for name in state if name not in ("layout", "tooltip")})))


GEOMETRY = """(el) => {
  const origin = el.getBoundingClientRect();
  const names = ["display", "position", "color", "backgroundColor", "fontSize", "fontWeight", "paddingLeft",
    "marginTop", "borderLeftWidth", "whiteSpace", "textAlign", "overflowX", "gridTemplateColumns", "lineHeight",
    "opacity", "minHeight"];
  return [el, ...el.querySelectorAll("*")].map((node) => {
    const box = node.getBoundingClientRect();
    const style = getComputedStyle(node);
    const round = (value) => Math.round(2 * value) / 2;
    const name = String(node.className?.baseVal ?? node.className).slice(0, 60);
    const isShown = box.width || box.height; // what is hidden lies nowhere
    const place = isShown ? [box.x - origin.x, box.y - origin.y] : [0, 0];
    return [node.tagName, name, ...[...place, box.width, box.height].map(round), ...names.map((key) => style[key])];
  });
}"""


def geometry(page: Any, at: str, expected: list[Any] | None = None, polls: int = 40) -> list[Any]:
    """Return box and styles of every element of a widget, once they rest, or once they are what is expected."""
    last: list[Any] = []
    for _ in range(polls):
        now: list[Any] = page.locator(f"#{at}").evaluate(GEOMETRY)
        if now == expected or (expected is None and now == last):
            return now
        last = now
        page.wait_for_timeout(100)  # timers of the page go on meanwhile
    return last


def differences(now: list[Any], alone: list[Any]) -> list[str]:
    """Describe the first elements of a widget that are not what they are alone."""
    if len(now) != len(alone):
        return [f"{len(now)} elements instead of {len(alone)}"]
    return [f"{seen[:6]} instead of {kept[:6]}" for seen, kept in zip(now, alone) if seen != kept][:3]
