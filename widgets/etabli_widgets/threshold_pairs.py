"""``ThresholdPairs``: choose a similarity threshold by reading the pairs of rows closest to it."""

from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, style
from etabli_widgets.markup import Markup, element, fragment, quantity


class ThresholdPairs(Widget):
    """A slider, the number of rows that it rejects, and the pairs closest to it on both sides with their differences.

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
        initial_traits = {"filter": source.filter, "floor": source.floor, "chosen": source.value, "value": source.value}
        super().__init__(**initial_traits, seen=source.at(source.value), **traits)

    def look(self, value: float) -> dict[str, Any]:
        """Show another threshold, and return its effect."""
        self.value, self.seen = value, self._source.at(value)
        return self.seen

    def choose(self, value: float | None = None) -> float:
        """Put a threshold, by default the shown one, into the recipe, and return it."""
        if value is not None:
            self.look(value)
        self._source.choose(self.value)
        self.chosen = self.value
        return self.value

    @message(value=float)
    def on_look(self, fields: dict[str, Any]) -> None:
        """Handle a moved slider."""
        self.error = ""
        self.look(fields["value"])

    @message(value=float)
    def on_choose(self, fields: dict[str, Any]) -> None:
        """Handle the button."""
        self.choose(fields["value"])

    def html(self) -> Markup:
        """Return the pairs closest to the threshold as static HTML."""
        pairs = [*map(_pair, self.seen["border"])] or element("p", "No pair is so much alike.")
        return fragment(element("p", self._summary()), pairs)

    def _summary(self) -> str:
        effect = self.seen
        rejected_rows = (
            "" if effect["gone"] is None else f" removes {effect['gone']:,} of {quantity(effect['rows'], 'row')}"
        )
        return f"{self.filter} at {effect['value']:.2f}{rejected_rows} ({quantity(effect['pairs'], 'pair')})."

    def __repr__(self) -> str:
        return f"ThresholdPairs: {self._summary()}"


def _pair(pair: dict[str, Any]) -> Markup:
    tags = {"same": "span", "out": "del", "in": "ins", "cut": "small"}
    difference = (element(tags[kind], text) for kind, text in pair["difference"])
    head = element("small", f"{pair['likeness']:.3f} · {pair['outcome']}")
    return element("section", head, element("pre", difference, class_="etabli-difference"))
