"""Chat with the base, the prompted base, the tuned model and checkpoints side by side, on one copy of the weights."""

import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard, cast

from etabli.core import journal
from etabli.core.contracts import CHAT, ChatEntry, Message
from etabli.core.errors import BadInput
from etabli.evaluation import systems
from etabli.evaluation.systems import BASE, PROMPTED, TUNED, AnswerSettings
from etabli.evaluation.test_set import TestSet, build_prompt_set
from etabli.models import generate
from etabli.models.loading import LoadedModel
from etabli.review.chat_votes import ChatVotes
from etabli.review.rivals import default_rival
from etabli.runs import checkpoints, events
from etabli.runs.adapter_run import open_adapter
from etabli.runs.recipe_code import agree_to_read
from etabli.runs.run import Run

if TYPE_CHECKING:
    from etabli_widgets import ChatCompare

MAX_STRENGTH = 1.5
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0


def chat(
    run: Run | str | Path,
    loaded: LoadedModel | None = None,
    system: str | None = None,
    max_new_tokens: int = 64,
    sides: Sequence[str] | None = None,
    *,
    temperature: float = 0.0,
    seed: int = 0,
    strength: float = 1.0,
    alongside: bool = False,
    trust_code: bool = False,
    votes: str | Path | None = None,
    author: str | None = None,
) -> "ChatCompare":
    """Return a ``ChatCompare``: one prompt, and the answer of every side as it is generated.

    Earlier questions are read from the run's ``chat.jsonl``. The first question loads the model. Votes on the answers
    are not blind, and are never counted with those of the arena.

    Args:
        run: a run or its folder.
        loaded: base and adapter, if they are already in memory.
        system: the system message; by default that of the run's data.
        max_new_tokens: the length of the longest answer, in tokens.
        sides: one or more of ``base``, ``prompted`` (instructions and the closest training rows as worked examples),
            ``tuned``, and the run's checkpoints (``step-000040``); by default these three, without ``prompted`` where
            the run has no rows for it. Votes judge the last one.
        temperature: 0 takes the likeliest token; above 0, all sides sample with the same random numbers of ``seed``.
        strength: the factor of the adapter's update, 0 to 1.5; a slider in the widget.
        alongside: load the model even while a run uses the device.
        trust_code: agree to the rules that the run's recipe names, which side ``prompted`` runs; this is remembered.
        votes: the vote file; by default one for each author, in ``votes/`` in the run folder.
        author: the voter; by default ``ETABLI_AUTHOR`` or the user (``votes.voter_name``).

    Raises:
        BadInput: there is no such side.
        UntrustedCode: ``prompted`` needs rules that you have not agreed to.
        DeviceBusy: (with the first question) a run uses the device.
    """
    from etabli_widgets import ChatCompare

    run = open_adapter(run)
    session = ChatSession(run, loaded, system, max_new_tokens, alongside)
    names, notes = _choose_sides(session, sides, trust_code)
    ballot = ChatVotes(run, names, votes, author)
    widget = ChatCompare(
        {name: session.answerer(name) for name in names},
        events.last_of_kind(run.events(), "start").get("probes", []),
        {"temperature": float(temperature), "seed": seed, "strength": float(strength)},
        session.file.all(),
        session.save_entry,
        keep_vote=lambda vote: ballot.add(vote, session.entry_time(vote["item"])),
        past_votes=ballot.own_votes(),
        tally=ballot.tally(),
        go_on=session.go_on,
        notes=notes,
    )
    session.report = widget.report
    return widget


def _choose_sides(
    session: "ChatSession", sides: Sequence[str] | None, trust_code: bool
) -> tuple[Sequence[str], list[str]]:
    """The sides of a chat, and notes on one that is left out."""
    run = session.run
    next_command = f"etabli.chat({str(run.folder)!r}, ..., trust_code=True)"
    if sides is None:
        rival, note = default_rival(run, trust_code, next_command)
        return list(dict.fromkeys([BASE, rival, TUNED])), [note] if note else []
    session.check_sides(sides)
    if PROMPTED in sides:
        agree_to_read(run.recipe, run.folder, trust_code, next_command)
    return sides, []


