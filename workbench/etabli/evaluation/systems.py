"""Who answers: the base asked plainly, the base prompted at its best, lookup, the tuned model, and its checkpoints."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etabli.core.contracts import Message, Row
from etabli.core.errors import BadData, BadInput
from etabli.evaluation import baselines, test_set
from etabli.evaluation.test_set import TestSet
from etabli.models import generate, likelihood
from etabli.models.likelihood import Likelihood
from etabli.models.loading import Loaded
from etabli.rendering.render import render
from etabli.runs import checkpoints
from etabli.runs.run import Run

BASE, PROMPTED, LOOKUP, TUNED = "base", "prompted", "lookup", "tuned"
LEAST_NEW, MOST_NEW, ROOM = 32, 1024, 256  # tokens an answer, where nobody says how many

ReportProgress = Callable[[str, int, int], None]


@dataclass
class System:
    """One that answers. ``talks`` are its prompts; lookup has none. ``adapter``: None is the base alone."""

    name: str
    talks: list[list[Message]] | None = None
    adapter: Path | None = None
    answers: list[str] = field(default_factory=list)
    raws: list[str] = field(default_factory=list)
    rendered: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)  # tokens of each prompt
    cut: int = 0  # answers that had no end within the tokens allowed
    losses: list[Likelihood] = field(default_factory=list)
    choices: list[list[Likelihood]] = field(default_factory=list)


@dataclass(frozen=True)
class AnswerSettings:
    """How an evaluation asks: tokens an answer, worked examples, instructions for the prompted base."""

    max_new_tokens: int
    shots: int = baselines.SHOTS
    instructions: str | None = None


def build_systems(names: list[str], asked: TestSet, run: Run, loaded: Loaded, asking: AnswerSettings) -> list[System]:
    """The arms of these names, each with its prompts. Without training rows lookup and prompted are left out.

    Args:
        names: of ``contracts.ARMS``, or of the run's checkpoints (``step-000040``).
        asked: the test rows and the training rows that rivals may use.

    Raises:
        BadInput: an unknown name.
    """
    found = {folder.name: folder for folder in checkpoints.list_checkpoints(run.folder)}
    for name in names:
        if name not in (BASE, PROMPTED, LOOKUP, TUNED) and name not in found:
            there = ", ".join([BASE, PROMPTED, LOOKUP, TUNED, *sorted(found)])
            raise BadInput(f"Nobody called {name!r} can answer; there are {there}.")
    wanted = [name for name in dict.fromkeys(names) if asked.train or name not in (PROMPTED, LOOKUP)]
    if len(wanted) < len(dict.fromkeys(names)):
        asked.said.append("The run has no training rows that are answered questions: prompted and lookup are left out.")
    near = baselines.nearest_rows(asked.tests, asked.train, max(1, asking.shots)) if {PROMPTED, LOOKUP} & {*wanted} else []
    plain = [test_set.question(row) for row in asked.tests]
    made = {
        BASE: lambda: System(BASE, plain),
        PROMPTED: lambda: System(PROMPTED, _prompted(asked, near, loaded, asking)),
        LOOKUP: lambda: _lookup([rows[0] for rows in near]),
        TUNED: lambda: System(TUNED, plain, run.adapter),
    }
    return [made[name]() if name in made else System(name, plain, found[name]) for name in wanted]


def _lookup(rows: list[Row]) -> System:
    """Lookup's answers; in the place of a prompt the training row that each was found in."""
    answers = [test_set.truth(row) for row in rows]
    found = [f"The closest training row ({row['id']}):\n{test_set.asked(row)}" for row in rows]
    return System(LOOKUP, answers=answers, raws=answers, rendered=found)


def _prompted(asked: TestSet, near: list[list[Row]], loaded: Loaded, asking: AnswerSettings) -> list[list[Message]]:
    shown = [rows[: asking.shots] for rows in near]
    talks = baselines.build_prompts(asked.tests, asked.train, shown, asking.instructions)
    return [_fitting(talk, row, loaded, asking.max_new_tokens) for talk, row in zip(talks, asked.tests)]


def _fitting(talk: list[Message], row: Row, loaded: Loaded, most: int) -> list[Message]:
    """A prompt that the template takes, with as many worked examples as the model's context has room for."""
    room = context_length(loaded) - most
    try:
        size = _size(talk, row, loaded)
    except BadData:  # some templates refuse a system turn
        talk = baselines.without_system(talk)
        size = _size(talk, row, loaded)
    while size > room and (shorter := baselines.without_farthest(talk, row)):
        talk, size = shorter, _size(shorter, row, loaded)
    return talk


def _size(talk: list[Message], row: Row, loaded: Loaded) -> int:
    return len(render(talk, loaded.tokenizer, prompt=True, tools=row.get("tools")))


def context_length(loaded: Loaded) -> int:
    """Tokens that the model was made for."""
    config = loaded.model.config.get_text_config()
    return int(getattr(config, "max_position_embeddings", 0) or 2**31)


def max_answer_tokens(asked: TestSet, tokenizer: Any, reasoned: bool) -> int:
    """A quarter more tokens than nineteen truths in twenty have; the same for every arm.

    Args:
        reasoned: what is scored may come after much else (a number, an instruction followed): then there is room.
    """
    import numpy as np

    sizes = [len(tokenizer(test_set.truth(row), add_special_tokens=False)["input_ids"]) for row in asked.tests]
    least = ROOM if reasoned or not any(sizes) else LEAST_NEW
    return int(min(MOST_NEW, max(least, 1.25 * np.quantile(sizes, 0.95) + 1)))


def generate_answers(arm: System, asked: TestSet, loaded: Loaded, most: int, say: ReportProgress) -> None:
    """Let an arm answer every test row."""
    if arm.talks is None:
        return
    with loaded.using(arm.adapter):
        made = generate.answer(
            loaded.model, loaded.tokenizer, arm.talks, most, tools=_tools(asked.tests), progress=_as(arm.name, say)
        )
    arm.answers, arm.raws, arm.rendered, arm.sizes = made.texts, made.raws, made.rendered, made.sizes
    arm.cut = sum(made.cut)


def score_truths(arm: System, asked: TestSet, loaded: Loaded, say: ReportProgress) -> None:
    """How likely an arm finds the truths."""
    if arm.talks is None:
        return
    told = [_told(talk, test_set.truth(row)) for talk, row in zip(arm.talks, asked.tests)]
    with loaded.using(arm.adapter):
        arm.losses = likelihood.score(
            loaded.model, loaded.tokenizer, told, tools=_tools(asked.tests), progress=_as(f"{arm.name}, loss", say)
        )


def score_choices(arm: System, asked: TestSet, offered: list[list[str]], loaded: Loaded, say: ReportProgress) -> None:
    """How likely an arm finds each of the choices that a row offers."""
    if arm.talks is None:
        return
    told = [_told(talk, choice) for talk, choices in zip(arm.talks, offered) for choice in choices]
    tools = [held for held, choices in zip(_tools(asked.tests), offered) for _ in choices]
    with loaded.using(arm.adapter):
        flat = iter(
            likelihood.score(
                loaded.model, loaded.tokenizer, told, tools=tools, progress=_as(f"{arm.name}, choices", say)
            )
        )
    arm.choices = [[next(flat) for _ in choices] for choices in offered]


def _told(talk: list[Message], answer: str) -> list[Message]:
    return [*talk, {"role": "assistant", "content": answer}]


def _tools(rows: list[Row]) -> list[list | None]:
    return [row.get("tools") for row in rows]


def _as(name: str, say: ReportProgress) -> Callable[[int, int], None]:
    return lambda done, total: say(name, done, total)
