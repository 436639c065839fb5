"""What is written to disk or printed as JSON: one place, versioned.

Everything a second program may rely on is named here: event kinds and their fields, run states, file names, rows and
results. Readers tolerate unknown keys, so that a field can be added without a new version.
"""

from typing import Any, NamedTuple, NotRequired, TypedDict

VERSION = 1

# --- the run folder -------------------------------------------------------------------------------------------------
RECIPE = "recipe.yaml"
EVENTS = "events.jsonl"
PROCESS = "process.json"
LOG = "log.txt"
LOCK = "lock"
STOP = "stop"
CHECKPOINTS = "checkpoints"
ADAPTER = "adapter"
MANIFEST = "MANIFEST.json"
VERDICT = "verdict.json"
RESULTS = "results.json"
ABLATION = "ablation.json"
VOTES = "votes"  # a folder: one file a voter, append-only
TOKEN_DIFF = "token_diff.json"
PINS = "pins.jsonl"  # steps that somebody marked in the training film, append-only
CHAT = "chat.jsonl"  # what was asked by hand, append-only

# --- the Dataset folder ---------------------------------------------------------------------------------------------
ROWS = "rows.parquet"
REJECTED_ROWS = "rejected.parquet"  # rows that are not trained, with why
DECISIONS = "decisions.jsonl"  # what people decided, append-only
DATASET = "manifest.json"

EVENT_FIELDS: dict[str, tuple[str, ...]] = {
    "start": ("steps", "rows", "trained_tokens_total", "device", "dtype", "threads", "processes", "versions"),
    "step": ("step", "loss", "lr", "grad_norm", "tokens", "trained_tokens", "tokens_per_s", "memory_bytes"),
    "eval": ("step", "loss", "by"),
    "sample": ("step", "probe", "text", "ids", "tokens", "logp", "base_logp", "kl"),
    "examples": ("step", "losses"),
    "checkpoint": ("step", "path"),
    "memory": ("phase", "allocated", "reserved", "resident", "rows", "tokens", "trained", "checkpointing"),
    "heartbeat": (),
    "resume": ("step",),
    "retry": ("what", "why"),
    "warning": ("what",),
    "end": ("state", "why"),
}


class RateRange(TypedDict):
    """A learning-rate range test. ``etabli lr-range --json``."""

    version: int
    run: str  # its folder
    rates: list[float]  # of each step
    losses: list[float]
    smoothed: list[float]  # the losses' running mean
    lowest_at: float  # the rate at which that is lowest
    turned: bool  # did it rise again? if not, the lowest may lie beyond the last rate
    advice: float  # a tenth of it


class Continuity(TypedDict):
    """What the steps that a resumed run did twice say. In ``etabli runs --json`` under ``continuity``."""

    step: int  # went on from here
    due: int  # so many later steps had been done before
    again: int  # so many of those have been done again
    first_difference: int | None  # the first that came out differently; null: all the same to the last bit
    largest: float  # difference of a loss


# The last event decides; "lost" is never written, only concluded: no heartbeat and the process is gone.
STATES = ("starting", "running", "stopping", "completed", "stopped", "failed", "lost")
END_STATES = frozenset({"completed", "stopped", "failed", "lost"})
HEARTBEAT_SECONDS = 5.0

# --- rows -----------------------------------------------------------------------------------------------------------


# "text" is no turn of a chat but a stretch of plain text, trained as it stands (language modelling).
ROLES = ("system", "user", "assistant", "tool", "text")


class Message(TypedDict, total=False):
    """One turn. ``train`` overrides the mask policy for an assistant turn or a stretch of plain text.

    ``content`` is always text; it is empty beside ``tool_calls`` where a file has null. ``spans`` are stretches of it,
    [first character, one after the last], that the policy ``spans`` trains.
    """

    role: str
    content: str
    train: bool | None
    spans: list[list[int]]
    name: str
    tool_calls: list[dict[str, Any]]
    tool_call_id: str


class Row(TypedDict, total=False):
    """One conversation with its lineage. ``split`` and ``template`` are there where a set has them.

    ``columns`` holds what else a file says of a row, by name: what an evaluation may slice by, or what a score needs
    (``choices``, ``instruction_id_list``). Nothing of it is trained.
    """

    id: str
    messages: list[Message]
    tools: list[dict[str, Any]]
    lang: str | None
    source: str | None
    licence: str | None
    terms: str | None
    parents: list[str]
    generator: str | None
    created: str | None
    split: str | None
    template: str | None
    columns: dict[str, Any]
    reasons: "list[Reason]"
    decision: "Decision"


