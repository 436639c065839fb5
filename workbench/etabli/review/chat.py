"""Chat with the base, the prompted base, the tuned model and checkpoints side by side, on one copy of the weights."""

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    sides: Sequence[str] = (BASE, TUNED),
    *,
    temperature: float = 0.0,
    seed: int = 0,
    strength: float = 1.0,
    alongside: bool = False,
    trust_code: bool = False,
) -> "ChatCompare":
    """Return a ``ChatCompare``: one prompt, and the answer of every side as it is generated.

    Earlier questions are read from the run's ``chat.jsonl``. The first question loads the model.

    Args:
        run: a run or its folder.
        loaded: base and adapter, if they are already in memory.
        system: the system message; by default that of the run's data.
        max_new_tokens: the length of the longest answer, in tokens.
        sides: two or more of ``base``, ``prompted`` (instructions and the closest training rows as worked examples),
            ``tuned``, and the run's checkpoints (``step-000040``).
        temperature: 0 takes the likeliest token; above 0, all sides sample with the same random numbers of ``seed``.
        strength: the factor of the adapter's update, 0 to 1.5; a slider in the widget.
        alongside: load the model even while a run uses the device.
        trust_code: agree to the rules that the run's recipe names, which side ``prompted`` runs; this is remembered.

    Raises:
        BadInput: there is no such side.
        UntrustedCode: ``prompted`` needs rules that you have not agreed to.
        DeviceBusy: (with the first question) a run uses the device.
    """
    from etabli_widgets import ChatCompare

    run = open_adapter(run)
    session = ChatSession(run, loaded, system, max_new_tokens, alongside)
    session.check_sides(sides)
    if PROMPTED in sides:
        agree_to_read(run.recipe, run.folder, trust_code, f"etabli.chat({str(run.folder)!r}, ..., trust_code=True)")
    suggestions = events.last_of_kind(run.events(), "start").get("probes", [])
    settings = {"temperature": float(temperature), "seed": seed, "strength": float(strength)}
    answerers = {name: session.answerer(name) for name in sides}
    return ChatCompare(answerers, suggestions, settings, session.file.all(), session.save_entry)


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

    def load_model(self) -> LoadedModel:
        """Return base and adapter; the first call loads them."""
        with self._load_lock:
            if self._model is None:
                run = self.run
                self._model = run.load(alongside=self._alongside)
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
    ) -> Iterator[str]:
        model = self.load_model()
        with model.using(adapter, strength):
            yield from generate.stream(model.model, model.tokenizer, messages, self.max_new_tokens, temperature, seed)

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
        messages = [*self._empty_question.tests[0]["messages"][:-1], question]
        rows = self._empty_question_with_training if name == PROMPTED else self._empty_question
        rows = dataclasses.replace(rows, tests=[{"id": "0", "messages": messages}])
        for system in systems.build_systems(
            [name], rows, self.run, self.load_model(), AnswerSettings(self.max_new_tokens)
        ):
            if system.prompts:
                return system.prompts[0], system.adapter
        raise BadInput(
            f"{name} can't be asked: the run has no training rows that are answered questions. Leave it out."
        )

    def save_entry(self, answers: Mapping[str, object]) -> ChatEntry:
        """Add a question, its settings and its answers to the file; return the line as it is written."""
        messages = self._empty_question.tests[0]["messages"]
        system = " ".join(message["content"] for message in messages if message["role"] == "system")
        settings = {"by": journal.author_name(), "system": system, "max_new_tokens": self.max_new_tokens}
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
