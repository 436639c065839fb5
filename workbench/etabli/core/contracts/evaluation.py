"""Scores, intervals and the log of an evaluation.

The JSON key ``arms`` names the systems that are compared: base, prompted, lookup, tuned, or a checkpoint.
"""

from typing import Annotated, NotRequired, TypedDict

from etabli.core.contracts.data import CurationSummary, Row, ToolCall

# Systems that answer; a run's checkpoints may stand beside them, under the name of their folder.
ARMS = ("base", "prompted", "lookup", "tuned")
ALL, UNSEEN = "all", "not in training"  # slices: every row; the rows that are similar to no training row


# What is changed in an answer before it is compared: accents in two parts, a thought, one without an end, a code fence.
CLEANINGS = ("unicode", "thought", "open_thought", "fence")


Bound = Annotated[float, "nullable"]  # of an interval; JSON has null for one that is unknown


class Estimate(TypedDict):
    """A mean with its 95 % interval: a share between 0 and 1, or in the score's own unit. Unknown bounds are null."""

    value: float
    low: Bound
    high: Bound
    n: int


class Flips(TypedDict):
    """Rows by which system was right, and two p-values of "no difference"."""

    fixed: int  # only the subject was right
    broken: int  # only the other system was right
    both: int
    neither: int
    mcnemar: float  # exact McNemar test; rows count as independent
    by_cluster: float | None  # sign-flip test by clusters; null where every row is its own cluster


class Difference(TypedDict):
    """Mean of ``of`` minus mean of ``minus`` over the same rows, with its 95 % interval."""

    of: str
    minus: str
    n: int  # rows that both systems have
    clusters: int
    effective: float  # effective number of clusters: that many of equal size hold as much information
    value: float
    low: Bound
    high: Bound
    flips: Flips | None  # only for scores that are true or false
    worst: NotRequired[list[Bound]]  # [low, high] if the rows that could not be scored were wrong


class Score(TypedDict):
    """One score on one slice: every system that has it, and the paired differences."""

    name: str
    slice: str
    n: int
    clusters: int
    unit: str  # share, mean, number or nats/token
    better: str  # higher or lower
    errors: dict[str, int]  # system -> rows on which the score raised an error
    arms: dict[str, Estimate]
    differences: list[Difference]


class Metric(TypedDict):
    """The definition of a score. ``hash`` changes when its code, its options or its library change."""

    name: str
    spec: str  # how it was requested: mine.py:polite
    hash: str
    unit: str
    better: str


class AnsweredRow(TypedDict):
    """One test row with the prompt, the answer and the score values of every system."""

    id: str
    lang: str
    template: str
    cluster: str
    slices: list[str]
    row: Row  # as it was read
    overlap: str | None  # how it is similar to a training row
    prompt: str
    truth: str
    rendered: dict[str, str]  # system -> whole prompt as the model got it; for lookup the training row
    answers: dict[str, str]  # cleaned: as it is compared with the truth
    thoughts: NotRequired[dict[str, str]]  # system -> the thought before its answer, where there is one
    calls: NotRequired[dict[str, list[ToolCall]]]  # system -> the tool calls in its answer
    unreadable_calls: NotRequired[dict[str, int]]  # system -> the calls that it begins and that can't be parsed
    raw: dict[str, str]  # system -> answer with control tokens; an answer that was cut has no end-of-turn token
    cut: NotRequired[list[str]]  # systems whose answer ended at the greatest length, not by its end of turn
    correct: dict[str, bool | None]  # by the first score that is true or false
    values: dict[str, dict[str, float | None]]  # score -> system -> value
    weights: dict[str, float]  # score -> weight of the row, where it is not 1
    errors: dict[str, dict[str, str]]  # score -> system -> the error


class SliceVerdict(TypedDict):
    """The verdict on one slice. In ``results.json`` under ``verdict``, by slice."""

    score: str
    unit: str
    subject: str
    verdict: str  # better, worse or cannot tell
    rival: str | None  # the baseline that decided; None if nothing could be compared
    difference: Difference | None
    n: int
    clusters: int
    more_rows: int | None  # about how many more rows would tell
    worth: bool | None  # was the training worth it? None if unknown
    why: str


class Results(TypedDict):
    """``results.json``: the whole log of an evaluation. Scores and verdict can be computed from the rest."""

    version: int
    seed: int
    model: str
    data_hash: str
    made_with: dict[str, object]  # hashes of template, adapters and base; lengths, shots, versions
    arms: list[str]
    subject: str  # the system that is judged
    rivals: list[str]  # the baselines it is judged against
    metrics: list[Metric]  # the first one decides the verdict
    scores: list[Score]
    rows: list[AnsweredRow]
    cleaned: NotRequired[dict[str, dict[str, int]]]  # system or truth -> kind of CLEANINGS -> answers
    warnings: list[str]
    verdict: dict[str, SliceVerdict]  # by slice


class Rescoring(TypedDict):
    """What a second scoring of saved answers showed."""

    same: bool  # true if the saved scores follow from the saved rows, to the last bit
    rescored: list[str]  # scores that were computed again from the answers
    kept: dict[str, str]  # score that keeps its values -> why


class RescoredResults(Results):
    """``etabli evaluate --from-log --json``."""

    again: Rescoring


class Comparison(Results):
    """``etabli compare --json``: two runs as systems, the second is the subject."""

    recipes: dict[str, list[object]]  # recipe key that differs -> [value of the first run, value of the second]


class AblationArm(TypedDict):
    """One training run of an ablation."""

    name: str
    rows: int  # training rows
    run: str  # the run folder
    steps: int
    trained_tokens: int | None
    scores: dict[str, Estimate | None]


class AblationDifference(Difference):
    """A difference of one score on one slice."""

    score: str
    unit: str
    better: str  # higher or lower
    slice: str


class Ablation(TypedDict):
    """``etabli data ablate --json``: runs that differ only in their rows. Every answer is in the file ``results``."""

    version: int
    arms: list[AblationArm]
    differences: list[AblationDifference]
    said: list[str]  # what the filters changed, in sentences
    warnings: list[str]
    verdict: dict[str, SliceVerdict]
    n: int  # test rows
    seed: int
    curation: CurationSummary  # what ``etabli data prepare --json`` prints
    results: str  # path of the file
