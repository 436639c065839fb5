"""``MaskLens``: the batch of a step as the loss sees it, token by token."""

from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, style, visible
from etabli_widgets.markup import Markup, element, fragment, notes, table

TWIN_ROWS = 4


class MaskLens(Widget):
    """Tokens by role, trained or masked, with their loss; another policy at a press; what holds a run up in red.

    ``view`` is ``etabli.core.contracts.Lens``. ``batch`` is an ``etabli.training.batch_lens.Batch``:
    ``batch.choose(row, {message: spans})`` gives the view anew with other spans, ``batch.messages(row)`` the messages
    that have them. ``pick`` and ``spans`` are the code paths of the policy's buttons and of choosing tokens.
    """

    _esm = script("mask_lens")
    _css = style("mask_lens")

    view = traitlets.Dict(help="The batch: see etabli.core.contracts.Lens").tag(sync=True)
    answered = traitlets.Int(help="The number of the newest choice of spans that the view has").tag(sync=True)
    policy = traitlets.Unicode(help="The policy that is looked at").tag(sync=True)

    def __init__(self, view: dict[str, Any], batch: Any = None, **traits: Any):
        self._batch = batch
        super().__init__(view=view, policy=view["policy"], **traits)

    def pick(self, policy: str) -> dict[str, Any]:
        """Look at another policy; returns what it trains: tokens, their share, their loss."""
        if policy not in self.view["policies"]:
            raise ValueError(f"There is no policy {policy!r}; there are {', '.join(self.view['policies'])}.")
        self.policy = policy
        return self.view["policies"][policy]

    def spans(self, row: str, spans: dict[int, list[list[int]]]) -> dict[str, Any]:
        """Train these stretches of a row's messages under the policy ``spans``; returns what that trains."""
        self.view = self._rows().choose(row, spans)
        return self.pick("spans")

    def messages(self, row: str) -> list[dict[str, Any]]:
        """A row's messages with the spans chosen; ``desk.decide("fix", row, messages=...)`` keeps them."""
        return self._rows().messages(row)

    def _rows(self) -> Any:
        if self._batch is None:
            raise ValueError("Spans can be chosen where the rows are: etabli.lens(...) has them.")
        return self._batch

    @message(row=str, spans=dict, number=int | None)
    def on_spans(self, fields: dict[str, Any]) -> None:
        """Tokens were chosen in the page."""
        self.error = ""
        try:
            with self.hold_sync():
                self.answered = fields.get("number", 0)
                self.spans(fields["row"], {int(number): held for number, held in fields["spans"].items()})
        finally:
            self.send_state("view")  # also where nothing has changed: the page shows what it hoped for

    def wrong(self) -> list[str]:
        """What holds a run up, in words."""
        return [
            f"{name}: {count} of {self.view['of']} rows. {'; '.join(f'row {row}: {why}' for row, why in held[:2])}"
            for (name, count), held in zip(self.view["failing"].items(), self.view["failed"].values())
        ]

    def html(self) -> Markup:
        """The batch as static HTML, under the policy that is looked at."""
        view = self.view
        lines = [
            (name, policy["trained"], f"{policy['share']:.0%}", loss(policy["loss"]))
            for name, policy in view["policies"].items()
        ]
        good = element("p", f"All assertions hold for {view['of']} rows.", class_="etabli-right")
        wrong = [element("p", text, class_="etabli-wrong") for text in self.wrong()]
        more = len(view["rows"]) - TWIN_ROWS
        return fragment(
            wrong or good,
            table(("policy", "trained tokens", "share", "loss"), lines),
            map(self._row, view["rows"][:TWIN_ROWS]),
            notes([f"and {more} more rows"] if more > 0 else []),
        )

    def _row(self, row: dict[str, Any]) -> Markup:
        tokens = map(_token, row["text"], row["role"], row["trained"][self.policy])
        return fragment(notes([row["id"]]), element("pre", tokens, class_="etabli-tokens"))

    def __repr__(self) -> str:
        one = self.view["policies"][self.policy]
        said = "; ".join(self.wrong()) or "all assertions hold"
        return f"MaskLens: {self.policy} trains {one['trained']} tokens ({one['share']:.0%}); {said}"


def _token(text: str, role: str, trained: bool) -> Markup:
    flags = {"data_role": role, "data_trained": str(trained).lower()}
    return element("span", visible(text), class_="etabli-token", **flags)


def loss(value: float | None) -> str:
    """A loss for a person: nats a token."""
    return "—" if value is None else f"{value:.3f}"
