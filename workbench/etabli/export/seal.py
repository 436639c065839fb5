"""The seal: does an exported form answer as the model did that was judged? If not, why.

Every form gets the same conversations as messages, the run's test rows and some hard ones, and is compared in its
prompts, its greedy answers, its probabilities along the judged answers, and the task's score.
"""

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from jinja2 import TemplateError
from safetensors import SafetensorError

from etabli.core.contracts import Difference, FirstDifference, FormSeal, Row
from etabli.core.errors import BadData, EtabliError, WrongAdapter
from etabli.core.progress import show_progress
from etabli.core.wording import first_line
from etabli.data.questions import question
from etabli.evaluation import aggregate
from etabli.evaluation.clean_answer import clean_raw, find_answer_marks, judged_truth
from etabli.evaluation.scores import Score, default_scores
from etabli.evaluation.scoring import describe_metrics, score_rows
from etabli.evaluation.systems import System, max_answer_tokens
from etabli.evaluation.test_set import TestSet, build_test_set
from etabli.export.forms import Form, JudgedForm, LogProbabilities
from etabli.export.hard_conversations import Conversation, hard_conversations
from etabli.export.merge import ORIGINAL
from etabli.models import generate
from etabli.models.loading import LoadedModel
from etabli.rendering.render import is_thinking
from etabli.runs.run import Run

ROWS = 24  # test rows of each language
HARD_TOKENS = 48  # of an answer, where no test rows say how long answers are
MARGIN = 0.02  # of the score: a form that may be worse by more is not called the same
SEALED_KL = 0.01  # nats a token: below it the first choice hardly ever changes
HALF = 0.5  # of the probability: below it the listed tokens say little of all
PRECISION_KL = 0.05  # nats a token: more than another way of rounding makes
OTHER_KL = 1.0  # nats a token: no rounding does that
JUDGED, FORM = "judged", "form"
Verdict = Literal["sealed", "drift", "broken"]
OpenForm = Callable[[], AbstractContextManager[Form]]


@dataclass
class Reference:
    """What the judged model did: one entry of each list a conversation, the test rows first.

    ``base`` and ``twice`` are the probabilities with the adapter off, and with twice its strength: what a form has that
    was exported without it, or with it merged twice.
    """

    conversations: list[Conversation]
    test_set: TestSet
    loaded: LoadedModel
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
        if (effect := _mean_kl(self.tuned, self.base)) < SEALED_KL:
            notes.append(
                f"The adapter moves these answers by {effect:.4f} nats a token: a form without it would look the same."
            )
        if statistics.mean(sum(map(math.exp, place.values())) for talk in self.tuned for place in talk) < HALF:
            notes.append("The judged model is unsure: its likeliest tokens hold less than half, so the KL says little.")
        return notes


