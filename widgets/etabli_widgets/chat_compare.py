"""``ChatCompare``: one prompt, several models, answers side by side as they come."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, show_errors, style
from etabli_widgets.chat_entries import SETTINGS, entry_row, group_votes, make_vote, measure_speed, shorten_entry
from etabli_widgets.markup import Markup, element, fragment, notes, table

Answerer = Callable[..., Iterator[str]]
EVERY_SECONDS = 0.25  # at most four updates a second


class ChatCompare(Widget):
    """Ask every side the same prompt, and show the answers next to each other.

    ``ask`` does what the Ask button does: it returns the answers and adds them to ``history``. ``vote`` does what the
    buttons below the answers do.

    Args:
        sides: {name: function from a prompt and the settings to an iterator over the answer so far}. The iterator may
            return true at its end: the answer was cut. The last side is the judged one.
        settings: keyword arguments for every side (temperature, seed, strength); the page can change them.
        past: earlier entries of the chat.
        keep: called with every new entry; its result is saved in ``kept``. Entries with an ``id`` can be voted on.
        keep_vote: called with every vote (item, left, right, choice, lengths); returns the tally so far as a text.
            Without it there is no voting.
        past_votes: earlier votes on these entries.
        go_on: called with the entry that the next question goes on from, or None for one that stands alone; without it
            every question stands alone.
    """

    _esm = script("chat_compare")
    _css = style("chat_compare")

    prompt = traitlets.Unicode("", help="What is asked").tag(sync=True)
    names: "traitlets.List[Any]" = traitlets.List(help="Names of the sides, left to right").tag(sync=True)
    texts = traitlets.Dict(help="{side: answer so far}").tag(sync=True)
    figures = traitlets.Dict(help="{side: tokens, tokens_per_s, first_s, stopped, cut}").tag(sync=True)
    writing = traitlets.Unicode("", help="The side that is answering, or nothing").tag(sync=True)
    doing = traitlets.Unicode("", help="What the kernel is busy with, or nothing").tag(sync=True)
    suggestions: "traitlets.List[Any]" = traitlets.List(help="Prompts to try").tag(sync=True)
    settings = traitlets.Dict(help="What all sides are given, by name").tag(sync=True)
    asked = traitlets.Dict(help="The settings of the answers that are shown").tag(sync=True)
    history: "traitlets.List[Any]" = traitlets.List(help="What was asked, oldest first: prompt, answers, settings").tag(
        sync=True
    )
    place = traitlets.Int(-1, help="Index in history of the question that is shown; -1 while it has no entry").tag(
        sync=True
    )
    votes = traitlets.Dict(help="{id of a question: votes on it, each with left, right, choice}").tag(sync=True)
    tally = traitlets.Unicode("", help="How all votes of this person fell").tag(sync=True)
    can_vote = traitlets.Bool(False, help="Is there a file for votes?").tag(sync=True)
    can_go_on = traitlets.Bool(False, help="Can a question go on from the one before?").tag(sync=True)
    notes: "traitlets.List[Any]" = traitlets.List(help="Notes for the reader").tag(sync=True)

    def __init__(
        self,
        sides: dict[str, Answerer],
        suggestions: Sequence[str] = (),
        settings: dict[str, Any] | None = None,
        past: Sequence[dict[str, Any]] = (),
        keep: Callable[[dict[str, Any]], Any] | None = None,
        keep_vote: Callable[[dict[str, Any]], Any] | None = None,
        past_votes: Sequence[Mapping[str, Any]] = (),
        go_on: Callable[[str], Any] | None = None,
        **traits: Any,
    ):
        history = [shorten_entry(entry) for entry in past]
        initial_traits = {"suggestions": list(suggestions), "settings": settings or {}, "history": history}
        abilities = {"can_vote": keep_vote is not None, "can_go_on": go_on is not None}
        super().__init__(names=list(sides), votes=group_votes(past_votes), **initial_traits, **abilities, **traits)
        self._sides, self._keep, self._keep_vote, self._go_on = sides, keep, keep_vote, go_on
        self._stopped = threading.Event()
        self._asking = threading.Lock()
        self.kept: dict[str, Any] = {}  # the last question as ``keep`` gave it back

    def ask(self, prompt: str, go_on: bool = False, **settings: Any) -> dict[str, str]:
        """Ask every side in turn and return ``{side: answer}``.

        Args:
            prompt: the question.
            go_on: each side gets the question before and its own answer to it, too. Else the question stands alone.
            settings: new values, which stay.

        Raises:
            ValueError: the prompt is empty, or there is no such setting, or nothing to go on from.
            RuntimeError: another prompt is still being answered.
        """
        self._check(prompt, go_on, settings)
        if not self._asking.acquire(blocking=False):
            raise RuntimeError("Still answering the last question; press Stop or wait.")
        try:
            previous = self.settings
            after = self.history[-1]["id"] if go_on else ""
            if self._go_on:
                self._go_on(after)
            self._begin(prompt, settings)
            try:
                for side in self._sides:
                    if not self._stopped.is_set():
                        self._answer(side, prompt)
            finally:  # if a side failed, earlier answers are kept; settings that no side accepted are not
                self.settings = self.settings if self.figures else previous
                self._end(prompt, after)
            return dict(self.texts)
        finally:
            with self.hold_sync():
                self.writing = self.doing = ""
            self._asking.release()

    def _check(self, prompt: str, go_on: bool, settings: dict[str, Any]) -> None:
        if not prompt.strip():
            raise ValueError("The prompt is empty: type a question first.")
        if unknown := sorted({*settings} - {*self.settings}):
            raise ValueError(
                f"There is no setting {', '.join(unknown)}; there are {', '.join(self.settings) or 'none'}."
            )
        if go_on and not self._go_on:
            raise ValueError("In this chat every question stands alone: ask without go_on.")
        if go_on and not (self.history and self.history[-1].get("id")):
            raise ValueError("There is no question before this one to go on from: ask without go_on.")
        missing = [side for side in self._sides if go_on and side not in self.history[-1]["answers"]]
        if missing:
            raise ValueError(f"{', '.join(missing)} did not answer the question before: ask without go_on.")

    def _begin(self, prompt: str, settings: dict[str, Any]) -> None:
        self._stopped.clear()
        with self.hold_sync():
            self.error, self.prompt, self.place = "", prompt, -1
            self.settings = {**self.settings, **settings}
            self.asked = dict(self.settings)
            self.texts, self.figures = {}, {}

    def _end(self, prompt: str, after: str) -> None:
        answers = {side: {"text": self.texts[side], **figures} for side, figures in self.figures.items()}
        if not answers:
            return
        entry = {"prompt": prompt, **self.asked, **({"after": after} if after else {}), "answers": answers}
        self.kept = {}
        try:
            self.kept = self._keep(entry) if self._keep else entry
        finally:  # also if the disk is full
            with self.hold_sync():
                self.history = [*self.history, shorten_entry({**entry, **self.kept})]
                self.place = len(self.history) - 1
        self.refresh()

    def _answer(self, side: str, prompt: str) -> None:
        with self.hold_sync():
            self.writing, self.doing = side, f"{side} is getting ready"
            self.texts = {**self.texts, side: ""}
        coming = self._sides[side](prompt, **self.asked)
        self.report(f"{side} is reading the prompt")
        try:
            text, figures = self._stream_answer(side, coming)
        finally:  # also after an interrupt: an open iterator would block the adapter for others
            getattr(coming, "close", lambda: None)()
        with self.hold_sync():
            self.texts = {**self.texts, side: text}
            self.figures = {**self.figures, side: figures}

    def _stream_answer(self, side: str, coming: Iterator[str]) -> tuple[str, dict[str, Any]]:
        began = last_update = time.monotonic()
        first, text, count, is_cut = None, "", 0, False
        while not self._stopped.is_set():
            try:
                text = next(coming)
            except StopIteration as end:
                is_cut = bool(end.value)
                break
            now, count = time.monotonic(), count + 1
            first = now - began if first is None else first
            if now - last_update > EVERY_SECONDS:
                last_update = now
                with self.hold_sync():
                    self.texts = {**self.texts, side: text}
                    self.report(f"{side} is answering")
        speed = measure_speed(count, first, time.monotonic() - began)
        return text, {**speed, "stopped": self._stopped.is_set(), "cut": is_cut}

    def report(self, text: str) -> None:
        """Show what the kernel is busy with, until the next text or the end of the question."""
        self.doing = f"Stopping: {text}" if self._stopped.is_set() else text

    def vote(self, choice: str, against: str = "", number: int = -1) -> dict[str, str]:
        """Say which of two answers is better, that of the last side or that of ``against``. It is not a blind vote.

        Args:
            choice: the name of the better side, ``tie`` or ``both bad``. A vote can't be taken back.
            against: by default the side before the last.
            number: which question, as an index of ``history``; by default the last.

        Raises:
            ValueError: there is no such question, side or choice, no file for votes, a vote on this pair already, or an
                answer that was stopped.
        """
        if not self._keep_vote:
            raise ValueError("This chat has no file for votes; open it with etabli.chat(run).")
        if not self.history or not self.history[number].get("id"):
            raise ValueError("There is no question that could be voted on: ask one first.")
        entry = self.history[number]
        earlier = self.votes.get(entry["id"], [])
        vote = make_vote(entry, self.names, earlier, choice, against)
        lengths = [len(entry["answers"][vote[side]]) for side in ("left", "right")]
        tally = self._keep_vote({"item": entry["id"], **vote, "lengths": lengths})
        with self.hold_sync():
            self.votes, self.tally = {**self.votes, entry["id"]: [*earlier, vote]}, str(tally or "")
        return vote

    @message(prompt=str, settings=dict | None, go_on=bool | None)
    def on_ask(self, fields: dict[str, Any]) -> None:
        """Handle the Ask button, in a thread, so that the Stop button works meanwhile."""
        self.error = ""  # so that the same error twice is a change that the page sees
        new_settings = fields.get("settings", {})
        settings = {name: new_settings[name] for name in SETTINGS if name in new_settings and name in self.settings}
        options = {**settings, "go_on": fields.get("go_on", False)}
        threading.Thread(target=self._ask_shown, args=(fields["prompt"], options), daemon=True).start()

    @show_errors
    def _ask_shown(self, prompt: str, options: dict[str, Any]) -> None:
        self.ask(prompt, **options)

    @message()
    def on_stop(self, fields: dict[str, Any] | None = None) -> None:
        """Handle the Stop button: end the answer at once."""
        self._stopped.set()
        if self.doing:
            self.report(self.doing)

    @message(item=str, left=str, choice=str)
    def on_vote(self, fields: dict[str, Any]) -> None:
        """Handle a vote below the answers."""
        self.error = ""
        places = [place for place, entry in enumerate(self.history) if entry.get("id") == fields["item"]]
        if not places:
            raise ValueError("There is no such question in this chat.")
        self.vote(fields["choice"], fields["left"], places[0])
        self.refresh()

    def html(self) -> Markup:
        """Return every prompt so far with its answers, as a table."""
        names = list(dict.fromkeys([*self.names, *(name for item in self.history for name in item["answers"])]))
        if not self.history:
            head = element("p", f"ChatCompare: {' and '.join(map(str, self.names))}. Nothing asked yet.")
            return fragment(head, notes(self.notes))
        tally = [f"Votes with the names in sight, not blind: {self.tally}."] if self.tally else []
        rows = (entry_row(entry, names, self.votes.get(entry.get("id", ""), [])) for entry in self.history)
        return fragment(
            element("div", table(["asked", *names], rows), class_="etabli-scroll"), notes([*tally, *self.notes])
        )

    def __repr__(self) -> str:
        return f"ChatCompare({' | '.join(self.names)}: {len(self.history)} asked)"
