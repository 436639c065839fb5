"""``RoundTrip``: tests whether a widget in this page reaches the kernel, and the kernel the widget."""

from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, style
from etabli_widgets.markup import Markup, element

MENDS = (
    "pip install --upgrade anywidget ipywidgets, then reload the page; on Colab first: "
    "from google.colab import output; output.enable_custom_widget_manager()"
)


class RoundTrip(Widget):
    """The page sends the time, the kernel sends it back, and the page shows how long that took.

    ``ok`` is True after a message has come. If the page shows only the twin, it ran no script.
    """

    _esm = script("round_trip")
    _css = style("round_trip")

    ok = traitlets.Bool(False, help="Has a message come from a page?").tag(sync=True)
    pong = traitlets.Float(0.0, help="The time that the page sent last, in ms").tag(sync=True)
    mends = traitlets.Unicode(MENDS, help="What to do if no answer comes").tag(sync=True)

    @message(time=float)
    def on_ping(self, fields: dict[str, Any]) -> None:
        """Send the page's time back."""
        self.ok, self.pong = True, fields["time"]

    def html(self) -> Markup:
        """Return the text for a page that shows no widgets."""
        if self.ok:
            return element("p", "A message went from a page to the kernel and back.")
        return element("p", f"No widget is shown here: this page ran no script. {self.mends}")

    def __repr__(self) -> str:
        return f"RoundTrip: {'a page reached the kernel' if self.ok else 'no page has reached the kernel yet'}"
