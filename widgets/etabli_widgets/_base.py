"""What all widgets share: joined scripts and styles, an HTML twin, and errors that are shown.

anywidget loads a module from a blob URL, where relative imports can't resolve, so the shared script and theme are
joined to each widget's own. ipywidgets swallows what an ``observe`` or message callback raises; ``shown`` puts it into
the ``error`` trait instead, which every widget displays.
"""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from etabli_widgets.markup import Markup, element, fragment

STATIC = Path(__file__).parent / "static"


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


class Widget(anywidget.AnyWidget):
    """Base of all widgets."""

    error = traitlets.Unicode("", help="What went wrong last, shown in the widget").tag(sync=True)

    def __init__(self, **traits: Any):
        super().__init__(**traits)
        self.on_msg(lambda _, content, buffers: self.received(content))

    def html(self) -> Markup:
        """The widget's state as static HTML."""
        return fragment(repr(self))

    @shown
    def received(self, message: dict[str, Any]) -> None:
        """A message from the page: ``{"type": "stop", ...}`` calls ``on_stop(message)``."""
        handler = getattr(self, f"on_{message.get('type')}", None)
        if handler is not None:
            handler(message)

    def _bundle(self) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_()
        data = bundle[0] if isinstance(bundle, tuple) else bundle or {}
        wrong = element("p", self.error, class_="etabli-error") if self.error else None
        twin = element("div", self.html(), wrong, class_="etabli")
        return {**data, "text/plain": repr(self), "text/html": str(element("style", Markup(self._css)) + twin)}

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
