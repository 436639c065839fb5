"""Forecasts of memory. All sizes are in bytes."""

from typing import Any, NotRequired, TypedDict


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
    saves: int
    fits: bool  # true if this change alone is enough
    cost: str


class LargestSetup(TypedDict):
    """The largest setup that fits."""

    seq: int  # tokens a row at this batch
    batch: int  # rows at this sequence length


class MemoryForecast(TypedDict):
    """``etabli memory --json``. ``gpu`` and ``largest`` exist if a card is named, the last three keys for a run."""

    model: str
    setup: dict[str, Any]
    peak: PeakMemory
    phases: dict[str, int]
    components: dict[str, int]  # at the peak
    fits: bool | None  # null if no card is named
    advice: list[MemoryAdvice]
    cheapest: dict[str, Any] | None  # changes until it fits, device
    basis: str
    notes: list[str]
    gpu: NotRequired[GpuMemory]
    largest: NotRequired[LargestSetup]
    run: NotRequired[str]  # the run folder
    measured: NotRequired[dict[str, dict[str, int]]]  # phase -> allocated, reserved, resident
    residual: NotRequired[dict[str, float]]  # phase -> measured tensors / forecast - 1
