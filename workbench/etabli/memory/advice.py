"""Does a setup fit on a device? If not, which changes make it fit, cheapest first; and the largest setup that fits."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypedDict

from etabli.memory.calibration import Calibration
from etabli.memory.config import ROUND, Setup
from etabli.memory.device_overhead import peak_on_device
from etabli.memory.gpus import Device
from etabli.memory.scaling import Formulas

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


class AdviceItem(TypedDict):
    """What one change alone would do; bytes."""

    change: str
    device: int
    saves: int
    fits: bool
    cost: str
    slower: float


class ChangeList(TypedDict):
    """Changes that make a setup fit, the setup after them, and its bytes on the device."""

    changes: list[str]
    setup: dict[str, Any]
    device: int


class DeviceSize(TypedDict):
    """A device and its memory in bytes."""

    name: str
    total: int


class Fit(TypedDict):
    """Whether a setup fits on a device, and what would help."""

    gpu: DeviceSize
    fits: bool
    advice: list[AdviceItem]  # each change alone
    cheapest: ChangeList | None  # None if it fits already, or if no changes make it fit
    largest: dict[str, int]  # the longest row (seq, in tokens) at this batch; the most rows (batch) of this length


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
        advice: list[AdviceItem] = []
        for change in () if fits else self._changes(setup):
            new_peak = self.peak(change.setup)
            if new_peak < peak:
                advice.append(
                    {
                        "change": change.describe(setup),
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

    def _cheapest(self, setup: Setup) -> ChangeList | None:
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

    def _change_list(self, descriptions: list[str], setup: Setup) -> ChangeList:
        return {"changes": descriptions, "setup": setup.to_dict(), "device": self.peak(setup)}

    def _largest(self, setup: Setup) -> dict[str, int]:
        """The longest row at this batch, in tokens, and the most rows of this length."""
        lengths, batches = range(ROUND, MAX_TOKENS, ROUND), range(1, MAX_TOKENS // setup.seq + 2)
        seq = bisect_right(lengths, self.limit, key=lambda length: self.peak(replace(setup, seq=length))) * ROUND
        batch = bisect_right(batches, self.limit, key=lambda rows: self.peak(replace(setup, batch=rows)))
        return {"seq": seq, "batch": batch}
