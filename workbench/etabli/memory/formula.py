"""A model's memory as a formula: from the trace of a few layers to the whole model under any setup, on any device.

A trace lists the moments that may be the peak of a phase, each by what the living tensors are for. Another setup of the
same model and engine goes through the same moments; each part grows in its own way (``_growth``), and every part grows
linearly with the number of layers. A call takes microseconds. ``tests/test_memory.py`` compares the formula with traces
of the setups themselves. A device shows more than its tensors: ``break_down`` adds that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

from etabli.core.contracts import PeakMemory
from etabli.core.errors import BadInput
from etabli.memory.config import Setup
from etabli.memory.devices import NEW, Calibration, Device
from etabli.training.tensor_counter import Parts, total_bytes

Phases: TypeAlias = Mapping[str, list[Parts]]  # phase -> moments
Sizes: TypeAlias = NDArray[np.float64]  # bytes (parts,) or (moments, parts)
CHUNK_LOGITS = 2**25  # logits that exist at once in a chunked loss: training/chunked_cross_entropy.py
KEPT_ROW = 128  # tokens: a CPU keeps the attention weights of rows up to this length: training/packed_attention.py
ADAM8 = 2 + 2 * 4 / 256  # bytes: two states of one byte, and one float32 for each 256 values of either
STATE_BYTES = {"adamw": 8.0, "adamw8bit": ADAM8, "paged_adamw8bit": ADAM8}  # for each trained weight
_WEIGHTS = ("quantised", "experts", "unquantised", "adapters")
SHOWN_PARTS = (*_WEIGHTS, "gradients", "states", "activations", "logits", "workspace")
PARTS = (*SHOWN_PARTS, "squares", "narrow", "copies")  # people see the last three as activations
SAVED_PARTS = ("activations", "narrow", "squares")  # what a layer saves for its backward pass
# A formula holds for one value of each of these.
ANCHOR_SETTINGS = ("lora", "engine", "loss", "upcast", "device", "dtype", "shares_keys")


@dataclass(frozen=True, eq=False)
class MemoryFormula:
    """The memory of a model under any setup that differs from ``anchor`` in lengths, rank, checkpointing or optimiser.

    Attributes:
        anchor: the setup that was traced.
        vocabulary: entries of the model's vocabulary.
        layers: layers of the whole model.
        few: the two numbers of layers that were traced.
        ends: by checkpointing (none, all), the traces of both numbers of layers.
    """

    anchor: Setup
    vocabulary: int
    layers: int
    few: tuple[int, int]
    ends: Mapping[str, tuple[Phases, Phases]]

    def phases(self, setup: Setup) -> dict[str, Parts]:
        """Return the bytes by part at the peak of each phase, of a setup without ``auto``.

        Raises:
            BadInput: the setup has another engine, device, … than the anchor.
        """
        different = [name for name in ANCHOR_SETTINGS if getattr(setup, name) != getattr(self.anchor, name)]
        if different:
            raise BadInput(f"This formula was made with another {' and '.join(different)}: trace the setup itself.")
        n_checkpointed, growth = setup.checkpointed_layers(self.layers), self._growth(setup)
        if n_checkpointed in (0, self.layers):
            peaks = self._extrapolate("all" if n_checkpointed else "none", growth)
        else:
            peaks = self._interpolate(n_checkpointed, growth)
        return {phase: dict(zip(PARTS, map(round, sizes.tolist()))) for phase, sizes in peaks.items()}

    def logits(self, setup: Setup) -> int:
        """Return the number of tokens whose logits exist at once."""
        tokens = setup.tokens if setup.engine == "trainer" else max(1, round(setup.tokens * setup.trained))
        return min(tokens, max(64, CHUNK_LOGITS // self.vocabulary)) if setup.loss == "chunked" else tokens

    @cached_property
    def _moments(self) -> dict[tuple[str, int], dict[str, Sizes]]:
        """Bytes (moments, parts) of each phase, by checkpointing and which of the two traces."""
        return {
            (end, index): {
                phase: np.array([[parts.get(name, 0) for name in PARTS] for parts in moments], float)
                for phase, moments in trace.items()
            }
            for end, traces in self.ends.items()
            for index, trace in enumerate(traces)
        }

    def _peaks(self, end: str, index: int, growth: Sizes) -> dict[str, Sizes]:
        """Bytes by part (parts,) at the largest moment of each phase, after the growth."""
        peaks = {}
        for phase, moments in self._moments[end, index].items():
            sizes = moments * growth
            peaks[phase] = sizes[sizes.sum(1).argmax()]
        return peaks

    def _layer_sizes(self, end: str, growth: Sizes) -> dict[str, Sizes]:
        """Bytes by part (parts,) that one more layer adds to the peak of each phase."""
        fewer, more = self._peaks(end, 0, growth), self._peaks(end, 1, growth)
        return {phase: (more[phase] - fewer[phase]) / (self.few[1] - self.few[0]) for phase in fewer}

    def _extrapolate(self, end: str, growth: Sizes) -> dict[str, Sizes]:
        """Peaks of the whole model, from those of few layers."""
        layer_sizes = self._layer_sizes(end, growth)
        missing_layers = self.layers - self.few[0]
        return {
            phase: sizes + layer_sizes[phase] * missing_layers for phase, sizes in self._peaks(end, 0, growth).items()
        }

    def _interpolate(self, n_checkpointed: int, growth: Sizes) -> dict[str, Sizes]:
        """Peaks with some layers checkpointed: each saves less, and the total is at least that of all checkpointed."""
        peaks, smallest = self._extrapolate("none", growth), self._extrapolate("all", growth)
        layer_sizes, small_layer_sizes = self._layer_sizes("none", growth), self._layer_sizes("all", growth)
        is_saved = np.array([name in SAVED_PARTS for name in PARTS])
        for phase, sizes in peaks.items():
            savings = n_checkpointed * (layer_sizes[phase] - small_layer_sizes[phase])
            sizes[is_saved] = np.maximum(0, sizes - savings)[is_saved]
        return {phase: max(peaks[phase], smallest[phase], key=np.sum) for phase in peaks}

    def _growth(self, setup: Setup) -> Sizes:
        """The factor by which each part is larger than under the anchor: float64 (parts,)."""
        tokens, rank = setup.filled_tokens / self.anchor.filled_tokens, setup.rank / self.anchor.rank
        factors = {
            "activations": tokens,
            # Attention scores: of a whole pack in this engine, of each row in the stock loop.
            "squares": tokens * (setup.seq / self.anchor.seq if setup.engine == "trainer" else tokens),
            "logits": self.logits(setup) / self.logits(self.anchor),
            "narrow": tokens * rank,
            "copies": rank,
            "adapters": rank,
            "gradients": rank,
            "states": rank * STATE_BYTES[setup.optimizer] / STATE_BYTES[self.anchor.optimizer],
        }
        return np.array([factors.get(name, 1.0) for name in PARTS])


Formulas: TypeAlias = Mapping[str, MemoryFormula]  # by the loss of their anchors


def largest_phase(phases: Mapping[str, Parts], excluded_phases: tuple[str, ...]) -> str:
    """Return the name of the phase with the most bytes, without the excluded ones."""
    return max((name for name in phases if name not in excluded_phases), key=lambda name: total_bytes(phases[name]))


# A GPU needs more than its tensors: the CUDA context (an assumption), and what the allocator can't use again. SPILL and
# LOGITS_SPILL are fitted on nine of the published pairs of max_memory_allocated and nvidia-smi, and tested on the
# others (tests/published_memory.json).
CONTEXT = 2**29
SPILL = 1.08
LOGITS_SPILL = 1.79  # times the bytes of all logits in float32: such large blocks leave holes
LIBRARIES = 700 * 10**6  # on a CPU: the resident bytes of Python and the libraries
HOST_PHASES = ("merge",)  # phases that take the memory of the host, not of the GPU


class Breakdown(TypedDict):
    """A setup's memory in bytes."""

    peak: PeakMemory
    phases: dict[str, int]  # bytes of tensors
    parts: dict[str, dict[str, int]]  # phase -> part -> bytes of tensors
    device: dict[str, int]  # phase -> bytes that the device shows
    components: dict[str, int]  # of the peak; their sum is what the device shows
    recalibrated: Calibration | None
    notes: list[str]


