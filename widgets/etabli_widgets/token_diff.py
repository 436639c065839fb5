"""``TokenDiff``: which tokens of an answer training made more likely, and which less likely."""

import itertools
from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, style
from etabli_widgets.markup import Markup, cut_mark, details, element, fragment, notes

MEASURES = ("log-probability", "KL", "rank")
TWIN_ROWS, TWIN_TOKENS = 5, 400
TRUTH_HINT = (
    "Each true token, given the true ones before it: blue is likelier under tuned than under the base. Underlined: "
    "tuned would write another token here. Dotted: only the base would."
)
FULL = 5.0  # nats at which the colour is strongest


class TokenDiff(Widget):
    """Answers, sorted by the largest change; each token is shaded by its change from the base to the tuned model.

    ``diffs`` is ``etabli.core.contracts.TokenDiffs``. The page gets a line for every answer, and the tokens of the open
    one. ``open_row`` opens an answer, ``pick`` chooses what the shade shows.
    """

    _esm = script("token_diff", "moved")
    _css = style("token_diff", "moved")

    lines: "traitlets.List[Any]" = traitlets.List(help="One a row: id, prompt, move, total, kl, tokens").tag(sync=True)
    row = traitlets.Dict(help="The row that is open: number, answer and moves; truth, cut").tag(sync=True)
    measure = traitlets.Enum(MEASURES, default_value="log-probability", help="What the shade stands for").tag(sync=True)
    about = traitlets.Dict(help="model, of, said").tag(sync=True)

    def __init__(self, diffs: dict[str, Any], **traits: Any):
        self._rows = diffs["rows"]
        super().__init__(
            lines=[_line(row) for row in self._rows],
            about={"model": diffs["model"], "of": diffs["of"], "said": list(diffs["said"])},
            **traits,
        )
        if self._rows:
            self.open_row(0)

    def open_row(self, number: int) -> dict[str, Any]:
        """Open a row by its index, and return it (``TokenDiffRow``)."""
        if not 0 <= number < len(self._rows):
            raise ValueError(f"There is no row {number}; there are {len(self._rows)}, counted from 0.")
        row = self._rows[number]
        shown = {name: row[name] for name in ("prompt", "answer", "at", "moves")}
        truth = {"truth": _describe_truth(row["truth"])} if "truth" in row else {}
        self.row = {"number": number, **shown, **truth, "cut": row.get("cut", False)}
        return dict(row)

    def pick(self, measure: str) -> None:
        """Shade by "log-probability", "KL" or "rank"."""
        self.measure = measure

    @message(number=int)
    def on_open(self, fields: dict[str, Any]) -> None:
        """Handle the choice of a row in the page."""
        self.error = ""
        self.open_row(fields["number"])

    def html(self) -> Markup:
        """The most moved answers as static HTML."""
        facts, count = self.about, len(self._rows)
        colours = f"blue is likelier than under {facts['model']} alone, orange less likely."
        head = element("p", f"Answers of {facts['of']}, {count} of them: {colours}")
        rest = [f"and {count - TWIN_ROWS} more"] if count > TWIN_ROWS else []
        return fragment(head, notes(facts["said"]), map(_twin, self._rows[:TWIN_ROWS]), notes(rest))

    def __repr__(self) -> str:
        largest_move = f", the largest move {self._rows[0]['move']:.2f} nats" if self._rows else ""
        return f"TokenDiff: {len(self._rows)} answers of {self.about['of']}{largest_move}"


def _line(row: dict[str, Any]) -> dict[str, Any]:
    measures = {name: row[name] for name in ("id", "move", "total", "kl")}
    size = {"prompt": row["prompt"][:200], "tokens": len(row["moves"]["ids"])}
    return {**measures, **size, "cut": row.get("cut", False)}


def _describe_truth(truth: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of the truth: a summary, and its tokens unless they are those of the answer."""
    if truth["moves"] is None:
        return {"summary": "This answer is the truth, token by token.", "moves": None}
    counts = f"tuned's first choice at {truth['first']} of {truth['tokens']}, the base's at {truth['base_first']}"
    whole = f"the whole {truth['total']:+.2f} nats".replace("-", "−")
    return {"summary": f"The truth's own tokens: {counts}; {whole}", "moves": truth["moves"]}


def _twin(row: dict[str, Any]) -> Markup:
    sizes = f"largest move {row['move']:.2f}, whole answer {row['total']:+.2f}, KL {row['kl']:.2f} nats a token"
    mark = fragment(" ", cut_mark()) if row.get("cut") else None
    head = element("p", row["prompt"], " ", element("small", sizes), mark)
    return fragment(head, _strip(row["moves"]), _twin_truth(row["truth"]) if "truth" in row else None)


def _twin_truth(truth: dict[str, Any]) -> Markup:
    content = _describe_truth(truth)
    if content["moves"] is None:
        return element("p", element("small", content["summary"]))
    return details(content["summary"], element("p", element("small", TRUTH_HINT)), _strip(content["moves"], True))


def _strip(moves: dict[str, Any], is_truth: bool = False) -> Markup:
    """Return the tokens, shaded by change; of the truth those are underlined where a model would go on otherwise."""
    changes = [tuned - base for tuned, base in zip(moves["logp"], moves["base_logp"])][:TWIN_TOKENS]
    others = map(_other_choice, moves["rank"], moves["base_rank"]) if is_truth else itertools.repeat(None)
    tokens = map(token, moves["tokens"], changes, others)
    rest_count = len(moves["ids"]) - TWIN_TOKENS
    more = [" ", element("small", f"and {rest_count} more tokens")] if rest_count > 0 else None
    return element("pre", tokens, more, class_="etabli-strip", dir="auto")


def _other_choice(rank: int, base_rank: int) -> str | None:
    """Who would write another token here: tuned, only the base, or nobody (None)."""
    return "tuned" if rank > 1 else "base" if base_rank > 1 else None


def token(text: str, change: float | None, other: str | None = None) -> Markup:
    """Return a token as HTML, shaded by the change of its log-probability (nats).

    ``other`` is who would write another token here, if anybody.
    """
    change = 0.0 if change is None or change - change != 0 else change  # not known, or not finite
    less = "yes" if change < 0 else None
    shade = f"--etabli-move:{min(1.0, abs(change) / FULL):.2f}"
    content = text or "·"
    return element("span", content, class_="etabli-moved", data_less=less, data_other=other, style=shade)
