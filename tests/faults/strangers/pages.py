"""Opens pages in Chromium and tells what they run, ask for, or take as markup."""

import base64
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

QUIET = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run"]


def chromium() -> str | None:
    """Where Chromium is, if it is anywhere."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


# Elements and attributes that a text must never become. ``hit(`` and the stranger's host stand in every payload.
_LOOK = """() => {
  const holes = [];
  const marks = ["hit(", "stranger.invalid"];
  const hostile = (text) => marks.some((mark) => (text || "").includes(mark));
  const walk = (root) => {
    for (const node of root.querySelectorAll("*")) {
      const name = node.tagName.toLowerCase();
      for (const {name: key, value} of node.attributes) {
        const acting = ["srcdoc", "style", "srcset", "data", "action", "formaction"];
        const active = key.startsWith("on") || acting.includes(key);
        const link = ["href", "src", "xlink:href"].includes(key) && /^\\s*(javascript|data|vbscript):/i.test(value);
        if (hostile(value) && (active || link)) holes.push(`<${name} ${key}=${value.slice(0, 80)}>`);
        if (hostile(value) && ["img", "link", "iframe", "object", "embed", "script", "base", "use", "source", "video"]
            .includes(name)) holes.push(`<${name} ${key}=${value.slice(0, 80)}>`);
        if (hostile(key)) holes.push(`<${name} with the attribute ${key.slice(0, 80)}>`);
      }
      if (["math", "marquee", "base", "portal", "frameset"].includes(name)) holes.push(`<${name}>`);
      if (name === "meta" && /refresh/i.test(node.httpEquiv || "")) holes.push("<meta refresh>");
      if (node.shadowRoot) walk(node.shadowRoot);
      if (name === "template") walk(node.content);
    }
  };
  walk(document);
  return [...new Set(holes)].slice(0, 5);
}"""
_MOUNT = """<!doctype html><meta charset=utf-8><style>{css}</style><div class=etabli id=el></div>
<script type=module>
const bytes = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
const read = (text) => new TextDecoder().decode(bytes(text));
const state = JSON.parse(read("{state}"));
const listeners = {{}};
const model = {{
  get: (key) => state[key], set: (key, value) => {{ state[key] = value; }}, save_changes() {{}}, send() {{}},
  on: (key, act) => {{ (listeners[key] ??= []).push(act); }}, off() {{}},
}};
const module = await import("data:text/javascript;charset=utf-8;base64,{esm}");
const el = document.getElementById("el");
const started = module.default.initialize ? await module.default.initialize({{model}}) : null;
await module.default.render({{model, el}});
for (const acts of Object.values(listeners)) for (const act of acts) {{ try {{ act(); }} catch {{}} }}
window.mounted = true;
</script>"""


@dataclass
class Seen:
    """What happened since the last page was opened."""

    hits: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Watcher:
    """A page of a browser whose network is cut off, and what it tried."""

    def __init__(self, browser: Any):
        self.seen = Seen()
        self._context = browser.new_context()
        self._context.expose_function("hit", lambda number: self.seen.hits.append(str(number)))
        self._context.route("**/*", self._route)
        self._page = self._context.new_page()
        self._page.on("dialog", self._dialog)
        self._page.on("pageerror", lambda error: self.seen.errors.append(str(error)[:150]))

    def _route(self, route: Any) -> None:
        address = route.request.url
        if address == self._address or address.startswith(("data:", "blob:")):
            route.continue_()
        else:
            self.seen.asked.append(address[:150])
            route.abort()

    def _dialog(self, dialog: Any) -> None:
        self.seen.dialogs.append(dialog.message)
        dialog.dismiss()

    def open(self, path: Path) -> list[tuple[str, str]]:
        """Open a page, or mount a widget's state; returns what got through, as (kind, detail)."""
        self.seen = Seen()
        page = mounted(path) if path.suffix == ".state" else path
        self._address = page.as_uri()
        self._page.goto(self._address, wait_until="load", timeout=60_000)
        self._page.evaluate("() => { for (const one of document.querySelectorAll('details')) one.open = true; }")
        self._page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))")
        markup = self._page.evaluate(_LOOK)
        return self._told(markup)

    def _told(self, markup: Iterable[str]) -> list[tuple[str, str]]:
        ran = [("executed", f"hit({number})") for number in self.seen.hits]
        ran += [("executed", f"dialog {text}") for text in self.seen.dialogs]
        asked = [("fetched", address) for address in dict.fromkeys(self.seen.asked)]
        broken = [("unexplained", text) for text in self.seen.errors]
        return [*ran, *asked, *(("markup", text) for text in markup), *broken]

    def close(self) -> None:
        """Close it."""
        self._context.close()


def mounted(path: Path) -> Path:
    """A page that renders a widget's own script with a state, as JupyterLab would."""
    held = json.loads(path.read_text(encoding="utf-8", errors="surrogatepass"))

    def packed(text: str) -> str:
        return base64.b64encode(text.encode("utf-8", "replace")).decode()

    page = path.with_suffix(".mounted.html")
    state = packed(json.dumps(held["state"], ensure_ascii=True))
    page.write_text(_MOUNT.format(css=held["css"], state=state, esm=packed(held["esm"])), encoding="utf-8")
    return page


def inert(watcher: Watcher, place: Path, tell: Callable[[str, str, str, str], None]) -> int:
    """Open every page below a folder; ``tell(kind, attack, page, detail)`` of what got through. Returns how many."""
    paths = sorted(
        path for path in place.rglob("*") if path.suffix in (".html", ".state") and ".mounted" not in path.name
    )
    for path in paths:
        for kind, detail in watcher.open(path):
            tell(kind, path.parent.name, path.name, detail)
    return len(paths)
