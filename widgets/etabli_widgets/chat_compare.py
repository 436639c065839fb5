"""``ChatCompare``: one prompt, several models, answers side by side as they come."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import traitlets

from etabli_widgets._base import Widget, escape, script, shown, style

Answerer = Callable[[str], Iterator[str]]
EVERY_SECONDS = 0.1  # at most ten updates a second


class ChatCompare(Widget):
    """Ask the same of every side and read the answers next to each other.

    ``sides`` maps a name to a function from a prompt to an iterator over the answer so far. ``ask`` is the code path
    of the Ask button: it returns the answers, and ``history`` keeps them.
    """

    _style = "chat_compare"
    _esm = script("chat_compare")
    _css = style(_style)

    prompt = traitlets.Unicode("", help="What is asked").tag(sync=True)
    names = traitlets.List(help="Names of the sides, left to right").tag(sync=True)
    texts = traitlets.Dict(help="{side: answer so far}").tag(sync=True)
    speeds = traitlets.Dict(help="{side: tokens a second}").tag(sync=True)
    writing = traitlets.Unicode("", help="The side that is answering, or nothing").tag(sync=True)
    suggestions = traitlets.List(help="Prompts to try").tag(sync=True)

    def __init__(self, sides: dict[str, Answerer], suggestions: list[str] = (), **traits: Any):
        super().__init__(names=list(sides), suggestions=list(suggestions), **traits)
        self._sides = sides
        self._stopped = threading.Event()
        self._asking = threading.Lock()
        self.history: list[dict[str, Any]] = []

    def ask(self, prompt: str) -> dict[str, str]:
        """Ask every side in turn; returns ``{side: answer}``.

        Raises:
            RuntimeError: another question is still being answered.
        """
        if not prompt.strip():
            raise ValueError("There is nothing to ask: the prompt is empty.")
        if not self._asking.acquire(blocking=False):
            raise RuntimeError("Still answering the last question; press Stop or wait.")
        try:
            self._stopped.clear()
            with self.hold_sync():
                self.error, self.prompt = "", prompt
                self.texts, self.speeds = dict.fromkeys(self._sides, ""), {}
            for side in self._sides:
                self._answer(side, prompt)
            self.history.append({"prompt": prompt, "answers": dict(self.texts)})
            return dict(self.texts)
        finally:
            self.writing = ""
            self._asking.release()

    def _answer(self, side: str, prompt: str) -> None:
        self.writing = side
        began = sent = time.monotonic()
        text, count = "", 0
        for count, text in enumerate(self._sides[side](prompt), 1):  # noqa: B007 (both are read after the loop)
            if self._stopped.is_set():
                break
            if time.monotonic() - sent > EVERY_SECONDS:
                sent = time.monotonic()
                self.texts = {**self.texts, side: text}
        self.texts = {**self.texts, side: text}
        self.speeds = {**self.speeds, side: round(count / max(1e-6, time.monotonic() - began), 1)}

    def on_ask(self, message: dict[str, Any]) -> None:
        """The Ask button. A thread, so that Stop can be heard meanwhile."""
        threading.Thread(target=self._ask_shown, args=(message.get("prompt", ""),), daemon=True).start()

    @shown
    def _ask_shown(self, prompt: str) -> None:
        self.ask(prompt)

    def on_stop(self, message: dict[str, Any] | None = None) -> None:
        """The Stop button: end the answer where it is."""
        self._stopped.set()

    def html(self) -> str:
        """Every question asked so far with its answers, as a table."""
        heads = "".join(f"<th>{escape(name)}" for name in self.names)
        rows = "".join(self._row(item) for item in self.history)
        if not rows:
            return f"<p>ChatCompare: {' and '.join(map(escape, self.names))}. Nothing asked yet.</p>"
        return f"<table><tr><th>asked{heads}</tr>{rows}</table>"

    def _row(self, item: dict[str, Any]) -> str:
        cells = "".join(f"<td><code>{escape(item['answers'].get(name, ''))}</code>" for name in self.names)
        return f"<tr><td>{escape(item['prompt'])}{cells}</tr>"

    def __repr__(self) -> str:
        return f"ChatCompare({' | '.join(self.names)}: {len(self.history)} asked)"
