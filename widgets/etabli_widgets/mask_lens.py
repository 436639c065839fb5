"""``MaskLens``: the batch of a step as the loss sees it, token by token."""

from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, style
from etabli_widgets.markup import Markup, element, fragment, notes, table

TWIN_ROWS = 4


class MaskLens(Widget):
    """Tokens by role, trained or masked, with their loss. A button changes the policy; failed assertions are red.

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
        """Show another policy, and return what it trains: tokens, their share, their loss (nats a token)."""
        if policy not in self.view["policies"]:
            raise ValueError(f"There is no policy {policy!r}; there are {', '.join(self.view['policies'])}.")
        self.policy = policy
        return dict(self.view["policies"][policy])

    def spans(self, row: str, spans: dict[int, list[list[int]]]) -> dict[str, Any]:
        """Train these parts of a row's messages under the policy ``spans``, and return what that trains."""
        self.view = self._rows().choose(row, spans)
        return self.pick("spans")

    def messages(self, row: str) -> list[dict[str, Any]]:
        """Return a row's messages with the chosen spans; ``desk.decide("fix", row, messages=...)`` saves them."""
        return list(self._rows().messages(row))

    def _rows(self) -> Any:
        if self._batch is None:
            raise ValueError("This lens has no rows, so no spans can be chosen: use etabli.lens(...).")
        return self._batch

    @message(row=str, spans=dict, number=int | None)
    def on_spans(self, fields: dict[str, Any]) -> None:
        """Handle the choice of tokens in the page."""
        self.error = ""
        try:
            with self.hold_sync():
                self.answered = fields.get("number", 0)
                self.spans(fields["row"], {int(number): spans for number, spans in fields["spans"].items()})
        finally:
            self.send_state("view")  # also if nothing has changed: the page already shows the choice

    def wrong(self) -> list[str]:
        """Describe the failed assertions; they stop a run."""
        return [
            f"No run can start: {count} of {self.view['of']} rows {'fails' if count == 1 else 'fail'} {name}. "
            f"{'; '.join(f'row {row}: {why}' for row, why in examples[:2])}"
            for (name, count), examples in zip(self.view["failing"].items(), self.view["failed"].values())
        ]

    def html(self) -> Markup:
        """Return the batch as static HTML, under the shown policy."""
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
        policy = self.view["policies"][self.policy]
        summary = "; ".join(self.wrong()) or "all assertions hold"
        return f"MaskLens: {self.policy} trains {policy['trained']} tokens ({policy['share']:.0%}); {summary}"


def _token(text: str, role: str, is_trained: bool) -> Markup:
    flags = {"data_role": role, "data_trained": str(is_trained).lower()}
    return element("span", text, class_="etabli-token", **flags)


def loss(value: float | None) -> str:
    """Format a loss (nats a token)."""
    return "—" if value is None else f"{value:.3f}"
