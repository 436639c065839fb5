"""Events of a run and what commands print about runs and machines."""

from typing import NotRequired, TypedDict

EVENT_FIELDS: dict[str, tuple[str, ...]] = {
    "start": ("steps", "rows", "trained_tokens_total", "device", "dtype", "threads", "processes", "versions"),
    "step": ("step", "loss", "lr", "grad_norm", "tokens", "trained_tokens", "tokens_per_s", "memory_bytes"),
    "eval": ("step", "loss", "by"),
    "sample": ("step", "probe", "text", "ids", "cut", "tokens", "logp", "base_logp", "kl"),
    "examples": ("step", "losses"),
    "checkpoint": ("step", "path"),
    "memory": ("phase", "allocated", "reserved", "resident", "rows", "tokens", "trained", "checkpointing"),
    "heartbeat": (),
    "resume": ("step",),
    "retry": ("what", "why"),
    "warning": ("what",),
    "end": ("state", "why"),
}


class CheckedEvent(TypedDict):
    """What readers of events compute with; a line with another type there is no event. Null stands for no number."""

    kind: str
    t: float  # seconds since epoch
    step: NotRequired[int]
    steps: NotRequired[int | None]
    loss: NotRequired[float | None]
    by: NotRequired[dict[str, float | None]]
    lr: NotRequired[float | None]
    grad_norm: NotRequired[float | None]
    tokens: NotRequired[int | list[str] | None]  # a number of a step, the texts of a sample
    trained_tokens: NotRequired[int | None]
    trained_tokens_total: NotRequired[int | None]
    tokens_per_s: NotRequired[float | None]
    memory_bytes: NotRequired[int | None]
    allocated: NotRequired[int | None]
    reserved: NotRequired[int | None]
    resident: NotRequired[int | None]
    text: NotRequired[str | None]
    why: NotRequired[str | None]
    ids: NotRequired[list[int] | None]
    cut: NotRequired[bool | None]  # the answer of a sample ended at its greatest length
    logp: NotRequired[list[float | None] | None]
    base_logp: NotRequired[list[float | None] | None]
    kl: NotRequired[list[float | None] | None]


# The last event decides the state. "lost" is never written: a reader concludes it when there is no heartbeat and the
# process is gone.
STATES = ("starting", "running", "stopping", "completed", "stopped", "failed", "lost")
END_STATES = frozenset({"completed", "stopped", "failed", "lost"})
HEARTBEAT_SECONDS = 5.0


class Continuity(TypedDict):
    """Comparison of the steps that a resumed run did twice. In ``etabli runs --json`` under ``continuity``."""

    step: int  # the checkpoint's step, from which the run went on
    due: int  # number of later steps that had been done before
    again: int  # number of those steps that have been done again
    first_difference: int | None  # first step with another result; null: all are the same to the last bit
    largest: float  # largest absolute difference of a loss, in nats a token


class StepProgress(TypedDict):
    """How far a run is, from its events alone."""

    step: int
    steps: int | None  # total steps; null before the run has started
    loss: float | None  # nats a token
    tokens_per_s: float | None
    seconds_left: float | None  # null while unknown, and when the run is over
    memory_bytes: int | None


class RunProgress(StepProgress):
    """Progress of a run: ``etabli train``, ``resume`` and ``stop --json``, and an entry of ``etabli runs --json``."""

    run: str  # the run folder
    state: str  # one of STATES
    continuity: list[Continuity]
    warnings: list[str]  # each once, in the order in which the run gave them


class Fingerprint(TypedDict, total=False):
    """What must stay the same for a resumed run to be the same run: the section ``frozen`` of its recipe.yaml."""

    model: str
    model_hash: str
    template_hash: str
    data_hash: str
    eval_data_hash: str | None
    rules_hash: str | None
    callbacks_hash: str | None
    engine: int
    thinks: bool  # it is taught to think before it answers, and is asked to
    recipe: dict[str, object] | None
    threads: int
    dtype: str
    processes: int
    processor: str
    versions: dict[str, str]


class RateRange(TypedDict):
    """A learning-rate range test. ``etabli lr-range --json``."""

    version: int
    run: str  # the run folder
    rates: list[float]  # learning rate of each step
    losses: list[float]  # nats a token, of each step
    smoothed: list[float]  # running mean of the losses
    lowest_at: float  # rate at which the smoothed loss is lowest
    turned: bool  # true if the loss rose again; if not, the lowest point may lie beyond the last rate
    advice: float  # a tenth of lowest_at


class Points(TypedDict):
    """One line of a plot."""

    x: list[float]
    y: list[float]


class Overlay(TypedDict):
    """``etabli overlay --json``."""

    page: str  # the HTML file
    field: str
    kind: str  # of events
    over: str  # the horizontal axis
    runs: dict[str, Points]  # by run name


class ProcessIdentity(TypedDict):
    """``process.json``: a process by its pid and its start time, because pids are used again."""

    pid: int
    started: float  # seconds since epoch
    host: str
    started_since_boot: NotRequired[str]  # Linux: the boot's id and the ticks from boot to start


class DeviceOwner(ProcessIdentity):
    """The file that says which run uses this machine's device."""

    run: NotRequired[str]  # absolute path of the run folder


class Check(TypedDict):
    """One test of ``etabli doctor --json``."""

    name: str
    ok: bool
    detail: str
    fix: str  # the command or action that mends it; empty if ok
