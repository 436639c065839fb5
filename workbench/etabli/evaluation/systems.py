"""The systems that answer: the base, the base with its best prompt, lookup, the tuned model, and checkpoints."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core.contracts import Message, Row
from etabli.core.errors import BadData, BadInput
from etabli.data.questions import answer_message, ends_in_call, last_user_text, question, truth
from etabli.evaluation import baselines
from etabli.evaluation.call_turns import split_at_calls
from etabli.evaluation.clean_answer import CleanAnswer, clean_raw, find_answer_marks, judged_truth
from etabli.evaluation.refusals import AskedRow, name_refused_rows
from etabli.evaluation.test_set import TestSet
from etabli.models import generate, likelihood
from etabli.models.likelihood import Likelihood
from etabli.models.loading import LoadedModel
from etabli.rendering.render import Renderer, is_thinking
from etabli.runs import checkpoints
from etabli.runs.run import Run

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BASE, PROMPTED, LOOKUP, TUNED = "base", "prompted", "lookup", "tuned"
# Bounds of the answer length in tokens where none is given; an answer with reasoning gets at least REASONING_TOKENS.
MIN_NEW_TOKENS, MAX_NEW_TOKENS, REASONING_TOKENS = 32, 1024, 256
CALL_TOKENS = 32  # for the marks that a template writes around a tool call

ReportProgress = Callable[[str, int, int], None]


@dataclass
class System:
    """A system that answers, with its prompts and, once it has answered, its answers: one entry a test row.

    ``prompts`` is None for lookup, which asks no model. With ``adapter`` None the base answers alone.
    """

    name: str
    prompts: list[list[Message]] | None = None
    adapter: Path | None = None
    answers: list[CleanAnswer] = field(default_factory=list)
    raw_answers: list[str] = field(default_factory=list)  # with control tokens
    prompt_texts: list[str] = field(default_factory=list)  # the prompts as the model got them
    prompt_lengths: list[int] = field(default_factory=list)  # in tokens
    cut: list[bool] = field(default_factory=list)  # did the answer reach the greatest length without its end of turn?
    truth_likelihoods: list[Likelihood] = field(default_factory=list)
    choice_likelihoods: list[list[Likelihood]] = field(default_factory=list)


@dataclass(frozen=True)
class AnswerSettings:
    """Tokens an answer, worked examples in a prompt, and instructions for the prompted base."""

    max_new_tokens: int
    shots: int = baselines.SHOTS
    instructions: str | None = None


def build_systems(
    names: list[str], test_set: TestSet, run: Run, loaded_model: LoadedModel, settings: AnswerSettings
) -> list[System]:
    """The systems of these names, each with its prompts. Without training rows lookup and prompted are left out.

    Args:
        names: names from ``contracts.ARMS``, or of the run's checkpoints (``step-000040``).
        test_set: the test rows, and the training rows that the baselines may use; a note is added to its
            ``warnings`` when baselines are left out.

    Raises:
        BadInput: an unknown name.
    """
    names = list(dict.fromkeys(names))
    checkpoint_folders = {folder.name: folder for folder in checkpoints.list_checkpoints(run.folder)}
    known_names = [BASE, PROMPTED, LOOKUP, TUNED, *sorted(checkpoint_folders)]
    if unknown := [name for name in names if name not in known_names]:
        raise BadInput(f"Unknown system {unknown[0]!r}: choose from {', '.join(known_names)}.")
    if not test_set.train and {PROMPTED, LOOKUP} & set(names):
        names = [name for name in names if name not in (PROMPTED, LOOKUP)]
        test_set.warnings.append(
            "The run has no training rows that are answered questions: prompted and lookup are left out."
        )
    neighbours: list[list[Row]] = []
    if {PROMPTED, LOOKUP} & set(names):
        neighbours = baselines.nearest_rows(test_set.tests, test_set.train, max(1, settings.shots))
    plain_prompts = [question(row) for row in test_set.tests]
    builders: dict[str, Callable[[], System]] = {
        BASE: lambda: System(BASE, plain_prompts),
        PROMPTED: lambda: System(PROMPTED, _build_shot_prompts(test_set, neighbours, loaded_model, settings)),
        LOOKUP: lambda: _build_lookup(_find_lookup_rows(test_set, neighbours)),
        TUNED: lambda: System(TUNED, plain_prompts, run.adapter),
    }
    return [
        builders[name]() if name in builders else System(name, plain_prompts, checkpoint_folders[name])
        for name in names
    ]


def _find_lookup_rows(test_set: TestSet, neighbours: list[list[Row]]) -> list[Row]:
    """The closest training row of each test row, where each tool call of a conversation is a row of its own.

    Args:
        neighbours: the closest training rows as they are, closest first; they serve where no row has earlier calls.
    """
    candidates = [question for row in test_set.train for question in split_at_calls(row)]
    if len(candidates) > len(test_set.train):
        neighbours = baselines.nearest_rows(test_set.tests, candidates)
    return [rows[0] for rows in neighbours]


def _build_lookup(rows: list[Row]) -> System:
    """Lookup with its answers; each prompt text names the training row that gave the answer."""
    answers = [judged_truth(row) for row in rows]
    sources = [f"The closest training row ({row['id']}):\n{last_user_text(row)}" for row in rows]
    raw_answers = [answer.text if answer.calls else truth(row) for answer, row in zip(answers, rows)]
    return System(LOOKUP, answers=answers, raw_answers=raw_answers, prompt_texts=sources)


def _build_shot_prompts(
    test_set: TestSet, neighbours: list[list[Row]], loaded_model: LoadedModel, settings: AnswerSettings
) -> list[list[Message]]:
    """Prompts that the template accepts, with as many worked examples as the model's context can hold."""
    shots = [rows[: settings.shots] for rows in neighbours]
    prompts = baselines.build_prompts(test_set.tests, test_set.train, shots, settings.instructions)
    return [
        fit_prompt(prompt, row, loaded_model, settings.max_new_tokens) for prompt, row in zip(prompts, test_set.tests)
    ]