@show_progress("asking the judged model")
def build_reference(run: Run, limit: int = ROWS, data: str | Path | None = None) -> Reference:
    """Ask the judged model the test rows and the hard conversations.

    Args:
        run: the run. Of an adapter from elsewhere no rows are known: without ``data`` only the hard ones are asked.
        limit: the greatest number of test rows in each language.
        data: an evaluation set; by default the run's own test rows.
    """
    test_set = _select_rows(run, data, limit)
    loaded = run.load()
    judged = JudgedForm(loaded)
    control = set(loaded.tokenizer.all_special_tokens)
    rows = [_of_row(row, control) for row in test_set.tests]
    hard = hard_conversations(judged.text([min(judged.turn_ends or judged.ends or {0})]))
    most = max_answer_tokens(test_set, loaded.tokenizer, with_reasoning=False) if rows else HARD_TOKENS
    reference = Reference(
        [],
        test_set,
        loaded,
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
        reference.answers.append(judged.answer(prompt, most))
    pairs = list(zip(reference.prompts, reference.answers))
    reference.tuned = [judged.log_probabilities(*pair) for pair in pairs]
    with loaded.as_base():
        reference.base = [judged.log_probabilities(*pair) for pair in pairs]
    with loaded.using(loaded.adapter, strength=2.0):
        reference.twice = [judged.log_probabilities(*pair) for pair in pairs]
    return reference


def _of_row(row: Row, control: set[str]) -> Conversation:
    """Return a test row as a conversation. A person may have typed one of the ``control`` tokens, as text."""
    messages = question(row)
    is_typed = any(token in message["content"] for token in control for message in messages)
    return Conversation(row["id"], messages, row.get("tools"), is_typed)


def _select_rows(run: Run, data: str | Path | None, limit: int) -> TestSet:
    if not (data or run.recipe.data):
        return TestSet([], [], "")
    return build_test_set(run, data, limit, with_training=False)


def seal_form(reference: Reference, name: str, open_form: OpenForm, margin: float = MARGIN) -> FormSeal:
    """Compare one form with what was judged.

    Args:
        reference: of the run that was exported.
        name: ``adapter``, ``merged``, ``gguf:q8_0`` …
        open_form: opens the form; an adapter that does not fit its base is a broken form.
        margin: the loss of score that is still called the same, as a share.
    """
    start_time = time.monotonic()
    with contextlib.ExitStack() as stack:
        try:
            form = stack.enter_context(open_form())
        except WrongAdapter as error:
            found = Comparison(f"other base: {error}")
        except (EtabliError, OSError, ValueError, RuntimeError, SafetensorError) as error:
            found = Comparison(f"it can't be opened: {first_line(error)[:300]}")
        else:
            try:
                with show_progress(f"asking {name}"):
                    found = _compare(reference, form)
            except (EtabliError, OSError, ValueError, TemplateError) as error:
                found = Comparison(f"it can't be asked: {first_line(error)[:300]}")
    verdict, cause = _judge(name, found, margin)
    return {
        "form": name,
        "verdict": verdict,
        "cause": cause,
        "sentence": _sentence(name, verdict, cause, found, len(reference.conversations)),
        "conversations": len(reference.conversations),
        "prompt_same": found.first_difference is None,
        "first_difference": found.first_difference,
        "answers_same": found.answers_same,
        "kl": found.kl,
        "largest_change": found.largest_change,
        "score": found.score,
        "score_says": _score_says(found.score, margin),
        "seconds": round(time.monotonic() - start_time, 1),
        "notes": found.notes,
    }


@dataclass
class Comparison:
    """What was found of one form; ``cause`` is a fault that needs no more evidence."""

    cause: str | None = None
    first_difference: FirstDifference | None = None
    answers_same: int = 0
    kl: float | None = None
    base_kl: float = math.inf  # to the judged model without its adapter
    twice_kl: float = math.inf  # to the judged model with its adapter twice
    largest_change: float | None = None
    score: Difference | None = None
    notes: list[str] = field(default_factory=list)


def _compare(reference: Reference, form: Form) -> Comparison:
    found = Comparison()
    _compare_prompts(reference, form, found)
    if found.cause:
        return found
    found.cause = _cause_of_settings(reference, form)
    answers = [form.answer(prompt, reference.most) for prompt in reference.prompts]
    found.answers_same = sum(own == judged for own, judged in zip(answers, reference.answers))
    if any(_runs_on(own, judged, reference.ends) for own, judged in zip(answers, reference.answers)):
        found.cause = "stop token lost"
    told = [form.log_probabilities(*pair) for pair in zip(reference.prompts, reference.answers)]
    kl, found.base_kl, found.twice_kl = (
        _mean_kl(side, told) for side in (reference.tuned, reference.base, reference.twice)
    )
    if math.isinf(kl):
        found.cause = "its weights give no numbers (NaN)"
        return found
    found.kl = kl
    found.largest_change = _largest_change(reference, told)
    found.score = _compare_scores(reference, form, answers)
    found.notes += reference.notes
    return found


def _compare_prompts(reference: Reference, form: Form, found: Comparison) -> None:
    """Put into ``found`` why the prompts of some conversation differ, if they do."""
    typed_in, thought_in = [], []
    for conversation, prompt in zip(reference.conversations, reference.prompts):
        own = form.prompt(conversation.messages, conversation.tools)
        if own == prompt:
            continue
        if conversation.is_typed_control:
            typed_in.append(conversation.name)
        elif form.prompt(conversation.messages, conversation.tools, reference.thinks) == prompt:
            thought_in.append(conversation.name)
        else:
            found.cause = _cause_of_prompt(reference, form, prompt, own)
            found.first_difference = _first_difference(reference, form, conversation.name, prompt, own)
            return
    if len(typed_in) > 1:  # one of them is always the one among the hard conversations
        found.notes.append(
            f"In {len(typed_in)} conversations a person typed a control token. "
            "This form reads it as one, établi as text."
        )
    if thought_in:
        found.notes.append(
            "The form was compared with enable_thinking="
            f"{str(reference.thinks).lower()}, as the model was judged. Its own template does otherwise unless that is "
            "sent with the messages (chat_template_kwargs)."
        )


def _cause_of_settings(reference: Reference, form: Form) -> str | None:
    """Return what of a form's generation config makes its answers others, if anything does."""
    if form.ends is not None and not reference.turn_ends <= form.ends:
        return "stop token lost"
    if form.ends is not None and form.ends - reference.ends:
        return f"other stop tokens ({form.text(sorted(form.ends - reference.ends)[:4])!r} too)"
    if form.settings() not in ({}, reference.settings):
        return f"other generation settings ({', '.join(form.settings())})"
    return None


def _cause_of_prompt(reference: Reference, form: Form, judged: list[int], own: list[int]) -> str:
    """Say why a prompt is another one: a beginning-of-text token, the text itself, or its tokens."""
    tokenizer = reference.loaded.tokenizer
    begin = tokenizer.bos_token_id
    if own == [begin, *judged]:
        return "BOS twice" if judged[:1] == [begin] else "BOS added"
    if judged == [begin, *own]:
        return "BOS missing"
    same_text = form.text(own) == tokenizer.decode(judged)
    return "tokenizer differs" if same_text else "template differs"


def _first_difference(
    reference: Reference, form: Form, name: str, judged: list[int], own: list[int]
) -> FirstDifference:
    place = next((at for at, pair in enumerate(zip(judged, own)) if pair[0] != pair[1]), min(len(judged), len(own)))
    around = slice(max(0, place - 2), place + 4)
    judged_text = str(reference.loaded.tokenizer.decode(judged[around]))
    return {"conversation": name, "place": place, "judged": judged_text, "form": form.text(own[around])}


def _runs_on(own: list[int], judged: list[int], ends: set[int]) -> bool:
    """Say whether an answer goes on after the token at which the judged one ended."""
    return judged[-1:] != [] and judged[-1] in ends and len(own) > len(judged) and own[: len(judged)] == judged


def _mean_kl(judged: list[LogProbabilities], told: list[LogProbabilities]) -> float:
    """KL(judged || form), nats a token, at least: see ``bound_kl``."""
    places = [(p, q) for talk, own in zip(judged, told) for p, q in zip(talk, own)]
    return statistics.mean(bound_kl(p, q) for p, q in places)


def bound_kl(judged: dict[int, float], own: dict[int, float]) -> float:
    """Return a lower bound of KL(judged || own) in nats, from the likeliest tokens of both and their log-probabilities.

    A token that ``own`` does not list has at most the probability of the last one that it lists; all tokens that
    ``judged`` does not list are one. Both can only make the sum smaller. Infinite if ``own`` holds what is no number.
    """
    if not all(map(math.isfinite, own.values())):
        return math.inf
    least = min(own.values())
    total = sum(math.exp(p) * (p - own.get(token, least)) for token, p in judged.items())
    rest = max(1e-9, 1 - sum(map(math.exp, judged.values())))
    own_rest = max(1e-9, 1 - sum(math.exp(own[token]) for token in judged.keys() & own.keys()))
    return max(0.0, total + rest * math.log(rest / own_rest))


def _largest_change(reference: Reference, told: list[LogProbabilities]) -> float:
    """Return the largest change of a judged token's log-probability; of one that is not listed, at least so much."""
    changes = [
        abs(p[token] - q.get(token, min(q.values())))
        for answer, judged, own in zip(reference.answers, reference.tuned, told)
        for token, p, q in zip(answer, judged, own)
        if token in p
    ]
    return max(changes, default=0.0)


def _compare_scores(reference: Reference, form: Form, answers: list[list[int]]) -> Difference | None:
    """Return the form's score minus the judged model's on the test rows; None if no score suits them."""
    test_set = reference.test_set
    count = len(test_set.tests)
    scores = [score for score in _scores_of(test_set) if not score.from_model] if count else []
    if not scores or len(reference.conversations) < count:
        return None
    systems = [
        _as_system(reference, FORM, answers[:count]),
        _as_system(reference, JUDGED, reference.answers[:count]),
    ]
    records = score_rows(test_set, systems, scores[:1])
    return aggregate.paired_difference(describe_metrics(scores[:1], records)[0], records, FORM, JUDGED)


def _scores_of(test_set: TestSet) -> list[Score]:
    return default_scores(test_set.tests, [judged_truth(row).text for row in test_set.tests])


def _as_system(reference: Reference, name: str, answers: Sequence[list[int]]) -> System:
    tokenizer = reference.loaded.tokenizer
    marks, system = find_answer_marks(tokenizer), System(name, [])
    for row, prompt, ids in zip(reference.test_set.tests, reference.prompts, answers):
        own = generate.until_stop(ids, reference.ends)
        raw, text = tokenizer.decode(ids[: len(own) + 1]), tokenizer.decode(own, skip_special_tokens=True).strip()
        prompt_text = tokenizer.decode(prompt)
        system.answers.append(clean_raw(raw, text, prompt_text, marks, row.get("tools")))
        system.raw_answers.append(raw)
        system.prompt_texts.append(prompt_text)
    return system


def _judge(name: str, found: Comparison, margin: float) -> tuple[Verdict, str | None]:
    """Return the verdict and its cause."""
    if found.cause or found.kl is None:
        return "broken", found.cause
    is_worse = _score_says(found.score, margin) == "worse"
    if found.kl <= SEALED_KL:
        return ("broken", "the score is worse") if is_worse else ("sealed", None)
    cause = _cause_of_drift(name, found)
    is_fault = cause in ("adapter not applied", "adapter applied twice", "other base")
    return ("broken" if is_fault or is_worse else "drift"), cause


def _score_says(score: Difference | None, margin: float) -> Literal["same", "worse", "cannot tell"] | None:
    """Return what the interval says: all of it above minus the margin, all of it below, or neither."""
    if score is None:
        return None
    low, high = (float(score[bound]) if score[bound] is not None else math.nan for bound in ("low", "high"))
    return "same" if low > -margin else "worse" if high < -margin else "cannot tell"


def _cause_of_drift(name: str, found: Comparison) -> str:
    assert found.kl is not None
    if found.base_kl < found.kl / 2:
        return "adapter not applied"
    if found.twice_kl < found.kl / 2:
        return "adapter applied twice"
    if found.kl > OTHER_KL:
        return "other base"
    if name == f"merged:{ORIGINAL}":
        return "the base's own 16-bit values, with which the adapter was not trained"
    if name.startswith("gguf:q"):
        return "quantisation"
    return "precision only" if found.kl < PRECISION_KL else "other weights: rounding to 16 bits explains no such change"


def _sentence(name: str, verdict: str, cause: str | None, found: Comparison, count: int) -> str:
    if verdict == "broken":
        where = found.first_difference
        more = f" ({where['judged']!r} is {where['form']!r} in {where['conversation']})" if where else ""
        return f"{name} is broken: {cause}{more}."
    drift = f"{found.kl:.4f} nats a token, {found.answers_same} of {count} answers the same to the last token"
    return f"{name} is sealed{f' with drift ({cause})' if cause else ''}: {drift}."


def size_of(folder: Path) -> int:
    """Return the bytes of all files in an exported folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
