"""What the judged model did in each conversation: all that an exported form is compared with."""

import math
import statistics
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core.contracts import SEAL_ROWS, Row
from etabli.core.errors import BadData
from etabli.core.progress import show_progress
from etabli.data.questions import question
from etabli.evaluation.systems import max_answer_tokens
from etabli.evaluation.test_set import TestSet, build_test_set
from etabli.exports.divergence import LogProbabilities, mean_kl
from etabli.exports.forms import JudgedForm
from etabli.exports.hard_conversations import Conversation, hard_conversations
from etabli.rendering.render import is_thinking
from etabli.runs.run import Run

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HARD_TOKENS = 48  # of an answer, where no test rows say how long answers are
SEALED_KL = 0.01  # nats a token: below it the first choice hardly ever changes
HALF = 0.5  # of the probability: below it the listed tokens say little of all


@dataclass
class Reference:
    """What the judged model did: one entry of each list a conversation, the test rows first.

    ``base`` and ``twice`` are the probabilities with the adapter off, and with twice its strength: what a form has that
    was exported without it, or with it merged twice.
    """

    conversations: list[Conversation]
    test_set: TestSet
    tokenizer: "PreTrainedTokenizerBase"
    most: int  # tokens of an answer
    ends: set[int]  # tokens that end an answer
    thinks: bool  # whether it was judged thinking
    settings: dict[str, object]  # of its generation config
    turn_ends: set[int]  # those of them that the chat template writes: what was trained
    prompts: list[list[int]] = field(default_factory=list)
    answers: list[list[int]] = field(default_factory=list)
    tuned: list[LogProbabilities] = field(default_factory=list)
    base: list[LogProbabilities] = field(default_factory=list)
    twice: list[LogProbabilities] = field(default_factory=list)

    @property
    def context(self) -> int:
        """Tokens of the longest conversation with its answer."""
        return max(map(len, self.prompts)) + self.most + 1

    @cached_property
    def notes(self) -> list[str]:
        """Sentences on what the probabilities of this model can't show."""
        notes = []
        if (effect := mean_kl(self.tuned, self.base)) < SEALED_KL:
            notes.append(
                f"The adapter moves these answers by {effect:.4f} nats a token: a form without it would look the same."
            )
        if statistics.mean(sum(map(math.exp, place.values())) for talk in self.tuned for place in talk) < HALF:
            notes.append("The judged model is unsure: its likeliest tokens hold less than half, so the KL says little.")
        return notes


@show_progress("asking the judged model")
def build_reference(run: Run, limit: int = SEAL_ROWS, data: str | Path | None = None) -> Reference:
    """Ask the judged model the test rows and the hard conversations. It is not in memory any more afterwards.

    Args:
        run: the run. Of an adapter from elsewhere no rows are known: without ``data`` only the hard ones are asked.
        limit: the greatest number of test rows in each language.
        data: an evaluation set; by default the run's own test rows.
    """
    test_set = _select_rows(run, data, limit)
    loaded = run.load()
    judged = JudgedForm(loaded)
    rows = [_of_row(row, judged) for row in test_set.tests]
    hard = hard_conversations(judged.text([min(judged.turn_ends or judged.ends or {0})]))
    most = max_answer_tokens(test_set, loaded.tokenizer, with_reasoning=False) if rows else HARD_TOKENS
    reference = Reference(
        [],
        test_set,
        loaded.tokenizer,
        most,
        judged.ends or set(),
        is_thinking(loaded.tokenizer),
        judged.settings(),
        judged.turn_ends,
    )
    for conversation in [*rows, *hard]:
        try:
            prompt = judged.prompt(conversation.messages, conversation.tools)
        except BadData:  # a template without a system turn, or without tools
            continue
        sent = judged.sent(conversation.messages, conversation.tools)
        reference.conversations.append(conversation._replace(messages=sent))
        reference.prompts.append(prompt)
    prompts, reference.answers = reference.prompts, judged.answers(reference.prompts, most)
    reference.tuned = judged.log_probabilities(prompts, reference.answers)
    with loaded.as_base():
        reference.base = judged.log_probabilities(prompts, reference.answers)
    with loaded.using(loaded.adapter, strength=2.0):
        reference.twice = judged.log_probabilities(prompts, reference.answers)
    return reference


def _of_row(row: Row, judged: JudgedForm) -> Conversation:
    messages = question(row)
    return Conversation(row["id"], messages, row.get("tools"), judged.is_control_typed(messages))


def _select_rows(run: Run, data: str | Path | None, limit: int) -> TestSet:
    if not (data or run.recipe.data):
        return TestSet([], [], "")
    return build_test_set(run, data, limit, with_training=False)