def fit_prompt(prompt: list[Message], row: Row, loaded_model: LoadedModel, max_new_tokens: int) -> list[Message]:
    """The prompt, if necessary without a system turn, or without the farthest worked examples.

    Args:
        row: the test row that the prompt asks; max_new_tokens: the tokens of the context to keep for the answer.
    """
    max_prompt_tokens = context_length(loaded_model) - max_new_tokens
    renderer = Renderer(loaded_model.tokenizer)

    def count_tokens(messages: list[Message]) -> int | None:
        """The prompt's tokens; None if the template refuses it."""
        with contextlib.suppress(BadData):
            return len(renderer.render(messages, prompt=True, tools=row.get("tools")))
        return None

    length = count_tokens(prompt)
    if length is None:  # some templates refuse a system turn, others the tool calls of an example
        prompt = baselines.without_system(prompt)
        length = count_tokens(prompt)
    while (length is None or length > max_prompt_tokens) and (shorter := baselines.without_farthest(prompt, row)):
        prompt, length = shorter, count_tokens(shorter)
    return prompt


def context_length(loaded_model: LoadedModel) -> int:
    """The greatest number of tokens in the model's context; 2**31 where the configuration names none."""
    config = loaded_model.model.config.get_text_config()
    return int(getattr(config, "max_position_embeddings", 0) or 2**31)