# --- why a row is trained or not ------------------------------------------------------------------------------------

DECISION_KINDS = ("keep", "fix", "drop", "undo")


class Reason(TypedDict):
    """What a filter has to say against a row."""

    filter: str  # its name: near, quality, ...; person, where somebody dropped the row
    why: str
    value: float | None  # what was measured: a likeness, a length
    like: str | None  # the id of the row it is like, trained or tested
    rejects: bool  # or only shows


class Decision(TypedDict):
    """A line of ``decisions.jsonl``: what somebody did about a row."""

    version: int
    id: str
    t: float  # seconds since epoch
    do: str  # one of DOINGS
    row: str  # its id
    was: str  # hash of the messages that were decided about: of a row that has changed since, it says nothing
    by: str
    why: str
    messages: NotRequired[list[Message]]  # of a fix: what the row says from now on
    undoes: NotRequired[str]  # of an undo: the id of the decision


class CurationSummary(TypedDict):
    """``etabli data prepare --json``. Rows marked ``test`` are counted apart: they are not curated."""

    version: int
    rows: int
    kept: int
    dropped: dict[str, int]  # by the filter that decided
    found: dict[str, int]  # by filter, rows that stay included
    protected: int
    test: int
    hash: str  # of the resulting Dataset
    recipe_hash: str
    decisions: int  # that stand
    not_run: list[str]


# --- what the loss sees ---------------------------------------------------------------------------------------------


class LensRow(TypedDict):
    """One row of a batch; lists with an entry a token, but for ``starts`` and ``cut``."""

    id: str
    ids: list[int]
    text: list[str]
    role: list[str]
    offset: list[list[int]]  # in the row's whole text
    message: list[int | None]  # whose it is; None: the template's
    starts: dict[str, int]  # message -> where its content begins in the whole text
    lengths: dict[str, int]  # message -> characters of its content
    trained: dict[str, list[bool]]  # by policy
    nats: list[float | None] | None  # its loss under the base model
    cut: int  # tokens beyond max_length
    assertions: dict[str, list[dict[str, Any]]]  # by policy: name, ok (true, false, null), why


class Lens(TypedDict):
    """The batch of a step, and which rows of all hold a run up."""

    version: int
    model: str
    step: int
    steps: int
    policy: str  # the recipe's
    max_length: int
    packs: int
    rows: list[LensRow]
    policies: dict[str, dict[str, float | int | None]]  # trained, share, loss
    failed: dict[str, list[list[str]]]  # assertion -> the first rows that fail it: id, why
    failing: dict[str, int]  # how many do
    of: int  # rows there are to train on
    said: str


# --- what is wrong with a file --------------------------------------------------------------------------------------

SEVERITIES = ("error", "warning", "info")


class Finding(NamedTuple):
    """One thing found in a data file. ``row`` counts from 0, ``line`` from 1; null where there is none."""

    severity: str
    code: str
    row: int | None
    line: int | None
    field: str
    excerpt: str
    why: str
    fix: str


class NotRun(TypedDict):
    """A check that did not look at all or at some rows, and why: never a silent pass."""

    check: str
    why: str
    rows: int | None
    fix: str


class CheckReport(TypedDict):
    """``etabli data check --json``."""

    version: int
    file: str
    format: dict[str, Any]  # name, reason, columns, preview
    rows: int
    counts: dict[str, int]  # by code
    findings: list[Finding]
    not_run: list[NotRun]
    checks: list[dict[str, Any]]  # name, by (model or rules), languages, own
    cost: dict[str, Any] | None
    lineage: dict[str, dict[str, int]]  # licence, source, terms, generator -> rows


# --- results --------------------------------------------------------------------------------------------------------

# Who answers; a run's checkpoints may stand beside them, under their folder's name.
ARMS = ("base", "prompted", "lookup", "tuned")
ALL, UNSEEN = "all", "not in training"  # slices: every row; those that no training row is like


class Estimate(TypedDict):
    """A mean with its 95 % interval: a share between 0 and 1, or in the score's own unit. Unknown bounds are null."""

    value: float
    low: float
    high: float
    n: int


