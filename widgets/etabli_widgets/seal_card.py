"""``SealCard``: whether each exported form of a model answers as it was judged, and if not, why."""

import math
from collections.abc import Mapping
from typing import Any

import traitlets

from etabli_widgets._base import Widget, script, style
from etabli_widgets.markup import Markup, element, fragment, table, term

LEAST, MOST = 1e-4, 10.0  # nats a token: the ends of the axis, whose steps are powers of ten
HEADS = ("form", "prompts", "same answers", "KL", "score", "size")
KINDS = {"sealed": "better", "drift": "unclear", "broken": "worse"}  # verdict -> the colour of its line


class SealCard(Widget):
    """The verdict on each exported form as a sentence, with its cause; below, what was measured, form beside form.

    ``seal`` is what ``etabli.seal`` returns.
    """

    _esm = script("seal_card")
    _css = style("seal_card", "sentences")

    view = traitlets.Dict(help="What is shown: the title, and of each form a sentence and its cells").tag(sync=True)

    def __init__(self, seal: Mapping[str, Any], **traits: Any):
        super().__init__(view=_view(seal), **traits)

    def html(self) -> Markup:
        """Return the card as static HTML."""
        forms = self.view["forms"]
        rows = (_cells(form, self.view["zone"]) for form in forms)
        return fragment(
            element("p", self.view["title"]),
            element("ul", map(_sentence, forms), class_="etabli-lines"),
            element("div", table(_heads(self.view["ends"]), rows), class_="etabli-scroll"),
        )

    def __repr__(self) -> str:
        return "\n".join([f"SealCard: {self.view['title']}", *(form["sentence"] for form in self.view["forms"])])


def _view(seal: Mapping[str, Any]) -> dict[str, Any]:
    rows = seal["test_rows"]
    asked = seal["forms"][0]["conversations"] if seal["forms"] else 0
    return {
        "title": f"{seal['run']}: each form was sent the same {asked} conversations, {rows} of them test rows, and is "
        "compared with the model as it was judged.",
        "forms": list(map(_form, seal["forms"])),
        "heads": HEADS,
        "ends": [f"{LEAST:g}", f"{MOST:g} nats a token"],
        "zone": _place(seal["sealed_below"]),
    }


def _form(form: Mapping[str, Any]) -> dict[str, Any]:
    kl, count = form["kl"], form["conversations"]
    size = form.get("bytes")
    return {
        "name": form["form"],
        "kind": KINDS[form["verdict"]],
        "sentence": form["sentence"],
        "first": form["first_difference"],
        "notes": [*([form["mend"]] if form["mend"] else []), *form["notes"]],
        "prompts": {None: "", True: "the same", False: "differ"}[form["prompt_same"]],
        "answers": "" if kl is None else f"{form['answers_same']} of {count}",
        "kl": "" if kl is None else f"{kl:.4f}" if kl < 1 else f"{kl:.2f}",
        "place": None if kl is None else _place(kl),
        "score": _format_score(form["score"], form["score_says"]),
        "size": "" if size is None else f"{size / 1e6:,.0f} MB",
    }


def _place(kl: float) -> float:
    """Return where a divergence stands on the axis, in percent."""
    return round(100 * math.log(min(MOST, max(LEAST, kl)) / LEAST) / math.log(MOST / LEAST), 1)


def _format_score(score: Mapping[str, Any] | None, says: str | None) -> str:
    """Return the form's score minus the judged model's, in points, and what that says against the margin."""
    if score is None:
        return ""

    def points(value: float | None) -> str:
        return "?" if value is None else f"{value * 100:+.0f}".replace("-", "−")

    return f"{points(score['value'])} [{points(score['low'])}, {points(score['high'])}] points: {says}"


def _heads(ends: list[str]) -> list[Any]:
    scale = element("span", (element("span", end) for end in ends), class_="etabli-scale")
    return [[term(name), scale] if name == "KL" else term(name) for name in HEADS]


def _sentence(form: Mapping[str, Any]) -> Markup:
    first, difference = form["first"], []
    if first:
        place = f"{first['conversation']}, token {first['place']}"
        difference = [
            _entry(f"{place}, as it was judged", first["judged"]),
            _entry(f"{form['name']} instead", first["form"]),
        ]
    notes = (element("p", element("small", note)) for note in form["notes"])
    return element("li", form["sentence"], difference, notes, class_=f"etabli-{form['kind']}")


def _entry(name: str, text: str) -> Markup:
    return element("section", element("small", name), element("pre", text))


def _cells(form: Mapping[str, Any], zone: float) -> list[Any]:
    return [form["name"], form["prompts"], form["answers"], _axis(form, zone), form["score"], form["size"]]


def _axis(form: Mapping[str, Any], zone: float) -> Markup | str:
    if form["place"] is None:
        return ""
    dot = element("u", class_=f"etabli-{form['kind']}", style=f"left:{form['place']:.1f}%")
    part = element("i", style=f"width:{zone:.1f}%")
    return fragment(form["kl"], element("div", part, dot, class_="etabli-axis"))
