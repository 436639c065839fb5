"""``VerdictCard``: is it better, by how much, how sure; and behind every number the rows it was made from."""

from collections.abc import Callable, Iterable
from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, style
from etabli_widgets.markup import Markup, element, folded, fragment, table

Pick = Callable[[dict[str, Any]], list[dict[str, Any]]]
MOST_ROWS = 50  # shown at once; the rest are named by their number
TWIN_ROWS = 12  # in the HTML twin, which lies in the saved notebook


class VerdictCard(Widget):
    """The verdict with its scores, intervals and flips; a number opens its rows, a row its prompt and raw output.

    ``view`` is what ``etabli.evaluation.card.view`` makes of results: ``lines``, ``warnings``, ``heads``, ``scores``,
    ``gaps``, ``facts``. ``pick`` finds the rows behind a number: it is given ``{score, slice}`` with ``arm``, or with
    ``against`` and ``which`` (fixed, broken, both, neither). ``look`` is the code path of a click.
    """

    _esm = script("verdict_card")
    _css = style("verdict_card")

    view = traitlets.Dict(help="What is shown: see etabli.evaluation.card.view").tag(sync=True)
    opened = traitlets.Dict(help="Of the number that is open: asked, its first rows, how many are found").tag(sync=True)

    def __init__(self, view: dict[str, Any], pick: Pick = lambda asked: [], **traits: Any):
        super().__init__(view=view, **traits)
        self._pick = pick

    def look(self, **asked: Any) -> list[dict[str, Any]]:
        """Open the rows behind a number; returns all of them."""
        rows = self._pick(asked)
        self.opened = {"asked": asked, "rows": rows[:MOST_ROWS], "found": len(rows)}
        return rows

    @message(score=str, slice=str, against=str | None, which=str | None, arm=str | None)
    def on_open(self, fields: dict[str, Any]) -> None:
        """A click on a number."""
        self.error = ""
        self.look(**fields)

    @message()
    def on_close(self, fields: dict[str, Any] | None = None) -> None:
        """Close the rows."""
        self.opened = {}

    def html(self, most: int = TWIN_ROWS) -> Markup:
        """The card as static HTML; every flip and every arm has its first ``most`` rows folded below it."""
        view = self.view
        facts = [(name, element("code", value)) for name, value in view["facts"]]
        return fragment(
            (element("p", text, class_="etabli-hint") for text in view["warnings"]),
            element("ul", (element("li", line["text"], class_=_class(line)) for line in view["lines"]), class_=LINES),
            element("h4", "Each on the same rows"),
            _scrolled(view["heads"], view["scores"]),
            self._gaps(),
            self._folded(most),
            folded("How it was made", table((), facts)),
        )

    def _gaps(self) -> Markup | None:
        """The differences by the score that decides, and folded those by all others."""
        gaps = self.view["gaps"]
        if not gaps:
            return None
        first = [gap for gap in gaps if gap["score"] == gaps[0]["score"]]
        rest = [gap for gap in gaps if gap["score"] != gaps[0]["score"]]
        names = " and by ".join(dict.fromkeys(str(gap["score"]) for gap in rest))
        more = folded(f"By {names}", _differences(rest)) if rest else None
        return fragment(element("h4", f"{self.view['subject']} minus each other"), _differences(first), more)

    def _folded(self, most: int) -> list[Markup]:
        """Every row, folded by who was right against the best rival, or in one fold where there is no right."""
        main = _widest([gap for gap in self.view["gaps"] if gap["main"] and gap["flips"]])
        asked = [
            {"score": gap["score"], "slice": gap["slice"], "against": gap["against"], "which": which}
            for gap in main
            for which in FLIPS
        ]
        if not asked:
            about = [{"score": line[0], "slice": line[1]} for line in self.view["scores"]]
            first = [one for one in about if one["score"] == about[0]["score"]]
            asked = [{**one, "arm": self.view["subject"]} for one in _widest(first)]
        return [self._fold(one, most) for one in asked]

    def _fold(self, asked: dict[str, Any], most: int) -> Markup:
        rows = self._pick(asked)
        more = f", the first {most}" if len(rows) > most else ""
        return folded(f"{title(asked, self.view['subject'])}: {len(rows)} rows{more}", map(_row, rows[:most]))

    def __repr__(self) -> str:
        said = [*self.view.get("warnings", []), *(line["text"] for line in self.view["lines"])]
        return "VerdictCard:\n" + "\n".join(said)


LINES = "etabli-lines"
FLIPS = ("fixed", "broken", "both", "neither")
GAP_HEADS = ("score", "against", "interval", "difference", *FLIPS, "McNemar")


def _widest(held: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is about all rows; or all there is, where no slice is the whole."""
    return [one for one in held if one["slice"] == "all"] or held


def _scrolled(heads: Iterable[Any], rows: Iterable[Iterable[Any]]) -> Markup:
    return element("div", table(heads, rows), class_="etabli-scroll")


def _differences(gaps: list[dict[str, Any]]) -> Markup:
    return _scrolled(GAP_HEADS, map(_gap, gaps))


def _gap(gap: dict[str, Any]) -> list[Any]:
    name = [gap["score"], " ", element("small", f"{gap['slice']}, n = {gap['n']}")]
    counts = [gap["flips"][which] if gap["flips"] else "" for which in FLIPS]
    return [name, gap["against"], _bar(gap), gap["text"], *counts, gap["chance"]]


def _bar(gap: dict[str, Any]) -> Markup:
    """The interval on a bar whose middle is no difference."""
    return element(
        "div",
        element("i", style=f"left:{gap['zero']:.1f}%"),
        element("b", class_=_class(gap), style=f"left:{gap['left']:.1f}%;width:{gap['width']:.1f}%"),
        element("u", style=f"left:{gap['dot']:.1f}%"),
        class_="etabli-bar",
    )


def _row(row: dict[str, Any]) -> Markup:
    return folded(row["prompt"], _entry("truth", row["truth"]), map(_answer, row["answers"]), class_="etabli-row")


def _answer(answer: dict[str, str]) -> Markup:
    behind = [element("pre", answer["rendered"]), element("hr"), element("pre", answer["raw"])]
    more = folded("prompt and raw output", behind) if answer["rendered"] else None
    return _entry(f"{answer['arm']} {answer['mark']}", answer["answer"], more)


def _entry(name: str, text: str, more: Markup | None = None) -> Markup:
    return element("section", element("small", name), element("pre", text), more)


def _class(line: dict[str, Any]) -> str:
    return f"etabli-{kind(line)}"


def kind(held: dict[str, Any]) -> str:
    """better, worse, or unclear: what colour it has."""
    return {"better": "better", "worse": "worse"}.get(held["verdict"], "unclear")


def title(asked: dict[str, Any], subject: str) -> str:
    """What the open rows are: fixed: tuned right, base wrong."""
    place = f"{asked['score']}, {asked['slice']}"
    if "which" not in asked:
        return f"{place}: {asked.get('arm', '')}"
    other = asked["against"]
    said = {
        "fixed": f"{subject} right, {other} wrong", "broken": f"{subject} wrong, {other} right",
        "both": "both right", "neither": "both wrong",
    }[asked["which"]]  # fmt: skip
    return f"{asked['which']} ({place}): {said}"
