"""Who answers: the base asked plainly, the base prompted at its best, lookup, the tuned model, and its checkpoints."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etabli import generation, likelihoods
from etabli.contracts import Message, Row
from etabli.errors import BadInput
from etabli.evaluation import rivals
from etabli.evaluation.rivals import SHOTS
from etabli.evaluation.sets import TestSet, question, truth
from etabli.evaluation.sets import asked as last_asked
from etabli.likelihoods import Likelihood
from etabli.models.loading import Loaded
from etabli.tokens import render
from etabli.training import checkpoints
from etabli.training.run import Run

BASE, PROMPTED, LOOKUP, TUNED = "base", "prompted", "lookup", "tuned"
LEAST_NEW, MOST_NEW = 32, 256  # tokens an answer, where nobody says how many

Say = Callable[[str, int, int], None]


@dataclass
class Arm:
    """One that answers. ``talks`` are its prompts; lookup has none. ``adapter``: None is the base alone."""

    name: str
    talks: list[list[Message]] | None = None
    adapter: Path | None = None
    answers: list[str] = field(default_factory=list)
    raws: list[str] = field(default_factory=list)
    rendered: list[str] = field(default_factory=list)
    cut: int = 0
    losses: list[Likelihood] = field(default_factory=list)
    choices: list[list[Likelihood]] = field(default_factory=list)


def gather(names: list[str], asked: TestSet, run: Run, loaded: Loaded, most: int, shots: int = SHOTS) -> list[Arm]:
    """The arms of these names, each with its prompts.

    Args:
        names: of ``contracts.ARMS``, or of the run's checkpoints (``step-000040``).
        asked: the test rows and the training rows that rivals may use.
        most: tokens that an answer may have; examples that leave no room for it are left out.
        shots: worked examples for the prompted base.
    """
    plain = [question(row) for row in asked.tests]
    near = rivals.by_language(asked.tests, asked.train)
    made = {
        BASE: lambda: Arm(BASE, plain),
        PROMPTED: lambda: Arm(PROMPTED, _fitting(rivals.prompted(asked.tests, near, shots), asked.tests, loaded, most)),
        LOOKUP: lambda: _lookup(rivals.closest(asked.tests, near)),
        TUNED: lambda: Arm(TUNED, plain, loaded.adapter),
    }
    found = {folder.name: folder for folder in checkpoints.found(run.folder)}
    for name in names:
        if name not in made and name not in found:
            there = ", ".join([*made, *sorted(found)])
            raise BadInput(f"Nobody called {name!r} can answer; there are {there}.")
    return [made[name]() if name in made else Arm(name, plain, found[name]) for name in names]


def _lookup(rows: list[Row]) -> Arm:
    """Lookup's answers; in the place of a prompt the training row that each was found in."""
    answers = [truth(row) for row in rows]
    found = [f"The closest training row ({row['id']}):\n{last_asked(row)}" for row in rows]
    return Arm(LOOKUP, answers=answers, raws=answers, rendered=found)


def _fitting(talks: list[list[Message]], rows: list[Row], loaded: Loaded, most: int) -> list[list[Message]]:
    """The prompts with as many worked examples as the model's context has room for."""
    room = context(loaded) - most
    kept = []
    for talk, row in zip(talks, rows):
        while len(render(talk, loaded.tokenizer, prompt=True)) > room:
            shorter = rivals.without_farthest(talk, row)
            if shorter is None:
                break
            talk = shorter
        kept.append(talk)
    return kept


def context(loaded: Loaded) -> int:
    """Tokens that the model was made for."""
    return int(getattr(loaded.model.config, "max_position_embeddings", 0) or 2**31)


def longest_answer(asked: TestSet, tokenizer: Any) -> int:
    """A quarter more tokens than nineteen truths in twenty have, within reason; the same for every arm."""
    import numpy as np

    sizes = [len(tokenizer(truth(row), add_special_tokens=False)["input_ids"]) for row in asked.tests]
    return int(min(MOST_NEW, max(LEAST_NEW, 1.25 * np.quantile(sizes, 0.95) + 1)))


def answer(arm: Arm, asked: TestSet, loaded: Loaded, most: int, say: Say) -> None:
    """Let an arm answer every test row."""
    if arm.talks is None:
        return
    with loaded.using(arm.adapter):
        made = generation.answer(
            loaded.model, loaded.tokenizer, arm.talks, most, tools=_tools(asked.tests), progress=_as(arm.name, say)
        )
    arm.answers, arm.raws, arm.rendered, arm.cut = made.texts, made.raws, made.rendered, sum(made.cut)


def weigh(arm: Arm, asked: TestSet, loaded: Loaded, say: Say) -> None:
    """How likely an arm finds the truths."""
    if arm.talks is None:
        return
    told = [_told(talk, truth(row)) for talk, row in zip(arm.talks, asked.tests)]
    with loaded.using(arm.adapter):
        arm.losses = likelihoods.score(
            loaded.model, loaded.tokenizer, told, tools=_tools(asked.tests), progress=_as(f"{arm.name}, loss", say)
        )


def choose(arm: Arm, asked: TestSet, offered: list[list[str]], loaded: Loaded, say: Say) -> None:
    """How likely an arm finds each of the choices that a row offers."""
    if arm.talks is None:
        return
    told = [_told(talk, choice) for talk, choices in zip(arm.talks, offered) for choice in choices]
    tools = [held for held, choices in zip(_tools(asked.tests), offered) for _ in choices]
    with loaded.using(arm.adapter):
        flat = iter(
            likelihoods.score(
                loaded.model, loaded.tokenizer, told, tools=tools, progress=_as(f"{arm.name}, choices", say)
            )
        )
    arm.choices = [[next(flat) for _ in choices] for choices in offered]


def _told(talk: list[Message], answer: str) -> list[Message]:
    return [*talk, {"role": "assistant", "content": answer}]


def _tools(rows: list[Row]) -> list[list | None]:
    return [row.get("tools") for row in rows]


def _as(name: str, say: Say) -> Callable[[int, int], None]:
    return lambda done, total: say(name, done, total)
