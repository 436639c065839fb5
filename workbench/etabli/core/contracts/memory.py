"""Forecasts of memory. All sizes are in bytes."""

from typing import NotRequired, TypedDict


class MemorySetup(TypedDict, total=False):
    """The settings of a training step that decide how much memory it takes; ``etabli.memory.Setup`` explains them."""

    seq: int  # tokens in a row
    batch: int
    rank: int
    lora: str
    checkpointing: str
    optimizer: str
    loss: str
    engine: str
    trained: float  # share of tokens
    upcast: bool
    device: str
    dtype: str
    shares_keys: bool


class PeakMemory(TypedDict):
    """The highest memory of a run."""

    allocated: int  # tensors
    device: int  # what nvidia-smi would show; on a CPU the resident set
    phase: str


class GpuMemory(TypedDict):
    """The card of a forecast."""

    name: str
    total: int


class MemoryAdvice(TypedDict):
    """One change of the setup that lowers the memory."""

    change: str
    keys: MemorySetup  # the setting that it changes, with its new value
    device: int  # after the change
    saves: int
    fits: bool  # true if this change alone is enough
    cost: str
    slower: float  # factor of the time for as many tokens


class MemoryChanges(TypedDict):
    """Changes that make a setup fit, the setup after them, and its bytes on the device."""

    changes: list[str]
    setup: MemorySetup
    device: int


class LargestSetup(TypedDict):
    """The largest setup that fits."""

    seq: int  # tokens a row at this batch
    batch: int  # rows at this sequence length


class Measurement(TypedDict, total=False):
    """What a run measured in a phase: bytes, and the batch that it measured them with."""

    allocated: int
    reserved: int
    resident: int
    rows: int
    tokens: int
    trained: int  # tokens
    checkpointing: str


class MemoryRange(TypedDict):
    """What a stock loop may take, where the forecast can't know how it goes: bytes on the device."""

    low: int
    high: int
    assumptions: list[str]  # sentences: what the forecast takes for granted, and what else it may be


class MemoryForecast(TypedDict):
    """``etabli memory --json``.

    ``gpu`` and ``largest`` exist if a card is named, ``range`` for a stock loop on a GPU, the last three keys for a
    run.
    """

    model: str
    setup: MemorySetup
    peak: PeakMemory
    phases: dict[str, int]
    components: dict[str, int]  # at the peak
    fits: bool | None  # null if no card is named
    advice: list[MemoryAdvice]
    cheapest: MemoryChanges | None  # null if it fits already, or if no changes make it fit
    basis: str
    notes: list[str]
    gpu: NotRequired[GpuMemory]
    largest: NotRequired[LargestSetup]
    range: NotRequired[MemoryRange]
    run: NotRequired[str]  # the run folder
    measured: NotRequired[dict[str, Measurement]]  # by phase
    residual: NotRequired[dict[str, float]]  # phase -> measured tensors / forecast - 1
