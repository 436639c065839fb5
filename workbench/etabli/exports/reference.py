"""What the judged model did in each conversation: all that an exported form is compared with."""

import dataclasses
import gc
import math
import statistics
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core.contracts import SEAL_ROWS, SEALED_KL, Row
from etabli.core.progress import show_progress
from etabli.core.wording import count_of
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
HALF = 0.5  # of the probability: below it the listed tokens say little of all


@dataclass
class Reference:
    """What the judged model did: one entry of each list a conversation, those of the test rows first, in their order.

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
    left_out: list[str] = field(default_factory=list)  # sentences on test rows that could not be asked
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
        notes = [*self.left_out]
        if (effect := mean_kl(self.tuned, self.base)) < SEALED_KL:
            notes.append(
                f"The adapter moves these answers by {effect:.4f} nats a token: a form without it would look the same."
            )
        if not any(answer[-1:] and answer[-1] in self.ends for answer in self.answers):
            notes.append(
                f"No judged answer ended within {count_of(self.most, 'token')}: a lost stop could not be seen."
            )
        if statistics.mean(sum(map(math.exp, place.values())) for talk in self.tuned for place in talk) < HALF:
            notes.append("The judged model is unsure: its likeliest tokens hold less than half, so the KL says little.")
        return notes


def build_reference(run: Run, limit: int = SEAL_ROWS, data: str | Path | None = None) -> Reference:
    """Ask the judged model the test rows and the hard conversations. It is not in memory any more afterwards.

    Args:
        run: the run. Of an adapter from elsewhere no rows are known: without ``data`` only the hard ones are asked.
        limit: the greatest number of test rows in each language.
        data: an evaluation set; by default the run's own test rows.
    """
    reference = _ask_judged(run, _select_rows(run, data, limit))
    gc.collect()  # PEFT's models hold themselves
    return reference


@show_progress("asking the judged model")
def _ask_judged(run: Run, test_set: TestSet) -> Reference:
    loaded = run.load()
    judged = JudgedForm(loaded)
    rows = [row for row in test_set.tests if judged.can_ask(question(row), row.get("tools"))]
    reference = Reference(
        [],
        _keep_rows(test_set, rows),
        loaded.tokenizer,
        max_answer_tokens(test_set, loaded.tokenizer, with_reasoning=False) if rows else HARD_TOKENS,
        judged.ends or set(),
        is_thinking(loaded.tokenizer),
        judged.settings() or {},
        judged.turn_ends,
    )
    if missing := len(test_set.tests) - len(rows):
        reference.left_out.append(f"{count_of(missing, 'test row')} can't be written by the model's chat template.")
    end_of_turn = judged.text([min(judged.turn_ends or judged.ends or {0})])
    for conversation in [*(_of_row(row, judged) for row in rows), *hard_conversations(end_of_turn)]:
        messages, tools = conversation.messages, conversation.tools
        if judged.can_ask(messages, tools):  # some templates know no system turn, and some no tools
            reference.conversations.append(conversation._replace(messages=judged.sent(messages, tools)))
            reference.prompts.append(judged.prompt(messages, tools))
    prompts, reference.answers = reference.prompts, judged.answers(reference.prompts, reference.most)
    reference.tuned = judged.log_probabilities(prompts, reference.answers)
    with loaded.as_base():
        reference.base = judged.log_probabilities(prompts, reference.answers)
    with loaded.using(loaded.adapter, strength=2.0):
        reference.twice = judged.log_probabilities(prompts, reference.answers)
    return reference


def _keep_rows(test_set: TestSet, rows: list[Row]) -> TestSet:
    """Return a test set with some of its rows, and with what belongs to each."""
    kept = {id(row) for row in rows}
    is_kept = [id(row) in kept for row in test_set.tests]
    return dataclasses.replace(
        test_set,
        tests=rows,
        clusters=list(compress(test_set.clusters, is_kept)),
        slices=list(compress(test_set.slices, is_kept)),
        overlaps=list(compress(test_set.overlaps, is_kept)),
    )


def _of_row(row: Row, judged: JudgedForm) -> Conversation:
    messages = question(row)
    return Conversation(row["id"], messages, row.get("tools"), judged.is_control_typed(messages))


def _select_rows(run: Run, data: str | Path | None, limit: int) -> TestSet:
    if not (data or run.recipe.data):
        return TestSet([], [], "")
    return build_test_set(run, data, limit, with_training=False)
