"""The base of all widgets: joined scripts and styles, an HTML twin, and errors that are shown.

anywidget loads a module from a blob URL, where relative imports can't work. So the shared script and theme are joined
with each widget's own. ``message`` declares what a page may call. ipywidgets hides errors of ``observe`` and message
callbacks; ``show_errors`` puts them into the ``error`` trait, which every widget displays.
"""

import functools
import json
import logging
import math
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import anywidget
import traitlets

from etabli_widgets.markup import GLOSSARY, Markup, cover_secrets, element, fragment, visible

Method = TypeVar("Method", bound=Callable[..., Any])
STATIC = Path(__file__).parent / "static"
MOST_UNKNOWN = 20  # unknown names that are logged, so that a page can't fill the log
log = logging.getLogger("etabli_widgets")


def script(name: str, *parts: str) -> str:
    """Return the shared script, the named parts and the widget's own script, as one ES module."""
    heads = [f"const ROOT = {root_classes(name)!r};", f"const GLOSSARY = {json.dumps(GLOSSARY)};"]
    return "\n".join([*heads, *_read_static("js", ["shared", *parts, name])])


def style(name: str, *parts: str) -> str:
    """Return the theme, the named parts and the widget's own styles, nested in a rule for the widget's root element.

    A page of JupyterLab is one document, tabs included: outside of such a rule each widget would restyle all others.
    """
    rules = "\n".join(_read_static("css", ["theme", *parts, name]))
    return f"{''.join(f'.{root}' for root in root_classes(name))} {{\n{rules}\n}}"


def root_classes(name: str) -> list[str]:
    """Return the classes of a widget's root element: the one of all widgets, and its own."""
    return ["etabli", f"etabli-{name.replace('_', '-')}"]


def _read_static(suffix: str, names: list[str]) -> list[str]:
    files = (STATIC / f"{name}.{suffix}" for name in names)
    return [file.read_text(encoding="utf-8") for file in files if file.exists()]


def show_errors(method: Method) -> Method:
    """Put an error that a callback raises into the widget's ``error`` trait."""

    @functools.wraps(method)
    def call(self: "Widget", *args: Any) -> Any:
        try:
            return method(self, *args)
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"

    return cast(Method, call)


def message(**fields: Any) -> Callable[[Method], Method]:
    """Declare that the page's message NAME calls the method ``on_NAME``. A page can call no other method.

    Args:
        fields: the type of each field of the message: ``float`` is any finite number, ``str | None`` may be left out.
            The method gets a dict with only these fields of the page's message.
    """

    def declare(method: Method) -> Method:
        method.fields = fields  # type: ignore[attr-defined]  # read by Widget.received
        return method

    return declare


def _fits(value: object, kind: Any) -> bool:
    kinds = get_args(kind) or (kind,)
    if isinstance(value, bool):  # Python counts a bool as an int
        return bool in kinds
    if isinstance(value, int) and float in kinds:  # JSON writes 1.0 as 1
        return abs(value) < 2**53
    return isinstance(value, kinds) and not (isinstance(value, float) and not math.isfinite(value))


def _wrong_field(content: dict[str, Any], fields: dict[str, Any]) -> str:
    """Describe the first field of a wrong type; an empty text if there is none."""
    for name, kind in fields.items():
        if not _fits(content.get(name), kind):
            type_names = " or ".join(getattr(item, "__name__", str(item)) for item in get_args(kind) or (kind,))
            return f"{name} is {reprlib.repr(content.get(name))}; it has to be {type_names}"
    return ""


