"""What is written to disk or printed as JSON: one place, versioned.

Everything a second program may rely on is named here: event kinds and their fields, run states, file names, rows and
results. Readers tolerate unknown keys, so that a field can be added without a new version.
"""

from typing import Any, NamedTuple, TypedDict

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

EVENT_FIELDS: dict[str, tuple[str, ...]] = {
    "start": ("steps", "rows", "trained_tokens_total", "device", "dtype", "threads", "versions"),
    "step": ("step", "loss", "lr", "grad_norm", "tokens", "trained_tokens", "tokens_per_s", "memory_bytes"),
    "eval": ("step", "loss", "by"),
    "sample": ("step", "probe", "text", "ids"),
    "examples": ("step", "losses"),
    "checkpoint": ("step", "path"),
    "memory": ("phase", "allocated", "reserved", "resident"),
    "heartbeat": (),
    "resume": ("step",),
    "retry": ("what", "why"),
    "warning": ("what",),
    "end": ("state", "why"),
}

# The last event decides; "lost" is never written, only concluded: no heartbeat and the process is gone.
STATES = ("starting", "running", "stopping", "completed", "stopped", "failed", "lost")
ENDED = frozenset({"completed", "stopped", "failed", "lost"})
HEARTBEAT_SECONDS = 5.0

# --- rows -----------------------------------------------------------------------------------------------------------


# "text" is no turn of a chat but a stretch of plain text, trained as it stands (language modelling).
ROLES = ("system", "user", "assistant", "tool", "text")


class Message(TypedDict, total=False):
    """One turn. ``train`` overrides the mask policy for an assistant turn or a stretch of plain text.

    ``content`` is always text; it is empty beside ``tool_calls`` where a file has null.
    """

    role: str
    content: str
    train: bool | None
    name: str
    tool_calls: list[dict[str, Any]]
    tool_call_id: str


class Row(TypedDict, total=False):
    """One conversation with its lineage. ``split`` and ``template`` are there where a set has them."""

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

ARMS = ("base", "prompted", "lookup", "tuned")


class Estimate(TypedDict):
    """A mean with its 95 % interval, as shares between 0 and 1."""

    value: float
    low: float
    high: float


class Difference(TypedDict):
    """Mean of ``of`` minus mean of ``minus`` over the same rows, with its 95 % interval."""

    of: str
    minus: str
    value: float
    low: float
    high: float


class Score(TypedDict):
    """One score on one slice, every arm, and the paired differences."""

    name: str
    slice: str
    n: int
    clusters: int
    arms: dict[str, Estimate]
    differences: list[Difference]


class Answered(TypedDict):
    """One test row with what every arm answered."""

    id: str
    lang: str
    template: str
    prompt: str
    truth: str
    answers: dict[str, str]
    correct: dict[str, bool]
    valid: dict[str, bool]


class Results(TypedDict):
    """``results.json``."""

    version: int
    seed: int
    model: str
    data_hash: str
    scores: list[Score]
    rows: list[Answered]
    verdict: dict[str, Any]
