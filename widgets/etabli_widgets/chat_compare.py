"""``ChatCompare``: one prompt, several models, answers side by side as they come."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, shown, style
from etabli_widgets.markup import Markup, element, fragment, table

Answerer = Callable[..., Iterator[str]]
EVERY_SECONDS = 0.1  # at most ten updates a second
SETTINGS = ("temperature", "seed", "strength")


class ChatCompare(Widget):
    """Ask the same of every side and read the answers next to each other.

    ``sides`` maps a name to a function from a prompt to an iterator over the answer so far. With ``settings`` (a
    temperature, a seed, an adapter's strength) each is given them too, the same for all, and the page can change them.
    ``past`` is what was asked before, ``keep`` is called with every new question and its answers. ``ask`` is the code
    path of the Ask button: it returns the answers, and ``history`` keeps them.
    """

    _esm = script("chat_compare")
    _css = style("chat_compare")

    prompt = traitlets.Unicode("", help="What is asked").tag(sync=True)
    names = traitlets.List(help="Names of the sides, left to right").tag(sync=True)
    texts = traitlets.Dict(help="{side: answer so far}").tag(sync=True)
    figures = traitlets.Dict(help="{side: tokens, tokens_per_s, first_s, stopped}").tag(sync=True)
    writing = traitlets.Unicode("", help="The side that is answering, or nothing").tag(sync=True)
    suggestions = traitlets.List(help="Prompts to try").tag(sync=True)
    settings = traitlets.Dict(help="What all sides are given, by name").tag(sync=True)
    asked = traitlets.Dict(help="The settings of the answers that are shown").tag(sync=True)
    history = traitlets.List(help="What was asked, oldest first: prompt, answers, settings").tag(sync=True)

    def __init__(
        self,
        sides: dict[str, Answerer],
        suggestions: Sequence[str] = (),
        settings: dict[str, Any] | None = None,
        past: Sequence[dict[str, Any]] = (),
        keep: Callable[[dict[str, Any]], Any] | None = None,
        **traits: Any,
    ):
        history = [_entry(item) for item in past]
        given = {"suggestions": list(suggestions), "settings": settings or {}, "history": history}
        super().__init__(names=list(sides), **given, **traits)
        self._sides, self._keep = sides, keep
        self._stopped = threading.Event()
        self._asking = threading.Lock()
        self.kept: dict[str, Any] = {}  # the last question as ``keep`` gave it back

    def ask(self, prompt: str, **settings: Any) -> dict[str, str]:
        """Ask every side in turn; returns ``{side: answer}``. ``settings``: other ones, from now on.

        Raises:
            RuntimeError: another question is still being answered.
        """
        if not prompt.strip():
            raise ValueError("There is nothing to ask: the prompt is empty.")
        if unknown := sorted({*settings} - {*self.settings}):
            raise ValueError(
                f"There is no setting {', '.join(unknown)}; there are {', '.join(self.settings) or 'none'}."
            )
        if not self._asking.acquire(blocking=False):
            raise RuntimeError("Still answering the last question; press Stop or wait.")
        try:
            before = self.settings
            self._begin(prompt, settings)
            try:
                for side in self._sides:
                    if not self._stopped.is_set():
                        self._answer(side, prompt)
            finally:  # sides that were answered before another failed are kept, and settings that none accepted are not
                self.settings = self.settings if self.figures else before
                self._end(prompt)
            return dict(self.texts)
        finally:
            self.writing = ""
            self._asking.release()

    def _begin(self, prompt: str, settings: dict[str, Any]) -> None:
        self._stopped.clear()
        with self.hold_sync():
            self.error, self.prompt = "", prompt
            self.settings = {**self.settings, **settings}
            self.asked = dict(self.settings)
            self.texts, self.figures = {}, {}

    def _end(self, prompt: str) -> None:
        answers = {side: {"text": self.texts[side], **figures} for side, figures in self.figures.items()}
        if not answers:
            return
        texts = {side: one["text"] for side, one in answers.items()}
        entry = {"prompt": prompt, **self.asked, "answers": answers}
        self.history = [*self.history, {"prompt": prompt, "answers": texts, "settings": self.asked}]
        self.kept = {}
        self.kept = self._keep(entry) if self._keep else entry

    def _answer(self, side: str, prompt: str) -> None:
        self.writing = side
        self.texts = {**self.texts, side: ""}
        coming = self._sides[side](prompt, **self.asked)
        try:
            text, figures = self._written(side, coming)
        finally:  # also when interrupted: a suspended answer would keep the adapter as it is, and others waiting
            getattr(coming, "close", lambda: None)()
        self.texts = {**self.texts, side: text}
        self.figures = {**self.figures, side: figures}

    def _written(self, side: str, coming: Iterator[str]) -> tuple[str, dict[str, Any]]:
        began = sent = time.monotonic()
        first, text, count = None, "", 0
        for count, text in enumerate(coming, 1):  # noqa: B007 (both are read after the loop)
            now = time.monotonic()
            first = now - began if first is None else first
            if self._stopped.is_set():
                break
            if now - sent > EVERY_SECONDS:
                sent = now
                self.texts = {**self.texts, side: text}
        return text, self._figures(count, first, time.monotonic() - began)

    def _figures(self, count: int, first: float | None, seconds: float) -> dict[str, Any]:
        """Speed is that of the tokens after the first: the first one waits for the whole prompt to be read."""
        after = seconds - (first or 0.0)
        return {
            "tokens": count,
            "tokens_per_s": round((count - 1) / max(1e-6, after), 1) if count > 1 else None,
            "first_s": None if first is None else round(first, 3),
            "stopped": self._stopped.is_set(),
        }

    @message(prompt=str, settings=dict | None)
    def on_ask(self, fields: dict[str, Any]) -> None:
        """The Ask button. A thread, so that Stop can be heard meanwhile."""
        held = fields.get("settings", {})
        settings = {name: held[name] for name in SETTINGS if name in held and name in self.settings}
        threading.Thread(target=self._ask_shown, args=(fields["prompt"], settings), daemon=True).start()

    @shown
    def _ask_shown(self, prompt: str, settings: dict[str, Any]) -> None:
        self.ask(prompt, **settings)

    @message()
    def on_stop(self, fields: dict[str, Any] | None = None) -> None:
        """The Stop button: end the answer where it is."""
        self._stopped.set()

    def html(self) -> Markup:
        """Every question asked so far with its answers, as a table."""
        names = list(dict.fromkeys([*self.names, *(name for item in self.history for name in item["answers"])]))
        if not self.history:
            return element("p", f"ChatCompare: {' and '.join(map(str, self.names))}. Nothing asked yet.")
        return table(["asked", *names], (_row(item, names) for item in self.history))

    def __repr__(self) -> str:
        return f"ChatCompare({' | '.join(self.names)}: {len(self.history)} asked)"


def _entry(item: dict[str, Any]) -> dict[str, Any]:
    """A question of the file, as ``history`` keeps it."""
    answers = {side: answer["text"] for side, answer in item["answers"].items()}
    settings = {name: item[name] for name in SETTINGS if name in item}
    return {"prompt": item["prompt"], "answers": answers, "settings": settings}


def _row(item: dict[str, Any], names: list[str]) -> list[Markup]:
    settings = [f"{name} {value}" for name, value in item.get("settings", {}).items() if value != DULL.get(name)]
    below = element("div", element("small", ", ".join(settings))) if settings else None
    answers = (element("code", item["answers"].get(name, "")) for name in names)
    return [fragment(item["prompt"], below), *answers]


DULL = {"temperature": 0.0, "seed": 0, "strength": 1.0}  # what need not be said
