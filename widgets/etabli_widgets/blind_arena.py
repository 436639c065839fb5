"""``BlindArena``: two answers, nobody says whose; a key a vote."""

from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, style
from etabli_widgets.markup import Markup, element, fragment, notes, table


class BlindArena(Widget):
    """Vote on pairs of answers without knowing whose they are.

    ``session`` is an ``etabli.review.session.Session``: ``current_pair``, ``vote``, ``progress_text``, ``reveal_as_text``. The page gets
    the two texts alone; who is who stays here until ``look`` is called. ``vote`` and ``look`` are the code paths of
    the keys.
    """

    _esm = script("blind_arena")
    _css = style("blind_arena")

    pair = traitlets.Dict(help="What is shown: number, prompt, left, right; nothing when all are voted on").tag(
        sync=True
    )
    total = traitlets.Int(help="How many pairs there are").tag(sync=True)
    done = traitlets.Int(help="How many were voted on").tag(sync=True)
    watched = traitlets.Unicode(help="How far it is to a verdict, without saying whose").tag(sync=True)
    last = traitlets.Dict(help="The last vote: choice, lengths, seconds").tag(sync=True)
    told = traitlets.Dict(help="Who is who, once asked for: verdict, heads, rows, notes").tag(sync=True)
    said = traitlets.List(help="What a voter has to know").tag(sync=True)
    heard = traitlets.Int(0, help="How many keys were dealt with, also in vain: the page may send the next").tag(
        sync=True
    )

    def __init__(self, session: Any, **traits: Any):
        self._session = session
        super().__init__(total=session.total, said=session.notes, **traits)
        self._next()

    def _next(self) -> None:
        now, done = self._session.current_pair(), self._session.vote_count
        self.done, self.watched = done, self._session.progress_text()
        self.pair = {} if now is None else {
            "number": done + 1, "prompt": now.item.prompt,
            "left": now.item.answers[now.left], "right": now.item.answers[now.right],
        }  # fmt: skip

    def vote(self, choice: str) -> dict[str, Any]:
        """Choose: left, right, tie or both bad; returns what may be known now: choice, lengths, seconds."""
        try:
            made = self._session.vote(choice)
            self.last = {name: made[name] for name in ("choice", "lengths", "seconds")}
            return self.last
        finally:  # also if it was voted on in another window
            self._next()

    def look(self) -> dict[str, Any]:
        """Who is who and what the votes say. Votes after this do not count: they are not blind."""
        self.error = ""
        self.told = self._session.reveal_as_text()
        return self.told

    @message(number=int, choice=str)
    def on_vote(self, fields: dict[str, Any]) -> None:
        """A key in the page. One that was meant for the pair before (pressed twice) is none."""
        with self.hold_sync():
            self.error, self.heard = "", self.heard + 1
            if fields["number"] == self.pair.get("number"):
                self.vote(fields["choice"])

    @message()
    def on_look(self, fields: dict[str, Any]) -> None:
        """The key for who is who."""
        self.look()

    def html(self) -> Markup:
        """How far it has come, and what the votes say if that was asked for; never whose answer was whose."""
        head = element("p", f"BlindArena: {self.done} of {self.total} pairs voted on. {self.watched}")
        if not self.told:
            return fragment(head, notes(self.said))
        verdict = element("p", element("b", self.told["verdict"]))
        return fragment(head, verdict, table(self.told["heads"], self.told["rows"]), notes(self.told["notes"]))

    def __repr__(self) -> str:
        return f"BlindArena: {self.done} of {self.total} pairs voted on. {self.told.get('verdict') or self.watched}"