def max_answer_tokens(test_set: TestSet, tokenizer: "PreTrainedTokenizerBase", with_reasoning: bool) -> int:
    """The answer length in tokens for every system: 1.25 times the 95 % quantile of the truths' lengths.

    The truths' thoughts count where the model is asked to think.

    Args:
        with_reasoning: the part that is scored may follow other text (a number, an instruction that was followed):
            then an answer gets at least ``REASONING_TOKENS``.
    """
    import numpy as np

    thoughts = [_thought(row) if is_thinking(tokenizer) else "" for row in test_set.tests]
    truths = [thought + judged_truth(row).text for thought, row in zip(thoughts, test_set.tests)]
    lengths = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in truths]
    least = REASONING_TOKENS if with_reasoning or not any(lengths) else MIN_NEW_TOKENS
    extra = CALL_TOKENS if any(map(ends_in_call, test_set.tests)) else 0
    return int(min(MAX_NEW_TOKENS, max(least, 1.25 * np.quantile(lengths, 0.95) + 1 + extra)))


def _thought(row: Row) -> str:
    message = answer_message(row)
    return message.get("reasoning", "") if message else ""


def generate_answers(
    system: System, test_set: TestSet, loaded_model: LoadedModel, max_new_tokens: int, report: ReportProgress
) -> None:
    """Generate the system's answer to every test row. Lookup has its answers already."""
    if system.prompts is None:
        return
    tools = [row.get("tools") for row in test_set.tests]
    asked = [
        AskedRow(row["id"], prompt, row.get("tools"), is_prompt=True)
        for row, prompt in zip(test_set.tests, system.prompts)
    ]
    with loaded_model.using(system.adapter), name_refused_rows(asked, loaded_model.tokenizer):
        output = generate.answer(
            loaded_model.model,
            loaded_model.tokenizer,
            system.prompts,
            max_new_tokens,
            tools=tools,
            progress=lambda count, total: report(system.name, count, total),
        )
    marks = find_answer_marks(loaded_model.tokenizer)
    texts = zip(output.raws, output.texts, output.rendered, tools)
    system.answers = [clean_raw(raw, text, prompt, marks, some) for raw, text, prompt, some in texts]
    system.raw_answers = output.raws
    system.prompt_texts, system.prompt_lengths = output.rendered, output.sizes
    system.cut = output.cut


def score_truths(system: System, test_set: TestSet, loaded_model: LoadedModel, report: ReportProgress) -> None:
    """Compute the likelihood that the system's model gives to the truth of every test row."""
    if system.prompts is not None:
        answers = [[answer_message(row) or _text_message("")] for row in test_set.tests]
        likelihoods = _score_continuations(system, test_set, answers, loaded_model, f"{system.name}, loss", report)
        system.truth_likelihoods = [of_row[0] for of_row in likelihoods]


def score_choices(
    system: System, test_set: TestSet, choices: list[list[str]], loaded_model: LoadedModel, report: ReportProgress
) -> None:
    """Compute the likelihood that the system's model gives to each choice of every test row."""
    if system.prompts is not None:
        answers = [[_text_message(choice) for choice in of_row] for of_row in choices]
        system.choice_likelihoods = _score_continuations(
            system, test_set, answers, loaded_model, f"{system.name}, choices", report
        )


def _text_message(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _score_continuations(
    system: System,
    test_set: TestSet,
    answers: list[list[Message]],
    loaded_model: LoadedModel,
    label: str,
    report: ReportProgress,
) -> list[list[Likelihood]]:
    """The likelihoods of one or more answers to each test row, after the system's prompt."""
    asked = [
        AskedRow(row["id"], [*prompt, answer], row.get("tools"), is_prompt=False)
        for prompt, row, row_answers in zip(system.prompts or [], test_set.tests, answers)
        for answer in row_answers
    ]
    with loaded_model.using(system.adapter), name_refused_rows(asked, loaded_model.tokenizer):
        scores = iter(
            likelihood.score(
                loaded_model.model,
                loaded_model.tokenizer,
                [row.messages for row in asked],
                tools=[row.tools for row in asked],
                progress=lambda count, total: report(label, count, total),
            )
        )
    return [[next(scores) for _ in row_answers] for row_answers in answers]
