"""``ThresholdPairs``: choose how alike is too alike by reading the pairs at the border."""

from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, style, visible
from etabli_widgets.markup import Markup, element, fragment


class ThresholdPairs(Widget):
    """A slider, what it puts away, and the pairs closest to it on both sides with what differs.

    ``source`` has ``filter``, ``floor``, ``value``, ``at(value)`` and ``choose(value)``:
    ``etabli.curation.threshold.Threshold``. ``look`` and ``choose`` are the code paths of slider and button.
    """

    _esm = script("threshold_pairs", "difference")
    _css = style("threshold_pairs")

    filter = traitlets.Unicode(help="near or semantic").tag(sync=True)
    floor = traitlets.Float(help="The least threshold").tag(sync=True)
    value = traitlets.Float(help="The threshold that is looked at").tag(sync=True)
    chosen = traitlets.Float(help="The threshold in the recipe").tag(sync=True)
    seen = traitlets.Dict(help="value, rows, gone, pairs, border").tag(sync=True)

    def __init__(self, source: Any, **traits: Any):
        self._source = source
        about = {"filter": source.filter, "floor": source.floor, "chosen": source.value, "value": source.value}
        super().__init__(**about, seen=source.at(source.value), **traits)

    def look(self, value: float) -> dict[str, Any]:
        """Look at another threshold; returns what it does."""
        self.value, self.seen = value, self._source.at(value)
        return self.seen

    def choose(self, value: float | None = None) -> float:
        """Take a threshold, by default the one looked at, into the recipe; returns it."""
        if value is not None:
            self.look(value)
        self._source.choose(self.value)
        self.chosen = self.value
        return self.value

    @message(value=float)
    def on_look(self, fields: dict[str, Any]) -> None:
        """The slider was moved."""
        self.error = ""
        self.look(fields["value"])

    @message(value=float)
    def on_choose(self, fields: dict[str, Any]) -> None:
        """The button was pressed."""
        self.choose(fields["value"])

    def html(self) -> Markup:
        """The border as static HTML."""
        pairs = [*map(_pair, self.seen["border"])] or element("p", "No pair is so much alike.")
        return fragment(element("p", self._said()), pairs)

    def _said(self) -> str:
        seen = self.seen
        gone = "" if seen["gone"] is None else f" puts {seen['gone']} of {seen['rows']} rows away"
        return f"{self.filter} at {seen['value']:.2f}{gone} ({seen['pairs']} pairs)."

    def __repr__(self) -> str:
        return f"ThresholdPairs: {self._said()}"


def _pair(pair: dict[str, Any]) -> Markup:
    tags = {"same": "span", "out": "del", "in": "ins", "cut": "small"}
    difference = (element(tags[kind], visible(text)) for kind, text in pair["difference"])
    side = "put away" if pair["above"] else "both stay"
    head = element("small", f"{pair['likeness']:.3f} {side}")
    return element("section", head, element("pre", difference, class_="etabli-difference"))