class ChatSession:
    """The sides of a chat with a run, and the file of its questions and answers."""

    def __init__(
        self,
        run: Run,
        loaded: LoadedModel | None = None,
        system: str | None = None,
        max_new_tokens: int = 64,
        alongside: bool = False,
    ):
        self.run, self.system, self.max_new_tokens = run, system, max_new_tokens
        self.file = journal.Journal(run.folder / CHAT, _is_entry)
        self._model, self._alongside, self._load_lock = loaded, alongside, threading.Lock()
        self._earlier: list[ChatEntry] = []  # the questions that the next one goes on from, oldest first
        self.report: Callable[[str], None] = lambda text: None  # shows what takes its time

    def load_model(self) -> LoadedModel:
        """Return base and adapter; the first call loads them."""
        with self._load_lock:
            if self._model is None:
                self.report(f"Loading {self.run.recipe.model}: once, for the first question")
                self._model = self.run.load(alongside=self._alongside)
            return self._model

    def side_names(self) -> list[str]:
        """Return the sides that can answer; the newest checkpoint comes first."""
        folders = checkpoints.list_checkpoints(self.run.folder)
        return [BASE, PROMPTED, TUNED, *(folder.name for folder in reversed(folders))]

    def check_sides(self, sides: Sequence[str]) -> None:
        """Raise BadInput if a side does not exist, is named twice, or if there is none."""
        names = self.side_names()
        missing = [name for name in sides if name not in names]
        if missing or not sides or len({*sides}) < len(sides):
            raise BadInput(
                f"Sides {', '.join(missing or sides) or '(none)'} are not possible. Choose different ones of "
                f"{', '.join(names)}."
            )

    def answerer(self, name: str) -> Callable[..., Iterator[str]]:
        """Return a function from a prompt (and temperature, seed, strength) to an iterator over the answer so far."""

        def answer(prompt: str, temperature: float = 0.0, seed: int = 0, strength: float = 1.0) -> Iterator[str]:
            _check_settings(temperature, seed, strength)
            messages, adapter = self._build_prompt(name, prompt)
            with self.load_model().using(adapter):  # load now: the time to the first token must not include loading
                pass
            return self._stream(messages, adapter, strength, temperature, seed)

        return answer

    def _stream(
        self, messages: list[Message], adapter: Path | None, strength: float, temperature: float, seed: int
    ) -> Generator[str, None, bool]:
        model, limit = self.load_model(), self.max_new_tokens
        with model.using(adapter, strength):
            return (yield from generate.stream(model.model, model.tokenizer, messages, limit, temperature, seed))

    @functools.cached_property
    def _empty_question(self) -> TestSet:
        """An empty question after the system message; this runs no code that the recipe names."""
        return build_prompt_set(self.run, [""], self.system, with_training=False)

    @functools.cached_property
    def _empty_question_with_training(self) -> TestSet:
        return build_prompt_set(self.run, [""], self.system)

    def _build_prompt(self, name: str, prompt: str) -> tuple[list[Message], Path | None]:
        """The messages for a side, and its adapter."""
        question: Message = {"role": "user", "content": prompt}
        messages = [*self._empty_question.tests[0]["messages"][:-1], *self._earlier_turns(name), question]
        if name == PROMPTED:
            self.report("Looking for the training rows that are closest to the question")
        rows = self._empty_question_with_training if name == PROMPTED else self._empty_question
        unanswered: Message = {
            "role": "assistant",
            "content": "",
        }  # a row's question is what stands before its last answer
        rows = dataclasses.replace(rows, tests=[{"id": "0", "messages": [*messages, unanswered]}])
        for system in systems.build_systems(
            [name], rows, self.run, self.load_model(), AnswerSettings(self.max_new_tokens)
        ):
            if system.prompts:
                return system.prompts[0], system.adapter
        raise BadInput(
            f"{name} can't be asked: the run has no training rows that are answered questions. Leave it out."
        )

    def _earlier_turns(self, name: str) -> list[Message]:
        """The turns of the conversation so far, with the side's own answers."""
        turns: list[Message] = []
        for entry in self._earlier:
            turns.append({"role": "user", "content": entry["prompt"]})
            turns.append({"role": "assistant", "content": entry["answers"][name]["text"]})
        return turns

    def go_on(self, entry_id: str) -> None:
        """Let the next question go on from an entry, and from those that it went on from; from none if it is empty."""
        entries = {entry["id"]: cast(ChatEntry, entry) for entry in self.file.all()}
        self._earlier = []
        while entry_id in entries:
            entry = entries.pop(entry_id)  # popped, so that a file that was changed by hand makes no circle
            self._earlier.insert(0, entry)
            entry_id = entry.get("after", "")

    def entry_time(self, entry_id: str) -> float:
        """When an entry's answers were complete, in seconds since epoch."""
        return next((float(entry["t"]) for entry in self.file.all() if entry["id"] == entry_id), time.time())

    def save_entry(self, answers: Mapping[str, object]) -> ChatEntry:
        """Add a question, its settings and its answers to the file; return the line as it is written."""
        messages = self._empty_question.tests[0]["messages"]
        system = " ".join(message["content"] for message in messages if message["role"] == "system")
        settings = {"by": journal.author_name(), "after": "", "system": system, "max_new_tokens": self.max_new_tokens}
        entry = {**journal.new_entry(), **settings, **answers}
        self.file.add(entry)
        return cast(ChatEntry, entry)


def _check_settings(temperature: float, seed: int, strength: float) -> None:
    if not 0 <= strength <= MAX_STRENGTH:
        raise BadInput(f"strength is {strength}; it must be between 0 and {MAX_STRENGTH}.")
    if temperature and not MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE:
        raise BadInput(
            f"temperature is {temperature}; it must be 0 (the likeliest token) or between {MIN_TEMPERATURE} and "
            f"{MAX_TEMPERATURE}."
        )
    if not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise BadInput(f"seed is {seed}; it must be a whole number from 0 to 2^63 − 1.")


def read_history(run: Run | str | Path) -> list[ChatEntry]:
    """Return the questions that people asked a run, oldest first, with the answers, from its ``chat.jsonl``."""
    entries = journal.Journal(open_adapter(run).folder / CHAT, _is_entry).all()
    return [entry for entry in entries if _is_entry(entry)]


def _is_entry(line: Mapping[str, object]) -> TypeGuard[ChatEntry]:
    answers = line.get("answers")
    return (
        isinstance(line.get("prompt"), str)
        and isinstance(answers, dict)
        and all(isinstance(answer, dict) and isinstance(answer.get("text"), str) for answer in answers.values())
    )
