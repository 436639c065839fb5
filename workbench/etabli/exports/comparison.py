"""Compare one exported form with what was judged: prompts, settings, answers, probabilities, score."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from etabli.core.contracts import Difference, FirstDifference
from etabli.evaluation import aggregate
from etabli.evaluation.clean_answer import clean_raw, find_answer_marks, judged_truth
from etabli.evaluation.scores import Score, default_scores
from etabli.evaluation.scoring import describe_metrics, score_rows
from etabli.evaluation.systems import System
from etabli.evaluation.test_set import TestSet
from etabli.exports.divergence import largest_change, mean_kl
from etabli.exports.forms import Form
from etabli.exports.reference import Reference
from etabli.models import generate

JUDGED, FORM = "judged", "form"


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


def compare(reference: Reference, form: Form) -> Comparison:
    """Ask a form all that the judged model was asked; if its prompts differ, no more than its prompts."""
    found = Comparison()
    _compare_prompts(reference, form, found)
    if found.cause:
        return found
    found.cause = _cause_of_settings(reference, form)
    answers = form.answers(reference.prompts, reference.most)
    found.answers_same = sum(own == judged for own, judged in zip(answers, reference.answers))
    if any(_runs_on(own, judged, reference.ends) for own, judged in zip(answers, reference.answers)):
        found.cause = "stop token lost"
    told = form.log_probabilities(reference.prompts, reference.answers)
    kl, found.base_kl, found.twice_kl = (
        mean_kl(side, told) for side in (reference.tuned, reference.base, reference.twice)
    )
    if math.isinf(kl):
        found.cause = "its weights give no numbers (NaN)"
        return found
    found.kl = kl
    found.largest_change = largest_change(reference.answers, reference.tuned, told)
    found.score = _compare_scores(reference, form, answers)
    found.notes += reference.notes
    return found


def _compare_prompts(reference: Reference, form: Form, found: Comparison) -> None:
    """Put into ``found`` why the prompts of some conversation differ, if they do."""
    typed_in, thought_in = [], []
    for conversation, prompt in zip(reference.conversations, reference.prompts):
        if conversation.name in form.limits:
            found.notes.append(form.limits[conversation.name])
            continue
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
    tokenizer = reference.tokenizer
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
    judged_text = str(reference.tokenizer.decode(judged[around]))
    return {"conversation": name, "place": place, "judged": judged_text, "form": form.text(own[around])}


def _runs_on(own: list[int], judged: list[int], ends: set[int]) -> bool:
    """Say whether an answer goes on after the token at which the judged one ended."""
    return judged[-1:] != [] and judged[-1] in ends and len(own) > len(judged) and own[: len(judged)] == judged


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
    tokenizer = reference.tokenizer
    marks, system = find_answer_marks(tokenizer), System(name, [])
    for row, prompt, ids in zip(reference.test_set.tests, reference.prompts, answers):
        own = generate.until_stop(ids, reference.ends)
        raw, text = tokenizer.decode(ids[: len(own) + 1]), tokenizer.decode(own, skip_special_tokens=True).strip()
        prompt_text = tokenizer.decode(prompt)
        system.answers.append(clean_raw(raw, text, prompt_text, marks, row.get("tools")))
        system.raw_answers.append(raw)
        system.prompt_texts.append(prompt_text)
    return system