def setup_on(setup: Setup, device: Device) -> Setup:
    """Return the setup with the type, dtype and attention kernel of a device, and without ``auto``."""
    shares_keys = device.type == "cpu" or device.capability >= NEW
    return replace(setup, device=device.type, dtype=device.dtype, shares_keys=shares_keys).resolve_auto()


def break_down(formulas: Formulas, setup: Setup, calibration: Calibration | None = None) -> Breakdown:
    """Return the peak of each phase and what it consists of.

    Args:
        calibration: what earlier runs measured against their forecasts; it scales what the device shows.
    """
    formula = formulas[setup.loss]
    phases = formula.phases(setup)
    peak_phase = largest_phase(phases, HOST_PHASES)
    device_bytes = {
        name: bytes_on_device(formula, setup, name, parts, calibration)
        for name, parts in phases.items()
        if name not in HOST_PHASES
    }
    peak_bytes = device_bytes[peak_phase]
    return {
        "peak": {"allocated": total_bytes(phases[peak_phase]), "device": peak_bytes, "phase": peak_phase},
        "phases": {name: total_bytes(parts) for name, parts in phases.items()},
        "parts": {name: _group_parts(parts) for name, parts in phases.items()},
        "device": device_bytes,
        "components": _components(phases[peak_phase], setup, peak_bytes),
        "recalibrated": calibration if calibration and calibration["runs"] else None,
        "notes": _notes(phases["load"], setup),
    }


