"""A model's memory as a formula: from the trace of a few layers under one setup to the whole model under any setup.

A trace lists the moments that may be the peak of a phase, each by what the living tensors are for. Another setup of the
same model and engine goes through the same moments; each part grows in its own way (``_growth``), and every part grows
linearly with the number of layers. A call takes microseconds. ``tests/test_memory.py`` compares the formula with traces
of the setups themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from etabli.core.errors import BadInput
from etabli.memory.config import Setup
from etabli.training.tensor_counter import Parts, total_bytes

Phases: TypeAlias = Mapping[str, list[Parts]]  # phase -> moments
Sizes: TypeAlias = NDArray[np.float64]  # bytes (parts,) or (moments, parts)
CHUNK_LOGITS = 2**25  # logits that exist at once in a chunked loss: training/chunked_cross_entropy.py
SHORT = 128  # tokens: a CPU uses another attention for rows up to this length: training/packed_attention.py
ADAM8 = 2 + 2 * 4 / 256  # bytes: two states of one byte, and one float32 for each 256 values of either
STATE_BYTES = {"adamw": 8.0, "adamw8bit": ADAM8, "paged_adamw8bit": ADAM8}  # for each trained weight
PARTS = (
    "quantised",
    "experts",
    "unquantised",
    "adapters",
    "gradients",
    "states",
    "activations",
    "squares",
    "narrow",
    "copies",
    "logits",
    "workspace",
)
SAVED_PARTS = ("activations", "narrow", "squares")  # what a layer saves for its backward pass
ANCHOR_SETTINGS = (
    "lora",
    "engine",
    "loss",
    "upcast",
    "device",
    "dtype",
    "shares_keys",
)  # a formula holds for one value


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