class Flips(TypedDict):
    """Rows by who was right: ``fixed`` only the one, ``broken`` only the other. Two p-values of "no difference"."""

    fixed: int
    broken: int
    both: int
    neither: int
    mcnemar: float  # exact; each row counts for itself
    by_cluster: float | None  # signs of whole clusters swapped; null where every row is its own cluster


class Difference(TypedDict):
    """Mean of ``of`` minus mean of ``minus`` over the same rows, with its 95 % interval."""

    of: str
    minus: str
    n: int  # rows that both have
    clusters: int
    effective: float  # so many clusters of one size tell as much
    value: float
    low: float
    high: float
    flips: Flips | None  # for scores that say yes or no
    worst: NotRequired[list[float]]  # [low, high] if rows that could not be scored were wrong


class Score(TypedDict):
    """One score on one slice, every arm that has it, and the paired differences."""

    name: str
    slice: str
    n: int
    clusters: int
    unit: str  # share, mean, number or nats/token
    better: str  # higher or lower
    errors: dict[str, int]  # arm -> rows on which it raised
    arms: dict[str, Estimate]
    differences: list[Difference]


class Metric(TypedDict):
    """What a score was made with: ``hash`` changes when its code, its options or its library do."""

    name: str
    spec: str  # what it was asked for by: mine.py:polite
    hash: str
    unit: str
    better: str


class AnsweredRow(TypedDict):
    """One test row with what every arm was asked and answered, and every score of it."""

    id: str
    lang: str
    template: str
    cluster: str
    slices: list[str]
    row: Row  # as it was read
    overlap: str | None  # how a training row is like it
    prompt: str
    truth: str
    rendered: dict[str, str]  # the whole prompt, as the model got it; lookup's training row
    answers: dict[str, str]
    raw: dict[str, str]  # before control tokens are taken off; cut answers lack their end-of-turn
    correct: dict[str, bool | None]  # by the first score that says yes or no
    values: dict[str, dict[str, float | None]]  # score -> arm -> value
    weights: dict[str, float]  # score -> what the row weighs in it, where that is not 1
    errors: dict[str, dict[str, str]]  # score -> arm -> what was raised


class Results(TypedDict):
    """``results.json``: the whole log of an evaluation. Scores and verdict follow from the rest."""

    version: int
    seed: int
    model: str
    data_hash: str
    made_with: dict[str, Any]  # hashes of template, adapters and base; lengths, shots, versions
    arms: list[str]
    subject: str  # the arm that is judged
    rivals: list[str]  # those it is judged against
    metrics: list[Metric]  # the first decides the verdict
    scores: list[Score]
    rows: list[AnsweredRow]
    warnings: list[str]
    verdict: dict[str, Any]  # by slice


class Ablation(TypedDict):
    """``etabli data ablate --json``: runs that differ in their rows alone. Every answer is in ``results``."""

    version: int
    arms: list[dict[str, Any]]  # name, rows, run, steps, trained_tokens, scores: {name: Estimate}
    differences: list[dict[str, Any]]  # score, unit, slice, and a Difference's fields
    said: list[str]  # what the filters bought, in words
    warnings: list[str]  # what a reader has to know first
    verdict: dict[str, Any]
    n: int  # test rows
    seed: int
    curation: dict[str, Any]  # what etabli data prepare says
    results: str  # the file


class Comparison(Results):
    """``etabli compare``: two runs as arms, the second as subject, and the keys in which their recipes differ."""

    recipes: dict[str, list[Any]]


# --- judged by eye --------------------------------------------------------------------------------------------------

CHOICES = ("left", "right", "tie", "both bad")


class Vote(TypedDict):
    """A line of a vote file: what somebody chose, blind, of two answers to one prompt."""

    version: int
    id: str
    t: float  # seconds since epoch
    comparison: str  # hash of the arms and all items: a vote counts for no other
    arms: list[str]  # all arms of the comparison
    item: str
    left: str  # arm
    right: str
    choice: str  # one of CHOICES
    by: str
    repeat: (
        bool  # shown a second time, sides swapped: tells how far a voter agrees with himself, and counts nowhere else
    )
    unblinded: bool  # cast after the voter had looked who is who
    seconds: float  # between showing and choice
    lengths: list[int]  # characters of left and right
    slice: str  # the item's language, or nothing


class Reveal(TypedDict):
    """A line of a vote file: somebody looked who is who."""

    version: int
    id: str
    t: float
    comparison: str
    by: str
    looked: bool


