"""``VerdictCard``: is it better, by how much, how sure; and behind every number the rows it was made from."""

from collections.abc import Callable
from typing import Any

import traitlets

from etabli_widgets._base import Widget, escape, message, script, style

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

    def html(self, most: int = TWIN_ROWS) -> str:
        """The card as static HTML; every flip and every arm has its first ``most`` rows folded below it."""
        view = self.view
        said = "".join(f'<li class="etabli-{kind(line)}">{escape(line["text"])}' for line in view["lines"])
        warned = "".join(f'<p class="etabli-hint">{escape(text)}</p>' for text in view["warnings"])
        facts = "".join(f"<tr><td>{escape(name)}<td><code>{escape(value)}</code></tr>" for name, value in view["facts"])
        return (
            f'{warned}<ul class="etabli-lines">{said}</ul>{self._scores()}{self._gaps()}{self._folded(most)}'
            f"<details><summary>How it was made</summary><table>{facts}</table></details>"
        )

    def _scores(self) -> str:
        heads = "".join(f'<th scope="col">{escape(head)}' for head in self.view["heads"])
        lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}' for cell in line)}</tr>" for line in self.view["scores"])
        return f"<h4>Each on the same rows</h4>{_scrolled(heads, lines)}"

    def _gaps(self) -> str:
        """The differences by the score that decides, and folded those by all others."""
        gaps = self.view["gaps"]
        if not gaps:
            return ""
        first = [gap for gap in gaps if gap["score"] == gaps[0]["score"]]
        rest = [gap for gap in gaps if gap["score"] != gaps[0]["score"]]
        names = " and by ".join(dict.fromkeys(gap["score"] for gap in rest))
        more = f"<details><summary>By {escape(names)}</summary>{self._table(rest)}</details>" if rest else ""
        return f"<h4>{escape(self.view['subject'])} minus each other</h4>{self._table(first)}{more}"

    def _table(self, gaps: list[dict[str, Any]]) -> str:
        return _scrolled(
            "".join(f'<th scope="col">{escape(head)}' for head in GAP_HEADS), "".join(map(self._gap, gaps))
        )

    def _gap(self, gap: dict[str, Any]) -> str:
        bar = (
            f'<div class="etabli-bar"><i style="left:{gap["zero"]:.1f}%"></i>'
            f'<b class="etabli-{kind(gap)}" style="left:{gap["left"]:.1f}%;width:{gap["width"]:.1f}%"></b>'
            f'<u style="left:{gap["dot"]:.1f}%"></u></div>'
        )
        name = f"{escape(gap['score'])} <small>{escape(gap['slice'])}, n = {escape(gap['n'])}</small>"
        counts = [escape(gap["flips"][which]) if gap["flips"] else "" for which in FLIPS]
        cells = [name, escape(gap["against"]), bar, escape(gap["text"]), *counts, escape(gap["chance"])]
        return f"<tr>{''.join(f'<td>{cell}' for cell in cells)}</tr>"

    def _folded(self, most: int) -> str:
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
        return "".join(self._fold(one, most) for one in asked)

    def _fold(self, asked: dict[str, Any], most: int) -> str:
        rows = self._pick(asked)
        more = f", the first {most}" if len(rows) > most else ""
        inner = "".join(self._row(row) for row in rows[:most])
        head = escape(title(asked, self.view["subject"]))
        return f"<details><summary>{head}: {len(rows)} rows{more}</summary>{inner}</details>"

    def _row(self, row: dict[str, Any]) -> str:
        answers = "".join(map(_answer, row["answers"]))
        return (
            f"<details class='etabli-row'><summary>{escape(row['prompt'])}</summary>"
            f"{_entry('truth', row['truth'])}</section>{answers}</details>"
        )

    def __repr__(self) -> str:
        said = [*self.view.get("warnings", []), *(line["text"] for line in self.view["lines"])]
        return "VerdictCard:\n" + "\n".join(said)


FLIPS = ("fixed", "broken", "both", "neither")
GAP_HEADS = ("score", "against", "interval", "difference", *FLIPS, "McNemar")


def _widest(held: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is about all rows; or all there is, where no slice is the whole."""
    return [one for one in held if one["slice"] == "all"] or held


def _scrolled(heads: str, lines: str) -> str:
    return f'<div class="etabli-scroll"><table><tr>{heads}</tr>{lines}</table></div>'


def _answer(one: dict[str, str]) -> str:
    said = _entry(f"{one['arm']} {one['mark']}", one["answer"])
    if not one["rendered"]:
        return f"{said}</section>"
    behind = f"<pre>{escape(one['rendered'])}</pre><hr><pre>{escape(one['raw'])}</pre>"
    return f"{said}<details><summary>prompt and raw output</summary>{behind}</details></section>"


def _entry(name: str, text: str) -> str:
    return f"<section><small>{escape(name)}</small><pre>{escape(text)}</pre>"


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
