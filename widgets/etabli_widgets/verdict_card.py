"""``VerdictCard``: whether a model is better, by how much and how sure that is, with the rows behind every number."""

from collections.abc import Callable, Iterable
from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, style
from etabli_widgets.markup import Markup, cut_mark, details, element, fragment, quantity, table, term

Pick = Callable[[dict[str, Any]], list[dict[str, Any]]]
MOST_ROWS = 50  # shown at once; the rest are named by their number
TWIN_ROWS = 12  # rows in the HTML twin, which is part of the saved notebook


class VerdictCard(Widget):
    """The verdict with its scores, intervals and flips. A number opens its rows, a row its prompt and raw output.

    ``view`` is what ``etabli.evaluation.card.view`` makes of results: ``lines``, ``warnings``, ``forest``, ``heads``,
    ``scores``, ``gaps``, ``facts``. ``pick`` finds the rows behind a number: it gets ``{score, slice}`` with ``arm``,
    or with ``against`` and ``which`` (fixed, broken, both, neither). ``look`` does what a click does.
    """

    _esm = script("verdict_card", "difference")
    _css = style("verdict_card", "sentences")

    view = traitlets.Dict(help="What is shown: see etabli.evaluation.card.view").tag(sync=True)
    opened = traitlets.Dict(help="Of the number that is open: asked, its first rows, how many are found").tag(sync=True)

    def __init__(self, view: dict[str, Any], pick: Pick = lambda asked: [], **traits: Any):
        super().__init__(view=view, **traits)
        self._pick = pick

    def look(self, **query: Any) -> list[dict[str, Any]]:
        """Open the rows behind a number, and return all of them."""
        rows = self._pick(query)
        self.opened = {"asked": query, "rows": rows[:MOST_ROWS], "found": len(rows)}
        return rows

    @message(score=str, slice=str, against=str | None, which=str | None, arm=str | None)
    def on_open(self, fields: dict[str, Any]) -> None:
        """Handle a click on a number."""
        self.error = ""
        self.look(**fields)

    @message()
    def on_close(self, fields: dict[str, Any] | None = None) -> None:
        """Close the rows."""
        self.opened = {}

    def html(self, most: int = TWIN_ROWS) -> Markup:
        """Return the card as static HTML, with the first ``most`` rows of every flip folded below."""
        view = self.view
        facts = [(name, element("code", value)) for name, value in view["facts"]]
        return fragment(
            (element("p", text, class_="etabli-hint") for text in view["warnings"]),
            _sentences(view["lines"][:1]),
            self._forest(),
            details(summarise_slices(view["lines"][1:]), _sentences(view["lines"][1:])) if view["lines"][1:] else None,
            self._gaps(),
            self._scores(),
            self._fold_rows(most),
            details("How it was made", _scrolling_table((), facts)),
        )

    def _scores(self) -> Markup:
        """Return the table of all scores, folded, or a sentence if there are none."""
        if not self.view["scores"]:
            return element("p", NO_SCORES)
        scores = _scrolling_table(map(term, self.view["heads"]), self.view["scores"])
        return details("All scores, each on the same rows", scores)

    def _forest(self) -> Markup | None:
        """Return every system with its score and the judged one's difference from it, the judged one first."""
        forest = self.view.get("forest")
        if not forest:
            return None
        rows = ((line["arm"], _score_cell(line), *_difference_cells(line["gap"])) for line in forest["lines"])
        axis = element("span", map(element, ("span",) * 3, ("worse ←", "0", "→ better")), class_="etabli-axis")
        scale = element("span", map(element, ("span",) * 2, (forest["from"], forest["to"])), class_="etabli-scale")
        heads = (forest["title"], ["score [95 % interval]", scale], axis, f"{self.view['subject']} minus it")
        return element("div", table(heads, rows), class_="etabli-scroll etabli-forest")

    def _gaps(self) -> Markup:
        """Return, folded, what the plot does not show of the score that decides, and the differences by other scores.

        Of the score that decides these are the rows that changed, and its differences on slices.
        """
        gaps, plot = self.view["gaps"], self.view.get("forest") or {}
        first = [gap for gap in gaps if gap["score"] == gaps[0]["score"]]
        rest = [gap for gap in gaps if gap["score"] != gaps[0]["score"]]
        flipped = any(gap["flips"] for gap in first)
        heading = f"Row by row: what {self.view['subject']} fixed and broke" if flipped else "Slice by slice"
        is_plotted = all(gap["slice"] == plot.get("slice") for gap in first)
        names = " and by ".join(dict.fromkeys(str(gap["score"]) for gap in rest))
        return fragment(
            details(heading, _differences(first, is_plotted)) if flipped or not is_plotted else None,
            details(f"By {names}", _differences(rest)) if rest else None,
        )

    def _fold_rows(self, most: int) -> list[Markup]:
        """Return every row, folded by which system was right, or in one fold if no score says right or wrong."""
        main = _widest([gap for gap in self.view["gaps"] if gap["main"] and gap["flips"]])
        queries = [
            {"score": gap["score"], "slice": gap["slice"], "against": gap["against"], "which": flip}
            for gap in main
            for flip in FLIPS
        ]
        if not queries:
            cells = [{"score": line[0], "slice": line[1]} for line in self.view["scores"]]
            first = [cell for cell in cells if cell["score"] == cells[0]["score"]]
            queries = [{**cell, "arm": self.view["subject"]} for cell in _widest(first)]
        return [self._fold(query, most) for query in queries]

    def _fold(self, query: dict[str, Any], most: int) -> Markup:
        rows = self._pick(query)
        more = f", the first {most}" if len(rows) > most else ""
        heading = f"{title(query, self.view['subject'])}: {quantity(len(rows), 'row')}{more}"
        return details(heading, map(_row, rows[:most])) if rows else element("p", heading)

    def __repr__(self) -> str:
        lines = [*self.view.get("warnings", []), *(line["text"] for line in self.view["lines"])]
        return "VerdictCard:\n" + "\n".join(lines)


