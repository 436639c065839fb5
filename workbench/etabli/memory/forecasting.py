"""Forecast the memory of a run: how much, whether it fits on a device, and which changes would make it fit."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, NotRequired, TypedDict, cast

from etabli.core.contracts import GpuMemory, LargestSetup, MemoryAdvice, MemoryChanges, MemoryRange, MemorySetup
from etabli.core.progress import show_progress
from etabli.core.wording import format_gib
from etabli.memory import devices, stock_loop, trace_cache
from etabli.memory.config import ROUND, Setup, build_setup, load_config
from etabli.memory.devices import Calibration, Device, find_device
from etabli.memory.formula import (
    CONTEXT,
    LIBRARIES,
    LOGITS_SPILL,
    SPILL,
    Breakdown,
    Formulas,
    MemoryFormula,
    break_down,
    peak_on_device,
    setup_on,
)
from etabli.models.loading import layer_width

RECOMPUTE_COST = 0.5  # of a layer's step: 6 operations for each weight instead of 4
MAX_TOKENS = 2**22  # in the longest row that is tried


class Change(NamedTuple):
    """One change of a setup."""

    key: str
    setup: Setup  # after the change
    cost: str
    slower: float = 1.0  # factor of the time for as many tokens

    def describe(self, before: Setup) -> str:
        """Return the change as text: the key, the old and the new value."""
        return f"{self.key} {getattr(before, self.key)} → {getattr(self.setup, self.key)}"


class Fit(TypedDict):
    """Whether a setup fits on a device, and what would help."""

    gpu: GpuMemory
    fits: bool
    advice: list[MemoryAdvice]  # each change alone
    cheapest: MemoryChanges | None  # None if it fits already, or if no changes make it fit
    largest: LargestSetup  # the longest row (seq, in tokens) at this batch; the most rows (batch) of this length


def advise(formulas: Formulas, setup: Setup, device: Device, calibration: Calibration) -> Fit:
    """Return whether the setup fits on the device, and what would help if it does not."""
    return _Advisor(lambda setup: peak_on_device(formulas, setup, calibration), formulas, device.total).advise(
        setup, device.name
    )


@dataclass(frozen=True)
class _Advisor:
    """Tries changes of a setup against the bytes that a device has."""

    peak: Callable[[Setup], int]  # bytes on the device
    formulas: Formulas
    limit: int  # bytes

    def advise(self, setup: Setup, device_name: str) -> Fit:
        peak = self.peak(setup)
        fits = peak <= self.limit
        advice: list[MemoryAdvice] = []
        for change in () if fits else self._changes(setup):
            new_peak = self.peak(change.setup)
            if new_peak < peak:
                advice.append(
                    {
                        "change": change.describe(setup),
                        "keys": cast(MemorySetup, {change.key: getattr(change.setup, change.key)}),
                        "device": new_peak,
                        "saves": peak - new_peak,
                        "fits": new_peak <= self.limit,
                        "cost": change.cost,
                        "slower": change.slower,
                    }
                )
        return {
            "gpu": {"name": device_name, "total": self.limit},
            "fits": fits,
            "advice": advice,
            "cheapest": None if fits else self._cheapest(setup),
            "largest": self._largest(setup),
        }

    def _changes(self, setup: Setup) -> Iterator[Change]:
        """Possible changes, cheapest first."""
        if setup.seq > 1:
            yield Change("seq", replace(setup, seq=max(1, setup.seq // 2)), "longer rows are cut")
        if setup.batch > 1:
            cost = "fewer rows in a pack, with more accumulation: the same steps, somewhat slower"
            yield Change("batch", replace(setup, batch=1), cost)
        yield from self._checkpointing_changes(setup)
        if setup.rank > 1:
            cost = "half the adapter: it can learn less"
            yield Change("rank", replace(setup, rank=max(1, setup.rank // 2)), cost)
        if setup.optimizer == "adamw":
            yield Change("optimizer", replace(setup, optimizer="adamw8bit"), "states in 8 bits; as fast")
        if setup.loss == "full":
            cost = "logits in chunks: this project's engine, or a fused kernel; as fast"
            yield Change("loss", replace(setup, loss="chunked"), cost)

    def _checkpointing_changes(self, setup: Setup) -> Iterator[Change]:
        """Checkpoint as few layers as needed; the stock loop can checkpoint only all or none."""
        layers = self.formulas[setup.loss].layers
        current = setup.checkpointed_layers(layers)
        if current == layers:
            return
        counts = range(current + 1 if setup.engine == "etabli" else layers, layers + 1)
        setups = [replace(setup, checkpointing="all" if count == layers else str(count)) for count in counts]
        index = min(bisect_left(setups, True, key=lambda option: self.peak(option) <= self.limit), len(setups) - 1)
        slower = 1 + RECOMPUTE_COST * (counts[index] - current) / layers
        cost = f"{counts[index]} of {layers} layers run twice: a step takes about {slower:.2f} times as long"
        yield Change("checkpointing", setups[index], cost, slower)

    def _cheapest(self, setup: Setup) -> MemoryChanges | None:
        """The first change that is enough alone; otherwise several, one after the other, as long as they save."""
        for change in self._changes(setup):
            if self.peak(change.setup) <= self.limit:
                return self._change_list([change.describe(setup)], change.setup)
        descriptions: list[str] = []
        counts: Counter[str] = Counter()
        while True:
            peak = self.peak(setup)
            saving = [change for change in self._changes(setup) if self.peak(change.setup) < peak]
            if not saving:
                return None
            change = min(saving, key=lambda option: counts[option.key])  # the rarest so far; of these the cheapest
            counts[change.key] += 1
            descriptions.append(change.describe(setup))
            setup = change.setup
            if self.peak(setup) <= self.limit:
                return self._change_list(descriptions, setup)

    def _change_list(self, descriptions: list[str], setup: Setup) -> MemoryChanges:
        return {"changes": descriptions, "setup": setup.to_dict(), "device": self.peak(setup)}

    def _largest(self, setup: Setup) -> LargestSetup:
        """The longest row at this batch, in tokens, and the most rows of this length."""
        lengths, batches = range(ROUND, MAX_TOKENS, ROUND), range(1, MAX_TOKENS // setup.seq + 2)
        seq = bisect_right(lengths, self.limit, key=lambda length: self.peak(replace(setup, seq=length))) * ROUND
        batch = bisect_right(batches, self.limit, key=lambda rows: self.peak(replace(setup, batch=rows)))
        return {"seq": seq, "batch": batch}


class Forecast(Breakdown):
    """A ``Breakdown``, and whether it fits; ``gpu`` and ``largest`` are there if a device is named."""

    model: str
    setup: MemorySetup
    basis: str  # how the numbers were made, as text
    fits: bool | None  # None if no device is named
    advice: list[MemoryAdvice]
    cheapest: MemoryChanges | None
    gpu: NotRequired[GpuMemory]
    largest: NotRequired[LargestSetup]
    range: NotRequired[MemoryRange]  # of a stock loop on a GPU


def forecast(
    model: str = "default", gpu: str | Device | None = None, setup: Setup | None = None, **keys: object
) -> Forecast:
    """Return the peak memory of a run before it starts. This needs no weights.

    Args:
        model: ``default``, a folder, a ``config.json``, or a Hub model.
        gpu: a GPU by name, a number of GiB, or ``here``: the result says whether the run fits, and what would help.
        setup: sequence length, batch, rank and the rest; or each of them as a key: ``seq=1024, rank=8``.

    Returns:
        Bytes: ``peak`` (``allocated``: tensors; ``device``: what nvidia-smi shows, on a CPU the resident set),
        ``phases`` (``merge`` on the host), ``components`` of the peak; and, if a device is named, ``fits``,
        ``advice``, ``cheapest`` and ``largest``. For the engine ``trainer`` on a GPU also ``range``: a stock loop is
        not known in full, but for the settings that are named here.

    Raises:
        UnknownModel: there is no configuration.
        BadInput: a GPU or key is unknown, or the architecture can't be built.
    """
    known = list(keys) if setup is None else list(Setup.__dataclass_fields__)
    setup = build_setup(setup, **keys)
    device = gpu if gpu is None or isinstance(gpu, Device) else find_device(gpu, layer_width(load_config(model)))
    setup = setup_on(setup, device) if device else setup.resolve_auto()
    formulas, factor = load_formulas(model, setup, device)
    breakdown = break_down(formulas, setup, factor)
    result = {
        **breakdown,
        "model": model,
        "setup": setup.to_dict(),
        "basis": _describe_basis(formulas[setup.loss], setup, breakdown["recalibrated"]),
        "fits": None,
        "advice": [],
        "cheapest": None,
    }
    more: dict[str, object] = {**advise(formulas, setup, device, factor)} if device else {}
    if setup.engine == "trainer" and setup.device == "cuda":
        more["range"] = stock_loop.forecast_range(load_config(model), setup, formulas, known, factor)
    return cast(Forecast, result | more)


@show_progress("tracing a training step, to count its memory")
def load_formulas(model: str, setup: Setup, device: Device | None) -> tuple[Formulas, Calibration]:
    """Return the formulas for a setup and for the loss that the advice tries, and this machine's calibration."""
    config = load_config(model)
    needs_chunked = device is not None and setup.loss != "chunked"
    setups = [setup, replace(setup, loss="chunked")] if needs_chunked else [setup]
    formulas = trace_cache.load_formulas(config, setups)
    return formulas, devices.load_factor(devices.machine_key(config, setup), device)


def _describe_basis(formula: MemoryFormula, setup: Setup, factor: Calibration | None) -> str:
    """How the numbers were made, in one line."""
    if setup.device == "cpu":
        line = f"resident: allocated + {format_gib(LIBRARIES)} of libraries"
    else:
        line = f"on the GPU: allocated x {SPILL} + {format_gib(CONTEXT)}"
        if setup.loss != "chunked":
            line += f" + {LOGITS_SPILL} x float32 logits"
    if factor:
        line += f", times {factor['factor']:.3f} as measured in {factor['runs']} runs here"
    first, second = formula.few
    return f"traced on {first} and {second} of {formula.layers} layers with the libraries installed here; {line}"
