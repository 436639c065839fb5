"""``ChatCompare``: one prompt, several models, answers side by side as they come."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, show_errors, style
from etabli_widgets.markup import Markup, answer, element, fragment, table

Answerer = Callable[..., Iterator[str]]
EVERY_SECONDS = 0.1  # at most ten updates a second
SETTINGS = ("temperature", "seed", "strength")


class ChatCompare(Widget):
    """Ask every side the same prompt, and show the answers next to each other.

    ``ask`` does what the Ask button does: it returns the answers and adds them to ``history``.

    Args:
        sides: {name: function from a prompt and the settings to an iterator over the answer so far}.
        settings: keyword arguments for every side (temperature, seed, strength); the page can change them.
        past: earlier entries of the chat.
        keep: called with every new entry; its result is saved in ``kept``.
    """

    _esm = script("chat_compare")
    _css = style("chat_compare")

    prompt = traitlets.Unicode("", help="What is asked").tag(sync=True)
    names: "traitlets.List[Any]" = traitlets.List(help="Names of the sides, left to right").tag(sync=True)
    texts = traitlets.Dict(help="{side: answer so far}").tag(sync=True)
    figures = traitlets.Dict(help="{side: tokens, tokens_per_s, first_s, stopped}").tag(sync=True)
    writing = traitlets.Unicode("", help="The side that is answering, or nothing").tag(sync=True)
    suggestions: "traitlets.List[Any]" = traitlets.List(help="Prompts to try").tag(sync=True)
    settings = traitlets.Dict(help="What all sides are given, by name").tag(sync=True)
    asked = traitlets.Dict(help="The settings of the answers that are shown").tag(sync=True)
    history: "traitlets.List[Any]" = traitlets.List(help="What was asked, oldest first: prompt, answers, settings").tag(
        sync=True
    )

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
        initial_traits = {"suggestions": list(suggestions), "settings": settings or {}, "history": history}
        super().__init__(names=list(sides), **initial_traits, **traits)
        self._sides, self._keep = sides, keep
        self._stopped = threading.Event()
        self._asking = threading.Lock()
        self.kept: dict[str, Any] = {}  # the last question as ``keep`` gave it back

    def ask(self, prompt: str, **settings: Any) -> dict[str, str]:
        """Ask every side in turn and return ``{side: answer}``. ``settings``: new values, which stay.

        Raises:
            ValueError: the prompt is empty, or there is no such setting.
            RuntimeError: another prompt is still being answered.
        """
        if not prompt.strip():
            raise ValueError("The prompt is empty: type a question first.")
        if unknown := sorted({*settings} - {*self.settings}):
            raise ValueError(
                f"There is no setting {', '.join(unknown)}; there are {', '.join(self.settings) or 'none'}."
            )
        if not self._asking.acquire(blocking=False):
            raise RuntimeError("Still answering the last question; press Stop or wait.")
        try:
            previous = self.settings
            self._begin(prompt, settings)
            try:
                for side in self._sides:
                    if not self._stopped.is_set():
                        self._answer(side, prompt)
            finally:  # if a side failed, earlier answers are kept; settings that no side accepted are not
                self.settings = self.settings if self.figures else previous
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
        texts = {side: answer["text"] for side, answer in answers.items()}
        entry = {"prompt": prompt, **self.asked, "answers": answers}
        self.history = [*self.history, {"prompt": prompt, "answers": texts, "settings": self.asked}]
        self.kept = {}
        self.kept = self._keep(entry) if self._keep else entry

    def _answer(self, side: str, prompt: str) -> None:
        self.writing = side
        self.texts = {**self.texts, side: ""}
        coming = self._sides[side](prompt, **self.asked)
        try:
            text, figures = self._stream_answer(side, coming)
        finally:  # also after an interrupt: an open iterator would block the adapter for others
            getattr(coming, "close", lambda: None)()
        self.texts = {**self.texts, side: text}
        self.figures = {**self.figures, side: figures}

    def _stream_answer(self, side: str, coming: Iterator[str]) -> tuple[str, dict[str, Any]]:
        began = last_update = time.monotonic()
        first, text, count = None, "", 0
        for count, text in enumerate(coming, 1):  # noqa: B007 (both are read after the loop)
            now = time.monotonic()
            first = now - began if first is None else first
            if self._stopped.is_set():
                break
            if now - last_update > EVERY_SECONDS:
                last_update = now
                self.texts = {**self.texts, side: text}
        return text, self._figures(count, first, time.monotonic() - began)

    def _figures(self, count: int, first: float | None, seconds: float) -> dict[str, Any]:
        """Return the figures of an answer. The speed leaves out the first token, which waits for the whole prompt."""
        seconds_after_first = seconds - (first or 0.0)
        return {
            "tokens": count,
            "tokens_per_s": round((count - 1) / max(1e-6, seconds_after_first), 1) if count > 1 else None,
            "first_s": None if first is None else round(first, 3),
            "stopped": self._stopped.is_set(),
        }

    @message(prompt=str, settings=dict | None)
    def on_ask(self, fields: dict[str, Any]) -> None:
        """Handle the Ask button, in a thread, so that the Stop button works meanwhile."""
        new_settings = fields.get("settings", {})
        settings = {name: new_settings[name] for name in SETTINGS if name in new_settings and name in self.settings}
        threading.Thread(target=self._ask_shown, args=(fields["prompt"], settings), daemon=True).start()

    @show_errors
    def _ask_shown(self, prompt: str, settings: dict[str, Any]) -> None:
        self.ask(prompt, **settings)

    @message()
    def on_stop(self, fields: dict[str, Any] | None = None) -> None:
        """Handle the Stop button: end the answer at once."""
        self._stopped.set()

    def html(self) -> Markup:
        """Return every prompt so far with its answers, as a table."""
        names = list(dict.fromkeys([*self.names, *(name for item in self.history for name in item["answers"])]))
        if not self.history:
            return element("p", f"ChatCompare: {' and '.join(map(str, self.names))}. Nothing asked yet.")
        return table(["asked", *names], (_row(item, names) for item in self.history))

    def __repr__(self) -> str:
        return f"ChatCompare({' | '.join(self.names)}: {len(self.history)} asked)"


def _entry(item: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of the chat file in the form that ``history`` has."""
    answers = {side: answer["text"] for side, answer in item["answers"].items()}
    settings = {name: item[name] for name in SETTINGS if name in item}
    return {"prompt": item["prompt"], "answers": answers, "settings": settings}


def _row(item: dict[str, Any], names: list[str]) -> list[Markup]:
    settings = [f"{name} {value}" for name, value in item.get("settings", {}).items() if value != DEFAULTS.get(name)]
    settings_line = element("div", element("small", ", ".join(settings))) if settings else None
    answers = (answer(item["answers"].get(name, "")) for name in names)
    return [fragment(item["prompt"], settings_line), *answers]


DEFAULTS = {"temperature": 0.0, "seed": 0, "strength": 1.0}  # settings that are not shown