NO_SCORES = "No score is left to be shown."
NOT_SCORED = "(not scored)"
FLIPS = ("fixed", "broken", "both", "neither")


def _widest(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the items of the slice "all", or all items if there is no such slice."""
    return [item for item in items if item["slice"] == "all"] or items


def _sentences(lines: Iterable[dict[str, Any]]) -> Markup:
    return element("ul", (element("li", line["text"], class_=_class(line)) for line in lines), class_="etabli-lines")


def summarise_slices(lines: list[dict[str, Any]]) -> str:
    """Return how the verdicts on slices fell: "On 3 slices: 1 better, 2 can't be told"."""
    kinds = [kind(line) for line in lines]
    counts = [f"{kinds.count(name)} {words}" for name, words in KINDS.items() if name in kinds]
    return f"On {quantity(len(lines), 'slice')}: {', '.join(counts)}"


KINDS = {"better": "better", "worse": "worse", "unclear": "can't be told"}


def _score_cell(line: dict[str, Any]) -> list[Any]:
    """Return a system's score over its own interval; without one, how many rows were scored."""
    place = line["interval"]
    if place is None:
        return [line["text"], " ", element("small", line["note"])]
    reach = element("span", style=f"left:{place['left']:.1f}%;width:{place['width']:.1f}%")
    dot = element("u", style=f"left:{place['dot']:.1f}%")
    return [line["text"], element("div", reach, dot, class_="etabli-own")]


def _scrolling_table(heads: Iterable[Any], rows: Iterable[Iterable[Any]]) -> Markup:
    return element("div", table(heads, rows), class_="etabli-scroll")


def _differences(gaps: list[dict[str, Any]], is_plotted: bool = False) -> Markup:
    """Return differences as a table of the columns that say something; ``is_plotted``: their intervals stand above."""
    columns: dict[str, list[Any]] = {
        "score": [[gap["score"], " ", element("small", f"{gap['slice']}, n = {gap['n']}")] for gap in gaps],
        "against": [gap["against"] for gap in gaps],
        **({} if is_plotted else {"interval": list(map(_bar, gaps)), "difference": [gap["text"] for gap in gaps]}),
        **{flip: [str(gap["flips"][flip]) if gap["flips"] else "" for gap in gaps] for flip in FLIPS},
        "McNemar": [gap["chance"] for gap in gaps],
    }
    kept = {name: cells for name, cells in columns.items() if any(cells)}
    return _scrolling_table(map(term, kept), zip(*kept.values()))


def _difference_cells(gap: dict[str, Any] | None) -> tuple[Markup, Markup | str]:
    """Return the interval on a bar, and the difference as text; of the judged system itself the zero line alone."""
    if gap is None:
        return element("div", element("i"), class_="etabli-bar"), ""
    return _bar(gap), element("span", gap["text"], class_=f"etabli-gap-{kind(gap)}")


def _bar(gap: dict[str, Any]) -> Markup:
    """Return the interval of a difference and its value on a bar, whose middle is zero."""
    return element(
        "div",
        element("i"),
        element("b", class_=_class(gap), style=f"left:{gap['left']:.1f}%;width:{gap['width']:.1f}%"),
        element("u", style=f"left:{gap['dot']:.1f}%"),
        class_="etabli-bar",
    )


def _row(row: dict[str, Any]) -> Markup:
    return details(row["prompt"], _entry("truth", row["truth"]), map(_answer, row["answers"]), class_="etabli-row")


def _answer(answer: dict[str, Any]) -> Markup:
    content = [element("pre", answer["rendered"]), element("hr"), element("pre", answer["raw"])]
    more = details("prompt and raw output", content) if answer["rendered"] else None
    mark = cut_mark() if answer.get("cut") else None
    return _entry(f"{answer['arm']} {answer['mark'] or NOT_SCORED}", answer["answer"], fragment(mark, more))


def _entry(name: str, text: str, more: Markup | None = None) -> Markup:
    return element("section", element("small", name), element("pre", text), more)


def _class(line: dict[str, Any]) -> str:
    return f"etabli-{kind(line)}"


def kind(item: dict[str, Any]) -> str:
    """Return the colour class of a verdict: better, worse or unclear."""
    return {"better": "better", "worse": "worse"}.get(item["verdict"], "unclear")


def title(query: dict[str, Any], subject: str) -> str:
    """Return the title of the open rows, such as "fixed (exact, all): tuned right, base wrong"."""
    place = f"{query['score']}, {query['slice']}"
    if "which" not in query:
        return f"{place}: {query.get('arm', '')}"
    baseline = query["against"]
    meanings = {
        "fixed": f"{subject} right, {baseline} wrong",
        "broken": f"{subject} wrong, {baseline} right",
        "both": "both right",
        "neither": "both wrong",
    }
    return f"{query['which']} ({place}): {meanings[query['which']]}"
