"""Compare one exported form with what was judged: prompts, settings, answers, probabilities, score."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from etabli.core.contracts import AnswerDifference, Difference, FirstDifference
from etabli.core.wording import count_of
from etabli.evaluation import aggregate
from etabli.evaluation.clean_answer import clean_raw, find_answer_marks, judged_truth
from etabli.evaluation.scores import Score, default_scores
from etabli.evaluation.scoring import describe_metrics, score_rows
from etabli.evaluation.systems import System
from etabli.evaluation.test_set import TestSet
from etabli.exports.divergence import largest_change, lead_of, mean_kl
from etabli.exports.forms import Form
from etabli.exports.reference import Reference
from etabli.models import generate

JUDGED, FORM = "judged", "form"
CLOSE = 0.5  # nats: a lead that rounding may undo


@dataclass
class Comparison:
    """What was result of one form; ``cause`` is a fault that needs no more evidence."""

    cause: str | None = None
    prompt_same: bool | None = None  # None: it was not asked
    first_difference: FirstDifference | None = None
    answers_same: int = 0
    answers_close: int = 0  # others that part where the judged model's choice was close
    first_answer: AnswerDifference | None = None
    kl: float | None = None
    base_kl: float = math.inf  # to the judged model without its adapter
    twice_kl: float = math.inf  # to the judged model with its adapter twice
    largest_change: float | None = None
    score: Difference | None = None
    notes: list[str] = field(default_factory=list)


def compare(reference: Reference, form: Form) -> Comparison:
    """Ask a form all that the judged model was asked; if its prompts differ, no more than its prompts."""
    result = Comparison(notes=[*form.notes])
    _compare_prompts(reference, form, result)
    if result.cause:
        return result
    result.cause = _cause_of_settings(reference, form, result)
    answers = form.answers(reference.prompts, reference.most)
    _compare_answers(reference, form, answers, result)
    probabilities = form.log_probabilities(reference.prompts, reference.answers)
    kl, result.base_kl, result.twice_kl = (
        mean_kl(side, probabilities) for side in (reference.tuned, reference.base, reference.twice)
    )
    if math.isinf(kl):
        result.cause = "its weights give no numbers (NaN)"
        return result
    result.kl = kl
    result.largest_change = largest_change(reference.answers, reference.tuned, probabilities)
    result.score = _compare_scores(reference, answers)
    result.notes += reference.notes
    return result


def _compare_prompts(reference: Reference, form: Form, result: Comparison) -> None:
    """Put into ``result`` why the prompts of some conversation differ, if they do."""
    result.prompt_same = True
    limits: Counter[str] = Counter()
    typed_count, is_thought_in = 0, False
    test_count = len(reference.test_set.tests)
    for number, (conversation, prompt) in enumerate(zip(reference.conversations, reference.prompts, strict=True)):
        if limit := form.limit(conversation):
            limits[limit] += 1
            continue
        own = form.prompt(conversation.messages, conversation.tools)
        if own == prompt:
            continue
        if conversation.is_typed_control:
            typed_count += number < test_count
        elif form.prompt(conversation.messages, conversation.tools, reference.thinks) == prompt:
            is_thought_in = True
        else:
            result.cause, result.prompt_same = _cause_of_prompt(reference, form, prompt, own), False
            result.first_difference = _first_difference(reference, form, conversation.name, prompt, own)
            return
    result.notes += [f"{count_of(count, 'conversation')} not compared: {limit}" for limit, count in limits.items()]
    if typed_count:
        result.notes.append(
            f"In {count_of(typed_count, 'test row')} a person typed a control token. This form reads it as one, établi "
            "as text."
        )
    if is_thought_in:
        result.notes.append(
            "The form was compared with enable_thinking="
            f"{str(reference.thinks).lower()}, as the model was judged. Its own template does otherwise unless that is "
            "sent with the messages (chat_template_kwargs)."
        )


def _cause_of_settings(reference: Reference, form: Form, result: Comparison) -> str | None:
    """Return what of a form's generation config makes its answers others, if anything does."""
    if form.ends is not None and not reference.turn_ends <= form.ends:
        return "stop token lost"
    if form.ends is not None and form.ends - reference.ends:
        return f"other stop tokens ({form.text(sorted(form.ends - reference.ends)[:4])!r} too)"
    own, judged = form.settings(), ", ".join(reference.settings)
    if own is None and judged:
        result.notes.append(f"It was judged with {reference.settings}. This form holds no settings: send them.")
    elif own == {} and judged:
        return f"generation settings lost ({judged})"
    elif own is not None and own != reference.settings:
        return f"other generation settings ({', '.join(own)})"
    return None


def _compare_answers(reference: Reference, form: Form, answers: list[list[int]], result: Comparison) -> None:
    """Put into ``result`` how many answers are the same, and where the others part."""
    differences = []
    for number, (own, judged) in enumerate(zip(answers, reference.answers, strict=True)):
        if own == judged:
            result.answers_same += 1
            continue
        if runs_on(own, judged, reference.ends):
            result.cause = result.cause or "stop token lost"
        differences.append(_answer_difference(reference, form, number, own))
    result.answers_close = sum(one["lead"] is not None and one["lead"] < CLOSE for one in differences)
    result.first_answer = max(differences, key=lambda one: one["lead"] or 0.0, default=None)


def _answer_difference(reference: Reference, form: Form, number: int, own: list[int]) -> AnswerDifference:
    judged, places = reference.answers[number], reference.tuned[number]
    place = _first_place(judged, own)
    return {
        "conversation": reference.conversations[number].name,
        "place": place,
        "judged": str(reference.tokenizer.decode(judged[place : place + 1])),
        "form": form.text(own[place : place + 1]),
        "lead": lead_of(places[place]) if place < len(places) else None,
    }


def _first_place(first: list[int], second: list[int]) -> int:
    """Return the place of the first difference of two lists, one of which may end there."""
    pairs = enumerate(zip(first, second))
    return next((place for place, (one, other) in pairs if one != other), min(len(first), len(second)))


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
    place = _first_place(judged, own)
    around = slice(max(0, place - 2), place + 4)
    judged_text = str(reference.tokenizer.decode(judged[around]))
    return {"conversation": name, "place": place, "judged": judged_text, "form": form.text(own[around])}


def runs_on(own: list[int], judged: list[int], ends: set[int]) -> bool:
    """Say whether an answer goes on after the token at which the judged one ended."""
    return judged[-1:] != [] and judged[-1] in ends and len(own) > len(judged) and own[: len(judged)] == judged


def _compare_scores(reference: Reference, answers: list[list[int]]) -> Difference | None:
    """Return the form's score minus the judged model's on the test rows; None if no score suits them."""
    test_set = reference.test_set
    count = len(test_set.tests)
    scores = [score for score in _scores_of(test_set) if not score.from_model] if count else []
    if not scores:
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
    for row, prompt, ids in zip(reference.test_set.tests, reference.prompts[: len(answers)], answers, strict=True):
        own = generate.until_stop(ids, reference.ends)
        raw, text = tokenizer.decode(ids[: len(own) + 1]), tokenizer.decode(own, skip_special_tokens=True).strip()
        prompt_text = tokenizer.decode(prompt)
        system.answers.append(clean_raw(raw, text, prompt_text, marks, row.get("tools")))
        system.raw_answers.append(raw)
        system.prompt_texts.append(prompt_text)
    return system
