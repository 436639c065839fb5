"""Votes, token differences, the training film and the chat: what people look at and decide.

The JSON key ``arms`` names the systems that are compared.
"""

from typing import NotRequired, TypedDict

from etabli.core.contracts.evaluation import Estimate, Score

# --- votes ----------------------------------------------------------------------------------------------------------

CHOICES = ("left", "right", "tie", "both bad")


class Vote(TypedDict):
    """A line of a vote file: a blind choice between two answers to one prompt."""

    version: int
    id: str
    t: float  # seconds since epoch
    comparison: str  # hash of the systems and all items; a vote counts only for this comparison
    arms: list[str]  # all systems of the comparison
    item: str
    left: str  # the system on the left
    right: str
    choice: str  # one of CHOICES
    by: str
    # True for a pair that is shown a second time with sides swapped. It measures how far voters agree with themselves,
    # and counts for nothing else.
    repeat: bool
    unblinded: bool  # true if the voter had seen before whose answers these are
    seconds: float  # between showing and choice
    lengths: list[int]  # characters of [left, right]
    slice: str  # language of the item, or empty


class Reveal(TypedDict):
    """A line of a vote file: from now on the voter knows whose answers these are."""

    version: int
    id: str
    t: float  # seconds since epoch
    comparison: str
    by: str
    looked: bool


class NeededItems(TypedDict):
    """How many more votes or items a verdict needs; null where unknown."""

    half: int | None  # enough in half of all cases
    most: int | None  # enough in nine of ten


class VoteProgress(TypedDict):
    """How far a voter's session is from a verdict; it does not say which system leads."""

    votes: int  # votes that the evidence is computed from
    every: int  # the evidence is computed again after this many valid votes with a winner
    left: int  # pairs that are still to be shown
    evidence: float | None  # e-value; null before the first look
    threshold: float  # e-value at which there is a verdict
    needed: NeededItems | None  # more votes


class PairResult(TypedDict):
    """Two systems: the items that ``of`` won, lost and tied against ``minus``, and the evidence of a preference."""

    of: str
    minus: str
    items: int
    wins: int
    losses: int
    ties: int
    both_bad: int
    evidence: float  # e-value
    threshold: float
    needed: NeededItems | None  # items


class VoteVerdict(TypedDict):
    """The verdict of the votes on the subject, against the rival that decided."""

    verdict: str  # better, worse or cannot tell
    subject: str
    rival: str
    evidence: float
    threshold: float
    items_needed: NeededItems | None
    n: int  # items
    wins: int
    losses: int


class Strength(TypedDict):
    """The strength of one system (Bradley-Terry); ``low`` and ``high`` are null when there is no interval."""

    arm: str
    votes: float
    value: float  # log-odds; the mean over all systems is 0
    low: float | None
    high: float | None
    separated: bool  # the system won every vote or lost every vote


class Agreement(TypedDict):
    """Two voters on the pairs that both judged."""

    raters: list[str]
    n: int  # pairs
    share: Estimate | None  # of equal choices
    kappa: float | None  # Cohen's
    low: float | None
    high: float | None


class VoteResults(TypedDict):
    """The result of votes. ``etabli votes pool --json``."""

    version: int
    comparison: str
    arms: list[str]
    raters: dict[str, int]  # voter -> number of votes
    votes: int
    scores: list[Score]
    verdict: dict[str, VoteVerdict]  # by slice
    pairs: list[PairResult]
    strengths: list[Strength]  # from three systems on
    agreement: list[Agreement]
    self_agreement: dict[str, Estimate | None]  # by voter
    sides: dict[str, Estimate | None]  # voter -> share of choices for the left
    longer: dict[str, Estimate | None]  # voter -> share of choices for the longer answer
    said: list[str]


class ArenaReport(TypedDict):
    """``etabli arena --json``. ``standing`` is null until the voter has seen whose answers these are."""

    version: int
    comparison: str
    author: str
    file: str
    done: int  # pairs voted on
    total: int
    watch: VoteProgress
    standing: VoteResults | None
    said: list[str]


class ArenaItem(TypedDict):
    """An entry of a file of answers, and of ``arena/KEY.json``, which keeps a run's answers to typed prompts."""

    id: NotRequired[str]
    prompt: str
    answers: dict[str, str]  # by system
    thoughts: NotRequired[dict[str, str]]  # by system: the thought before its answer
    cut: NotRequired[list[str]]  # systems whose answer ended at the greatest length
    slice: NotRequired[str]


