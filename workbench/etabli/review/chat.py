"""Base, prompted base, tuned model and checkpoints, side by side, on one copy of the weights."""

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from etabli.core import journal
from etabli.core.contracts import CHAT, ChatEntry, Message
from etabli.core.errors import BadInput
from etabli.evaluation import systems
from etabli.evaluation.systems import BASE, PROMPTED, TUNED, AnswerSettings
from etabli.evaluation.test_set import TestSet, build_prompt_set
from etabli.models import generate
from etabli.models.loading import Loaded, load
from etabli.runs import checkpoints, events
from etabli.runs.recipe_code import agree_to_read
from etabli.runs.run import Run

STRONGEST = 1.5
COLDEST, HOTTEST = 0.01, 100.0


def chat(
    run: Run | str | Path,
    loaded: Loaded | None = None,
    system: str | None = None,
    max_new_tokens: int = 64,
    sides: Sequence[str] = (BASE, TUNED),
    *,
    temperature: float = 0.0,
    seed: int = 0,
    strength: float = 1.0,
    alongside: bool = False,
    trust_code: bool = False,
):
    """A ``ChatCompare``: one prompt, every side's answer as it comes.

    What was asked before is read from the run's ``chat.jsonl``. The model is loaded with the first question.

    Args:
        run: a run or its folder.
        loaded: base and adapter, if they are in memory already.
        system: the system message; by default the one of the run's data.
        max_new_tokens: longest answer.
        sides: two or more of ``base``, ``prompted`` (instructions and the closest training rows as worked examples),
            ``tuned``, and the run's checkpoints (``step-000040``).
        temperature: 0 takes the likeliest token; above it all sides draw by the same random numbers of ``seed``.
        strength: what the adapters' updates are multiplied by, 0 to 1.5; a slider in the widget.
        alongside: load the model even while a run owns the device.
        trust_code: say yes to the rules that the run's recipe names, which side ``prompted`` runs; it is kept.

    Raises:
        BadInput: a side that is not there; UntrustedCode: ``prompted`` needs rules that you have not said yes to. When
        asked, DeviceBusy: a run owns the device.
    """
    from etabli_widgets import ChatCompare

    run = Run.attach(run)
    talk = ChatSession(run, loaded, system, max_new_tokens, alongside)
    talk.check(sides)
    if PROMPTED in sides:
        agree_to_read(run.recipe, run.folder, trust_code, f"etabli.chat({str(run.folder)!r}, ..., trust_code=True)")
    past = talk.file.all()
    probes = events.last_of_kind(run.events(), "start").get("probes", [])
    settings = {"temperature": float(temperature), "seed": seed, "strength": float(strength)}
    return ChatCompare({name: talk.side(name) for name in sides}, probes, settings, past, talk.keep)


class ChatSession:
    """What answers in a chat: the run's sides, and the file of what was asked."""

    def __init__(
        self, run: Run, loaded: Loaded | None = None, system: str | None = None, most: int = 64, alongside: bool = False
    ):
        self.run, self.system, self.most = run, system, most
        self.file = journal.Journal(run.folder / CHAT, _is_asked)
        self._loaded, self._alongside, self._loading = loaded, alongside, threading.Lock()

    @property
    def loaded(self) -> Loaded:
        """Base and adapter; loaded when first needed."""
        with self._loading:
            if self._loaded is None:
                self._loaded = load(
                    self.run.recipe.model, adapter=self.run.adapter, dtype=self.run.dtype, alongside=self._alongside
                )
            return self._loaded

    def names(self) -> list[str]:
        """Who can answer."""
        return [BASE, PROMPTED, TUNED, *(folder.name for folder in reversed(checkpoints.list_checkpoints(self.run.folder)))]

    def check(self, sides: Sequence[str]) -> None:
        """Refuse sides that are not there."""
        missing = [name for name in sides if name not in self.names()]
        if missing or not sides or len({*sides}) < len(sides):
            raise BadInput(
                f"Sides are different ones of {', '.join(self.names())}; not {', '.join(missing or sides) or 'none'}."
            )

    def side(self, name: str) -> Callable[..., Iterator[str]]:
        """A function from a prompt (and temperature, seed, strength) to the answer so far, again and again."""

        def answers(prompt: str, temperature: float = 0.0, seed: int = 0, strength: float = 1.0) -> Iterator[str]:
            _check(temperature, seed, strength)
            talk, adapter = self._asked(name, prompt)
            with self.loaded.using(adapter):  # before the first token is waited for: loading is not its time
                pass
            return self._answer(talk, adapter, strength, temperature, seed)

        return answers

    def _answer(self, talk: list[Message], adapter: Path | None, strength: float, temperature: float, seed: int):
        loaded = self.loaded
        with loaded.using(adapter, strength):
            yield from generate.stream(loaded.model, loaded.tokenizer, talk, self.most, temperature, seed)

    @functools.cached_property
    def _rows(self) -> TestSet:
        """An empty question after the system message; no code that the recipe names is run."""
        return build_prompt_set(self.run, [""], self.system, with_training=False)

    @functools.cached_property
    def _rows_with_training(self) -> TestSet:
        return build_prompt_set(self.run, [""], self.system)

    def _asked(self, name: str, prompt: str) -> tuple[list[Message], Path | None]:
        messages = [*self._rows.tests[0]["messages"][:-1], {"role": "user", "content": prompt}]
        rows = self._rows_with_training if name == PROMPTED else self._rows
        rows = dataclasses.replace(rows, tests=[{"id": "0", "messages": messages}])
        found = systems.build_systems([name], rows, self.run, self.loaded, AnswerSettings(self.most))
        if not found:
            raise BadInput(f"{name} can't be asked: the run has no training rows that are answered questions.")
        return found[0].talks[0], found[0].adapter

    def keep(self, asked: dict[str, Any]) -> ChatEntry:
        """Write down what was asked and answered."""
        system = " ".join(turn["content"] for turn in self._rows.tests[0]["messages"] if turn["role"] == "system")
        about = {"by": journal.author(), "system": system, "max_new_tokens": self.most}
        entry = {**journal.stamp(), **about, **asked}
        self.file.add(entry)
        return entry


def _check(temperature: float, seed: int, strength: float) -> None:
    if not 0 <= strength <= STRONGEST:
        raise BadInput(f"strength is 0 to {STRONGEST}, not {strength}.")
    if temperature and not COLDEST <= temperature <= HOTTEST:
        raise BadInput(f"temperature is 0 (the likeliest token) or {COLDEST} to {HOTTEST}, not {temperature}.")
    if not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise BadInput(f"seed is a whole number from 0 to 2^63 − 1, not {seed}.")


def read_history(run: Run | str | Path) -> list[ChatEntry]:
    """What was asked of a run by hand, oldest first, from its ``chat.jsonl``."""
    return journal.Journal(Run.attach(run).folder / CHAT, _is_asked).all()


def _is_asked(line: dict[str, Any]) -> bool:
    answers = line.get("answers")
    return (
        isinstance(line.get("prompt"), str)
        and isinstance(answers, dict)
        and all(isinstance(one, dict) and isinstance(one.get("text"), str) for one in answers.values())
    )
