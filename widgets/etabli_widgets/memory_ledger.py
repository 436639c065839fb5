"""``MemoryLedger``: what each phase of a run takes, against what the card has."""

from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, style
from etabli_widgets.markup import Markup, element, fragment

GIB = 2**30


class MemoryLedger(Widget):
    """Stacked bars by phase, the card's line, sliders for sequence, batch, rank and layers checkpointed.

    ``source`` has ``model``, ``device``, ``stops``, ``setup``, ``slider_positions(setup)`` and ``breakdown_at(**keys)``:
    ``etabli.memory.ledger_view.Ledger``. ``look`` is the code path of the sliders. Where a run has measured a phase,
    what it took stands in front and the forecast is its ghost.
    """

    _esm = script("memory_ledger")
    _css = style("memory_ledger")

    model_name = traitlets.Unicode(help="The model").tag(sync=True)
    card = traitlets.Unicode(help="The card's name").tag(sync=True)
    stops = traitlets.Dict(help="Where each slider can stand: {name: [values]}").tag(sync=True)
    seen = traitlets.Dict(help="phases, peak, limit, fits, largest, advice, now").tag(sync=True)

    def __init__(self, source: Any, **traits: Any):
        self._source = source
        about = {"model_name": source.model, "card": source.device.name, "stops": source.stops}
        super().__init__(**about, seen=source.breakdown_at(**source.slider_positions(source.setup)), **traits)

    def look(self, **keys: int) -> dict[str, Any]:
        """Look at another setup (``seq``, ``batch``, ``rank``, ``checkpointing``); returns what it takes."""
        unknown = set(keys) - set(self.stops)
        if unknown:
            raise ValueError(f"There is no slider for {', '.join(sorted(unknown))}; there are {', '.join(self.stops)}.")
        self.seen = self._source.breakdown_at(**{**self.seen["now"], **keys})
        return self.seen

    @message(keys=dict)
    def on_look(self, fields: dict[str, Any]) -> None:
        """A slider was moved."""
        self.error = ""
        self.look(**{name: int(value) for name, value in fields["keys"].items()})

    def html(self) -> Markup:
        """The bars as static HTML."""
        seen = self.seen
        scale = _scale(seen)
        bars = [_bar(phase, scale, seen["limit"]) for phase in seen["phases"]]
        names = (element("span", element("i", data_part=part), name) for part, name in enumerate(_names(seen)))
        measured = any(phase["measured"] for phase in seen["phases"])
        kept = ", ".join(f"{name} {value}" for name, value in seen["now"].items())
        return fragment(
            element("p", element("b", self.model_name), f" · {kept}"),
            element("p", self._said(), class_="etabli-verdict", data_fits=str(seen["fits"]).lower()),
            element("div", bars, class_="etabli-bars", data_measured=str(measured).lower()),
            element("p", names, class_="etabli-parts"),
            element("ul", (element("li", _advised(item)) for item in seen["advice"])),
        )

    def _said(self) -> str:
        seen, gib = self.seen, GIB
        fits = "fits" if seen["fits"] else "does not fit"
        line = f"{seen['peak']['device'] / gib:.1f} GiB in {seen['peak']['phase']}: {fits} {self.card}"
        far = f"Longest row {seen['largest']['seq']}, most rows {seen['largest']['batch']}."
        return f"{line} ({seen['limit'] / gib:.1f} GiB). {far}"

    def __repr__(self) -> str:
        return f"MemoryLedger({self.model_name!r}): {self._said()}"


def _scale(seen: dict[str, Any]) -> float:
    """Bytes of the whole width; a card that is far larger would leave nothing to see."""
    most = max(phase["device"] for phase in seen["phases"])
    return 1.04 * (most if seen["limit"] > 2.5 * most else max(most, seen["limit"]))


def _names(seen: dict[str, Any]) -> list[str]:
    return list(seen["phases"][0]["parts"])


def _bar(phase: dict[str, Any], scale: float, limit: int) -> Markup:
    took = phase["measured"]
    parts = (
        element("i", data_part=part, style=f"width:{size / scale:.3%}", title=f"{name} {size / GIB:.2f} GiB")
        for part, (name, size) in enumerate(phase["parts"].items())
    )
    front = element("b", class_="etabli-measured", style=f"width:{took / scale:.3%}") if took else None
    line = element("u", class_="etabli-limit", style=f"left:{limit / scale:.3%}") if limit < scale else None
    bar = element("div", element("em", parts), front, line, class_="etabli-ghost" if took else None)
    return element("div", element("span", phase["name"]), bar, element("span", _figure(phase)), class_="etabli-bar")


def _figure(phase: dict[str, Any]) -> str:
    took = phase["measured"]
    beside = f" · measured {took / GIB:.2f} of {phase['tensors'] / GIB:.2f} tensors" if took else ""
    return f"{phase['device'] / GIB:.2f} GiB{beside}"


def _advised(item: dict[str, Any]) -> str:
    enough = "enough" if item["fits"] else "not enough alone"
    return f"{item['change']}: {item['saves'] / GIB:.1f} GiB less ({enough}); {item['cost']}"
