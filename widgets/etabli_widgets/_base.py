"""What all widgets share: joined scripts and styles, an HTML twin, and errors that are shown.

anywidget loads a module from a blob URL, where relative imports can't resolve, so the shared script and theme are
joined to each widget's own. What a page may call is declared by ``message``. ipywidgets swallows what an ``observe`` or
message callback raises; ``shown`` puts it into the ``error`` trait instead, which every widget displays.
"""

import functools
import logging
import math
import re
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import anywidget
import traitlets

from etabli_widgets.markup import Markup, covered, element, fragment

STATIC = Path(__file__).parent / "static"
MOST_UNKNOWN = 20  # unknown names that are logged: a page that sends ever new ones fills no log
log = logging.getLogger("etabli_widgets")


def script(*names: str) -> str:
    """The shared script and the named ones, as one ES module."""
    return "\n".join((STATIC / f"{name}.js").read_text(encoding="utf-8") for name in ("shared", *names))


def style(*names: str) -> str:
    """The theme and a widget's own styles."""
    return "\n".join((STATIC / f"{part}.css").read_text(encoding="utf-8") for part in ("theme", *names))


_FOREIGN = "[\u0300-\u1fff\u2100-\ufefe\U00010000-\U0010ffff]"
_JOINED = f"(?!(?<={_FOREIGN})[\u200c\u200d](?={_FOREIGN}))"  # between two signs that are not Latin joiners may stay
_UNSEEN = re.compile(
    _JOINED + "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)


def visible(text: str) -> str:
    """Text in which nothing is hidden or obeyed: the same signs are written out in static/shared.js."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def shown(method: Callable) -> Callable:
    """Put what a callback raises into the widget's ``error`` trait."""

    @functools.wraps(method)
    def guarded(self: "Widget", *args: Any) -> Any:
        try:
            return method(self, *args)
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"

    return guarded


def message(**fields: Any) -> Callable[[Callable], Callable]:
    """Declare that the page's message NAME calls the method ``on_NAME``. A page can call no other method.

    Args:
        fields: the type of each field of the message: ``float`` is any finite number, ``str | None`` may be left out.
            The method gets a dict of the fields that are there, and nothing else that the page has sent.
    """

    def declare(method: Callable) -> Callable:
        method.fields = fields
        return method

    return declare


def _fits(value: Any, kind: Any) -> bool:
    kinds = get_args(kind) or (kind,)
    if isinstance(value, bool):  # which Python takes for a whole number
        return bool in kinds
    if isinstance(value, int) and float in kinds:  # JSON writes 1.0 as 1
        return abs(value) < 2**53
    return isinstance(value, kinds) and not (isinstance(value, float) and not math.isfinite(value))


def _wrong_field(content: dict[str, Any], fields: dict[str, Any]) -> str:
    """What is wrong with the first field that does not fit, in words; nothing if all do."""
    for name, kind in fields.items():
        if not _fits(content.get(name), kind):
            wanted = " or ".join(getattr(one, "__name__", str(one)) for one in get_args(kind) or (kind,))
            return f"{name} is {reprlib.repr(content.get(name))}; it has to be {wanted}"
    return ""


class Widget(anywidget.AnyWidget):
    """Base of all widgets."""

    error = traitlets.Unicode("", help="What went wrong last, shown in the widget").tag(sync=True)

    _data: tuple[str, ...] = ()  # traits that a person edits: covered, a secret's cover would be saved in its place

    def __init__(self, **traits: Any):
        super().__init__(**traits)
        self._unknown: set[str] = set()
        self.on_msg(lambda _, content, buffers: self.received(content))

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The state as the page gets it, without secrets."""
        return covered(super().get_state(*args, **kwargs), ("_esm", "_css", *self._data))

    def send(self, content: Any, buffers: Any = None) -> None:
        """Send a message to the page, without secrets."""
        super().send(covered(content), buffers)

    def html(self) -> Markup:
        """The widget's state as static HTML."""
        return fragment(repr(self))

    def received(self, content: Any) -> None:
        """Answer a message from the page: ``{"type": "stop", ...}`` calls ``on_stop``, if ``message`` declares it.

        Other messages are passed over and logged once. If a field is wrong, nothing is called and ``error`` says which
        field; what the method raises is put into ``error`` too.
        """
        name = content.get("type") if isinstance(content, dict) else None
        handler = getattr(type(self), f"on_{name}", None) if isinstance(name, str) else None
        fields = getattr(handler, "fields", None)
        if fields is None:
            self._pass_over(name)
        elif wrong := _wrong_field(content, fields):
            self.error = visible(f"ValueError: the page's message {name!r} was passed over: {wrong}.")
        else:
            shown(handler)(self, {field: content[field] for field in fields if content.get(field) is not None})

    def _pass_over(self, name: Any) -> None:
        label = visible(reprlib.repr(name))
        if label not in self._unknown and len(self._unknown) < MOST_UNKNOWN:
            self._unknown.add(label)
            log.warning("%s: the page's message %s is not known and was passed over.", type(self).__name__, label)

    def _bundle(self) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_()
        data = bundle[0] if isinstance(bundle, tuple) else bundle or {}
        wrong = element("p", self.error, class_="etabli-error") if self.error else None
        twin = element("div", self.html(), wrong, class_="etabli")
        both = str(element("style", Markup(self._css)) + twin)
        return {**data, "text/plain": covered(repr(self)), "text/html": both}

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._bundle(), {}

    def _ipython_display_(self, **kwargs: Any) -> None:
        # Displayed under an id, so that the twin can be refreshed; and ipywidgets 7's own method would leave it out.
        from IPython.display import display

        display(self._bundle(), raw=True, display_id=self.model_id)

    def refresh(self) -> None:
        """Bring the HTML twin in the notebook up to date: it is frozen when displayed."""
        from IPython.display import update_display

        update_display(self._bundle(), raw=True, display_id=self.model_id)
