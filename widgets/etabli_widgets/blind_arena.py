"""``BlindArena``: vote on two answers without knowing which system gave which."""

from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, style
from etabli_widgets.markup import Markup, element, fragment, notes, table


class BlindArena(Widget):
    """Vote on pairs of answers without knowing which system gave which.

    ``session`` is an ``etabli.review.session.Session``: ``current_pair``, ``vote``, ``progress_text``, ``is_revealed``,
    ``reveal_as_text``. The page gets only the two texts; the names of the systems stay in the kernel until ``look`` is
    called, or the last vote is cast. ``vote`` and ``look`` do what the keys do.
    """

    _esm = script("blind_arena")
    _css = style("blind_arena")

    pair = traitlets.Dict(
        help="The shown pair: number, prompt, left, right, cut; names once they are told; empty after the last vote"
    ).tag(sync=True)
    total = traitlets.Int(help="How many pairs there are").tag(sync=True)
    done = traitlets.Int(help="How many were voted on").tag(sync=True)
    watched = traitlets.Unicode(help="How far the verdict is; it does not say which system leads").tag(sync=True)
    last = traitlets.Dict(help="The last vote: choice, lengths, seconds").tag(sync=True)
    told = traitlets.Dict(help="The result, once asked for: compared, verdict, heads, rows, notes").tag(sync=True)
    said: "traitlets.List[Any]" = traitlets.List(help="Notes for the voter").tag(sync=True)
    heard = traitlets.Int(0, help="How many keys were handled; then the page may send the next one").tag(sync=True)

    def __init__(self, session: Any, **traits: Any):
        self._session = session
        super().__init__(total=session.total, said=session.notes, **traits)
        self._next()
        if session.is_revealed:  # also in a new kernel: votes from here on do not count, and the page says so
            self.look()

    def _next(self) -> None:
        shown_pair, vote_count = self._session.current_pair(), self._session.vote_count
        self.done, self.watched = vote_count, self._session.progress_text()
        self.pair = {} if shown_pair is None else _describe_pair(shown_pair, vote_count + 1, with_names=bool(self.told))

    def vote(self, choice: str) -> dict[str, Any]:
        """Choose left, right, tie or both bad; returns what a blind voter may know: choice, lengths, seconds."""
        try:
            vote = self._session.vote(choice)
            self.last = {name: vote[name] for name in ("choice", "lengths", "seconds")}
        finally:  # also if the pair was voted on in another window
            self._next()
        if not self.pair:  # nothing is left to be blind for
            self.look()
        return dict(self.last)

    def look(self) -> dict[str, Any]:
        """Show which system gave which answer, and the result. Votes after this do not count: they are not blind."""
        self.error = ""
        self.told = self._session.reveal_as_text()
        self.said = [note for note in self.said if note not in self.told["notes"]]  # each once
        self._next()
        return self.told

    @message(number=int, choice=str)
    def on_vote(self, fields: dict[str, Any]) -> None:
        """Handle a key in the page. A key for the previous pair (pressed twice) is ignored."""
        with self.hold_sync():
            self.error, self.heard = "", self.heard + 1
            if fields["number"] == self.pair.get("number"):
                self.vote(fields["choice"])
        self.refresh()

    @message()
    def on_look(self, fields: dict[str, Any]) -> None:
        """Handle the key that shows which system gave which answer."""
        self.look()

    def html(self) -> Markup:
        """Return the progress, and the result if it was asked for, but never which system gave which answer."""
        head = element("p", f"BlindArena: {self.done} of {self.total} pairs voted on. {self.watched}")
        if not self.told:
            return fragment(head, notes(self.said))
        compared = element("p", self.told.get("compared", ""))
        verdict = element("p", element("b", self.told["verdict"]))
        return fragment(
            head, compared, verdict, table(self.told["heads"], self.told["rows"]), notes(self.told["notes"])
        )

    def __repr__(self) -> str:
        return f"BlindArena: {self.done} of {self.total} pairs voted on. {self.told.get('verdict') or self.watched}"


def _describe_pair(pair: Any, number: int, with_names: bool) -> dict[str, Any]:
    """What the page shows of a pair: its texts, thoughts if there are any, and which text was cut."""
    names, item = (pair.left, pair.right), pair.item
    left, right = (item.answers[name] for name in names)
    texts = getattr(item, "thoughts", {})
    thoughts = [texts.get(name, "") for name in names]
    shown = {"number": number, "prompt": item.prompt, "left": left, "right": right}
    if with_names:
        shown["names"] = list(names)
    if cut := getattr(item, "cut", ()):
        shown["cut"] = [name in cut for name in names]
    return {**shown, "thoughts": thoughts} if any(thoughts) else shown