class VoteProgress(TypedDict):
    """How far a voter's session is from a verdict, without saying whose."""

    votes: int  # that this is told of
    every: int  # it moves on every so many votes that have a winner and count
    left: int  # showings
    evidence: float | None  # null before the first look
    threshold: float
    needed: dict[str, int | None] | None  # more votes: half, most; null where it can be told


class ArenaReport(TypedDict):
    """``etabli arena --json``. ``standing`` is there once the voter has looked who is who."""

    version: int
    comparison: str
    author: str
    file: str
    done: int
    total: int
    watch: VoteProgress
    standing: "VoteResults | None"
    said: list[str]


class ArenaItem(TypedDict):
    """An entry of a file of answers, and of ``arena/KEY.json``, where a run's answers to typed prompts are kept."""

    id: NotRequired[str]
    prompt: str
    answers: dict[str, str]  # by arm
    slice: NotRequired[str]


class VoteResults(TypedDict):
    """What votes say. ``etabli votes pool --json``."""

    version: int
    comparison: str
    arms: list[str]
    raters: dict[str, int]  # voter -> votes
    votes: int
    scores: list[Score]
    verdict: dict[str, Any]  # by slice: verdict, subject, rival, evidence, threshold, items_needed, n, wins, losses
    pairs: list[dict[str, Any]]  # of, minus, items, wins, losses, ties, both_bad, evidence, threshold, needed (items)
    strengths: list[dict[str, Any]]  # Bradley-Terry, three arms or more: arm, votes, value, low, high, separated
    agreement: list[dict[str, Any]]  # two raters, items both judged, share alike, kappa with interval
    self_agreement: dict[str, Any]  # by voter: n, value, low, high
    sides: dict[str, Any]  # by voter: how often the left was chosen: n, value, low, high
    longer: dict[str, Any]  # by voter: how often the longer answer was chosen
    said: list[str]


class TokenMoves(TypedDict):
    """How an adapter moves the tokens of one answer; lists with an entry a token. Log-probabilities and KL in nats.

    ``tokens`` joined is the answer: a sign made of several tokens stands at its last one.
    """

    tokens: list[str]
    ids: list[int]
    logp: list[float]
    base_logp: list[float]
    rank: list[int]  # 1: the model's first choice
    base_rank: list[int]
    kl: list[float]  # of the tuned model from the base, over the whole vocabulary
    top: list[list[list[Any]]]  # the tuned model's first choices: [text, log-probability]
    base_top: list[list[list[Any]]]


class TokenDiffRow(TypedDict):
    """One answer. ``move`` is the largest change of a token's log-probability, ``at`` where; ``kl`` is the mean."""

    id: str
    prompt: str
    answer: str
    move: float
    at: int
    total: float  # the whole answer's log-probability, tuned minus base
    kl: float
    moves: TokenMoves


class TokenDiffs(TypedDict):
    """``token_diff.json`` and ``etabli token-diff --json``: rows by largest move."""

    version: int
    model: str
    adapter: str  # hash of the adapter's weights
    of: str  # whose answers: an arm, or truth
    limit: int | None  # at most so many of each language
    answers: str  # hash of that arm's answers in the evaluation
    rows: list[TokenDiffRow]
    said: list[str]


class ProbeAnswer(TypedDict):
    """What a probe was answered at a step. Lists with an entry a token; null in runs that did not record them."""

    step: int
    text: str
    tokens: list[str] | None
    logp: list[float] | None
    base_logp: list[float] | None
    kl: list[float] | None
    mean_kl: float | None


class ProbeAnswers(TypedDict):
    """One probe's frames, by step. ``changed``: the first step with another text than at first; ``jump``: the step
    before which the mean KL from the base rose most."""

    probe: str
    frames: list[ProbeAnswer]
    changed: int | None
    jump: int | None


class Pin(TypedDict):
    """A line of ``pins.jsonl``. One that ``undoes`` another takes it away."""

    version: int
    id: str
    t: float
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


class ChatEntry(TypedDict):
    """A line of ``chat.jsonl``: one prompt and what every side answered. ``etabli chat --json``."""

    version: int
    id: str
    t: float
    by: str
    prompt: str
    system: str  # as it was sent
    max_new_tokens: int
    temperature: float
    seed: int
    strength: float  # what the adapter's updates are multiplied by
    answers: dict[str, dict[str, Any]]  # side -> text, tokens, tokens_per_s, first_s, stopped; sides that were asked