# --- token differences ----------------------------------------------------------------------------------------------


class TokenMoves(TypedDict):
    """How an adapter changes the tokens of one answer. Lists have one entry for each token; values are in nats.

    ``tokens`` joined is the answer: a character made of several tokens stands at the last of them.
    """

    tokens: list[str]
    ids: list[int]
    logp: list[float]  # log-probability under the tuned model
    base_logp: list[float]
    rank: list[int]  # 1: the model's first choice
    base_rank: list[int]
    kl: list[float]  # divergence of the tuned model from the base, over the whole vocabulary
    top: list[list[list[str | float]]]  # the tuned model's first choices: [text, log-probability]
    base_top: list[list[list[str | float]]]


class TruthMoves(TypedDict):
    """The reference answer to a row's prompt, token by token."""

    text: str
    total: float  # log-probability of the whole, tuned minus base, in nats
    tokens: int
    first: int  # tokens that are the tuned model's first choice after those before them
    base_first: int
    moves: TokenMoves | None  # null: the answer is the truth, and the row's moves are those of the truth


class TokenDiffRow(TypedDict):
    """One answer and how training changed its tokens."""

    id: str
    prompt: str
    answer: str
    move: float  # largest absolute change of a token's log-probability, in nats
    at: int  # index of that token
    total: float  # log-probability of the whole answer, tuned minus base, in nats
    kl: float  # mean over the tokens, in nats
    moves: TokenMoves
    cut: NotRequired[bool]  # true if the answer ended at its greatest length: the end that is measured is not its own
    truth: NotRequired[TruthMoves]  # where the answer is not the truth by definition


class TokenDiffs(TypedDict):
    """``token_diff.json`` and ``etabli token-diff --json``. Rows are sorted by the largest change."""

    version: int
    model: str
    adapter: str  # hash of the adapter's weights
    of: str  # the system whose answers these are, or truth
    limit: int | None  # maximum answers for each language
    answers: str  # hash of these answers in the evaluation
    rows: list[TokenDiffRow]
    said: list[str]


# --- the training film ----------------------------------------------------------------------------------------------


class ProbeAnswer(TypedDict):
    """The answer to a sample prompt at one step. Lists have one entry for each token; null if the run has none."""

    step: int
    text: str
    tokens: list[str] | None
    logp: list[float] | None  # nats
    base_logp: list[float] | None  # nats
    kl: list[float] | None  # nats
    mean_kl: float | None  # nats
    cut: bool  # true if the answer ended at its greatest length; false too if the run did not record it


class ProbeAnswers(TypedDict):
    """All answers to one sample prompt, by step."""

    probe: str
    frames: list[ProbeAnswer]
    changed: int | None  # first step with another text than the first frame's
    jump: int | None  # step before which the mean KL from the base rose most


class Pin(TypedDict):
    """A line of ``pins.jsonl``. A pin with ``undoes`` removes another one."""

    version: int
    id: str
    t: float  # seconds since epoch
    probe: str
    step: int
    by: str
    why: str
    undoes: NotRequired[str]


class ProbeHistory(TypedDict):
    """``etabli film --json``."""

    version: int
    run: str
    state: str
    steps: int | None
    strips: list[ProbeAnswers]
    pins: list[Pin]
    said: list[str]


# --- chat -----------------------------------------------------------------------------------------------------------


class ChatAnswer(TypedDict):
    """One side's answer."""

    text: str
    tokens: int
    tokens_per_s: float | None  # speed after the first token; null for answers of one token
    first_s: float | None  # seconds until the first token
    stopped: bool  # true if a person stopped it
    cut: NotRequired[bool]  # true if it ended at max_new_tokens, not by its end of turn


class ChatEntry(TypedDict):
    """A line of ``chat.jsonl``: one prompt and every side's answer. ``etabli chat --json``."""

    version: int
    id: str
    t: float  # seconds since epoch
    by: str
    after: NotRequired[str]  # id of the entry that the question goes on from, or empty if it stands alone
    prompt: str
    system: str  # the system message as it was sent
    max_new_tokens: int
    temperature: float
    seed: int
    strength: float  # factor of the adapter's updates
    answers: dict[str, ChatAnswer]  # by side


class ChatHistory(TypedDict):
    """``etabli chat --json`` without a prompt."""

    asked: list[ChatEntry]