def peak_on_device(formulas: Formulas, setup: Setup, calibration: Calibration | None = None) -> int:
    """Return the bytes that nvidia-smi (on a CPU: the resident set) shows at the peak."""
    phases = formulas[setup.loss].phases(setup)
    peak_phase = largest_phase(phases, HOST_PHASES)
    return bytes_on_device(formulas[setup.loss], setup, peak_phase, phases[peak_phase], calibration)


def bytes_on_device(
    formula: MemoryFormula, setup: Setup, phase: str, parts: Parts, calibration: Calibration | None = None
) -> int:
    """Return the bytes that the device shows in a phase with these tensors."""
    factor = calibration["factor"] if calibration else 1.0
    tensors = total_bytes(parts)
    if setup.device == "cpu":
        return max(tensors, round((tensors + LIBRARIES) * factor))
    # Holes that the logits leave stay in later phases too.
    has_holes = setup.loss != "chunked" and phase != "load"
    holes = LOGITS_SPILL * 4 * formula.vocabulary * formula.logits(setup) if has_holes else 0
    return max(tensors, round((tensors * SPILL + CONTEXT + holes) * factor))


def _components(parts: Parts, setup: Setup, device_bytes: int) -> dict[str, int]:
    """What the peak consists of; the sum is ``device_bytes``."""
    beyond_tensors = device_bytes - total_bytes(parts)
    context = min(LIBRARIES if setup.device == "cpu" else CONTEXT, beyond_tensors)
    return _group_parts(parts) | {"context": context, "fragmentation": beyond_tensors - context}


def _group_parts(parts: Parts) -> dict[str, int]:
    """Bytes by the names that people see: all tensors of a layer's computation are activations."""
    groups = {name: parts.get(name, 0) for name in SHOWN_PARTS}
    groups["activations"] += sum(size for name, size in parts.items() if name not in groups)
    return groups


def _notes(load_parts: Parts, setup: Setup) -> list[str]:
    notes = ["merge takes the memory of the host, not of the GPU."] if setup.device == "cuda" else []
    if load_parts.get("experts"):
        notes.append(
            f"Experts: {load_parts['experts'] / 2**30:.1f} GiB of fused expert weights stay in 16 bits, because "
            "bitsandbytes quantises only linear layers."
        )
    if setup.engine == "trainer" and not setup.shares_keys:
        notes.append(
            "The forecast assumes a fused attention kernel. Without one, a GPU holds all attention scores."
            " It then takes more."
        )
    if setup.optimizer == "paged_adamw8bit":
        notes.append(
            "The optimiser's states are paged: they count here as on the GPU, and can leave it when it is full."
        )
    return notes
