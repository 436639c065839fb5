"""``etabli export --json``, ``etabli seal --json`` and ``seal.json``."""

from typing import Literal, NotRequired, TypedDict

from etabli.core.contracts.evaluation import Difference

SEAL_FORMS = ("adapter", "merged", "gguf:q8_0")
SEALED_KL = 0.01  # nats a token: below it a form is sealed, since the first choice hardly ever changes
SEAL_ROWS = 24  # test rows of each language
SEAL_MARGIN = 0.02  # of the score: a form that may be worse by more is not called the same


class FirstDifference(TypedDict):
    """Where a prompt is another one for the first time: what stands there, as text."""

    conversation: str
    place: int  # in tokens
    judged: str
    form: str


class AnswerDifference(TypedDict):
    """The first token at which a greedy answer is another one. ``lead``: of the judged token, in nats."""

    conversation: str
    place: int  # in tokens of the answer
    judged: str
    form: str
    lead: float | None


class FormSeal(TypedDict):
    """One exported form beside the model that was judged."""

    form: str
    verdict: Literal["sealed", "drift", "broken"]
    cause: str | None  # null if it is sealed
    mend: str | None  # what to do about it; null if it is sealed
    sentence: str
    conversations: int
    prompt_same: bool | None  # null if the form could not be opened or asked
    first_difference: FirstDifference | None
    answers_same: int  # greedy answers that are the same to the last token
    answers_close: int  # of the others: those that part where the judged model's choice was close
    first_answer: AnswerDifference | None  # of the answer whose choice was the least close
    kl: float | None  # nats a token along the judged answers, at least; null if the prompts differ
    largest_change: float | None  # of the log-probability of a judged token, in nats
    score: Difference | None  # of the form, minus the judged model's, on the test rows
    score_says: Literal["same", "worse", "cannot tell"] | None  # against the margin
    bytes: NotRequired[int]
    seconds: float
    notes: list[str]


class Seal(TypedDict):
    """What ``etabli seal`` found of each form."""

    run: str
    adapter: str  # hash of the adapter that was sealed
    sealed_below: float  # SEALED_KL
    test_rows: int
    margin: float
    forms: list[FormSeal]


class Export(TypedDict):
    """``etabli export --json``."""

    files: list[str]
    seal: FormSeal | None  # null if it was not asked for
    notes: list[str]  # what else to know of these files


class Card(TypedDict):
    """``etabli card --json``."""

    files: list[str]