class Widget(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget has no types
    """Base of all widgets."""

    error = traitlets.Unicode("", help="The last error; the widget shows it").tag(sync=True)

    comm_id = traitlets.Unicode("", help="By which the page asks the kernel whether it has this widget").tag(sync=True)

    _data: tuple[str, ...] = ()  # traits that a person edits; they stay uncovered, or the cover would be saved

    def __init__(self, **traits: Any):
        super().__init__(**traits)
        self._unknown: set[str] = set()
        self._is_displayed = False
        self.comm_id = self.model_id or ""
        self.on_msg(lambda _, content, buffers: self.received(content))

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the state for the page, with secrets covered."""
        state = cover_secrets(super().get_state(*args, **kwargs), ("_esm", "_css", *self._data))
        return cast(dict[str, Any], state)

    def send(self, content: Any, buffers: Any = None) -> None:
        """Send a message to the page, with secrets covered."""
        super().send(cover_secrets(content), buffers)

    def html(self) -> Markup:
        """Return the widget's state as static HTML."""
        return fragment(repr(self))

    def in_root(self, *content: Any, also: str | None = None) -> Markup:
        """Return static HTML within a root element, to which the widget's styles apply. ``also``: one more class."""
        classes = str(self._css).split(" {", 1)[0].replace(".", " ").split()
        return element("div", content, class_=" ".join([*classes, also] if also else classes))

    def received(self, content: Any) -> None:
        """Answer a message from the page: ``{"type": "stop", ...}`` calls ``on_stop``, if ``message`` declares it.

        Other messages are ignored and logged once. If a field has a wrong type, nothing is called and ``error`` names
        the field. An error of the method is put into ``error`` too. A message with a number (``message``) is
        acknowledged with it.
        """
        try:
            self._call_handler(content)
        finally:  # the page waits for it: what is not answered is said to be lost
            if isinstance(content, dict) and isinstance(number := content.get("message"), int):
                self.send({"type": "answered", "message": number})

    def _call_handler(self, content: Any) -> None:
        name = content.get("type") if isinstance(content, dict) else None
        if name == "saved":  # asks only whether somebody is there
            return
        handler = getattr(type(self), f"on_{name}", None) if isinstance(name, str) else None
        fields = getattr(handler, "fields", None)
        if handler is None or fields is None:
            self._log_unknown(name)
        elif wrong := _wrong_field(content, fields):
            self.error = visible(f"ValueError: the page's message {name!r} was passed over: {wrong}.")
        else:
            show_errors(handler)(self, {field: content[field] for field in fields if content.get(field) is not None})

    def _log_unknown(self, name: object) -> None:
        label = visible(reprlib.repr(name))
        if label not in self._unknown and len(self._unknown) < MOST_UNKNOWN:
            self._unknown.add(label)
            log.warning("%s: the page's message %s is not known and was passed over.", type(self).__name__, label)

    def _bundle(self) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_()
        data = bundle[0] if isinstance(bundle, tuple) else bundle or {}
        return {**data, **self._twin_bundle()}

    def _twin_bundle(self) -> dict[str, Any]:
        wrong = element("p", self.error, class_="etabli-error") if self.error else None
        page = str(element("style", Markup(self._css)) + self.in_root(self.html(), wrong, also="etabli-twin"))
        return {"text/plain": cover_secrets(repr(self)), "text/html": page}

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._bundle(), {}

    def _ipython_display_(self, **kwargs: Any) -> None:
        """Leave two outputs: the HTML twin, which every front end shows, and the live widget, which hides the twin.

        In one output JupyterLab would prefer the widget, and write an error where its model is missing. The twin's
        display has an id, so that it can be refreshed. ipywidgets 7's own method would leave the twin out.
        """
        from IPython.display import display

        twin = self._twin_bundle()
        display(twin, raw=True, display_id=self.model_id)
        self._is_displayed = True
        live = {name: value for name, value in self._bundle().items() if name not in twin}
        if live:
            display(live, raw=True)

    def refresh(self) -> None:
        """Update the HTML twin in the notebook, if it was displayed: without this it stays as it was then."""
        from IPython.display import update_display

        if self._is_displayed:
            update_display(self._twin_bundle(), raw=True, display_id=self.model_id)
