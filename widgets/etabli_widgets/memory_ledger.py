"""``MemoryLedger``: the memory of each phase of a run, and the memory of the card."""

from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, style
from etabli_widgets.markup import Markup, element, fragment

GIB = 2**30


class MemoryLedger(Widget):
    """Stacked bars by phase, the card's line, sliders for sequence, batch, rank and layers checkpointed.

    ``source`` is an ``etabli.memory.ledger_view.Ledger``, with ``model``, ``device``, ``stops``, ``setup``,
    ``slider_positions(setup)`` and ``breakdown_at(**keys)``. ``look`` does what the sliders do. Where a run measured
    a phase, the measurement stands in front of the forecast.
    """

    _esm = script("memory_ledger")
    _css = style("memory_ledger")

    model_name = traitlets.Unicode(help="The model").tag(sync=True)
    card = traitlets.Unicode(help="The card's name").tag(sync=True)
    stops = traitlets.Dict(help="Where each slider can stand: {name: [values]}").tag(sync=True)
    seen = traitlets.Dict(help="phases, peak, limit, fits, largest, advice, now").tag(sync=True)

    def __init__(self, source: Any, **traits: Any):
        self._source = source
        initial_traits = {"model_name": source.model, "card": source.device.name, "stops": source.stops}
        super().__init__(**initial_traits, seen=source.breakdown_at(**source.slider_positions(source.setup)), **traits)

    def look(self, **keys: int) -> dict[str, Any]:
        """Show another setup (``seq``, ``batch``, ``rank``, ``checkpointing``), and return its memory."""
        unknown = set(keys) - set(self.stops)
        if unknown:
            raise ValueError(f"There is no slider for {', '.join(sorted(unknown))}; there are {', '.join(self.stops)}.")
        self.seen = self._source.breakdown_at(**{**self.seen["now"], **keys})
        return self.seen

    @message(keys=dict)
    def on_look(self, fields: dict[str, Any]) -> None:
        """Handle a moved slider."""
        self.error = ""
        self.look(**{name: int(value) for name, value in fields["keys"].items()})

    def html(self) -> Markup:
        """Return the bars as static HTML."""
        position = self.seen
        scale = _scale(position)
        bars = [_bar(phase, scale, position["limit"]) for phase in position["phases"]]
        names = (element("span", element("i", data_part=part), name) for part, name in enumerate(_names(position)))
        has_measurement = any(phase["measured"] for phase in position["phases"])
        setup_line = ", ".join(f"{name} {value}" for name, value in position["now"].items())
        return fragment(
            element("p", element("b", self.model_name), f" · {setup_line}"),
            element("p", self._summary(), class_="etabli-verdict", data_fits=str(position["fits"]).lower()),
            element(
                "div",
                _limit_label(scale, position["limit"]),
                bars,
                class_="etabli-bars",
                data_measured=str(has_measurement).lower(),
            ),
            element("p", names, class_="etabli-parts"),
            element("ul", (element("li", _describe_advice(item)) for item in position["advice"])),
        )

    def _summary(self) -> str:
        position, gib = self.seen, GIB
        fits = "fits" if position["fits"] else "does not fit"
        line = f"{position['peak']['device'] / gib:.1f} of {position['limit'] / gib:.1f} GiB: {fits} {self.card}"
        return f"{line}. Most is taken in the phase {position['peak']['phase']}. {_describe_largest(position)}."

    def __repr__(self) -> str:
        return f"MemoryLedger({self.model_name!r}): {self._summary()}"


def _describe_largest(position: dict[str, Any]) -> str:
    """Return the largest setups that fit, in words: the longest rows at this batch, the most rows of this length."""
    largest, now = position["largest"], position["now"]
    longest = f"{now['batch']:,} × {largest['seq']:,} tokens" if largest["seq"] else ""
    most = f"{largest['batch']:,} × {now['seq']:,} tokens" if largest["batch"] else ""
    clauses = [f"at most fit {', or '.join(filter(None, (longest, most)))}"] if longest or most else []
    clauses += [] if most else [f"not even one row of {now['seq']:,} tokens fits"]
    clauses += [] if longest else [f"not even the shortest rows fit, {now['batch']:,} at once"]
    text = "; ".join(clauses)
    return text[0].upper() + text[1:]


def _scale(position: dict[str, Any]) -> float:
    """Return the bytes of the whole width, forecast and measured.

    A card that is much larger is left out: the bars would be too short.
    """
    peak = max(int(size) for phase in position["phases"] for size in (phase["device"], phase["measured"] or 0))
    return 1.04 * (peak if position["limit"] > 2.5 * peak else max(peak, int(position["limit"])))


def _names(position: dict[str, Any]) -> list[str]:
    return list(position["phases"][0]["parts"])


def _bar(phase: dict[str, Any], scale: float, limit: int) -> Markup:
    took = phase["measured"]
    parts = (
        element("i", data_part=part, style=f"width:{size / scale:.3%}", title=f"{name} {size / GIB:.2f} GiB")
        for part, (name, size) in enumerate(phase["parts"].items())
    )
    front = element("b", class_="etabli-measured", style=f"width:{took / scale:.3%}") if took else None
    line = element("u", class_="etabli-limit", style=f"left:{limit / scale:.3%}") if limit < scale else None
    ghost = "etabli-ghost" if took else None
    bar = element(
        "div", element("em", parts), front, line, class_=ghost, role="img", aria_label=_describe(phase, limit)
    )
    return element("div", element("span", phase["name"]), bar, element("span", _figure(phase)), class_="etabli-bar")


def _limit_label(scale: float, limit: int) -> Markup | None:
    """What the dashed line is, above it; nothing where the bars end before it."""
    if limit >= scale:
        return None
    label = element("span", f"limit {limit / GIB:.1f} GiB", style=f"left:{limit / scale:.3%}")
    return element("div", element("div", label), class_="etabli-limit-label", aria_hidden="true")


def _describe(phase: dict[str, Any], limit: int) -> str:
    """Return a phase's bar in words, for who can't see it."""
    parts = ", ".join(f"{name} {size / GIB:.2f} GiB" for name, size in phase["parts"].items())
    measured = f"; {_measurement(phase)} GiB of tensors" if phase["measured"] else ""
    return f"{phase['name']}: {parts}{measured}; the card's limit is {limit / GIB:.1f} GiB"


def _figure(phase: dict[str, Any]) -> str:
    measurement = f" · {_measurement(phase)}" if phase["measured"] else ""
    return f"{phase['device'] / GIB:.2f} GiB{measurement}"


def _measurement(phase: dict[str, Any]) -> str:
    return f"measured {phase['measured'] / GIB:.2f} of {phase['tensors'] / GIB:.2f}"


def _describe_advice(item: dict[str, Any]) -> str:
    enough = "enough" if item["fits"] else "not enough alone"
    return f"{item['change']}: {item['saves'] / GIB:.1f} GiB less ({enough}); {item['cost']}"
