"""Memory as a formula: from a trace of a few layers under one setup to the whole model under any, in microseconds.

A trace lists the moments that may be a phase's peak, each by what is alive for what. Under another setup of the same
model and engine the same moments come again, each part grown in a way of its own (``_growth``), and with more layers
every part grows in a line. Held against traces of the setups themselves in ``tests/test_memory.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from etabli.core.errors import BadInput
from etabli.memory.config import ROUND, Setup
from etabli.training.tensor_counter import Parts, total

Phases = Mapping[str, list[Parts]]
CHUNK_LOGITS = 2**25  # logits that exist at once when the loss takes them in chunks: training/chunked_cross_entropy.py
SHORT = 128  # tokens of rows that a CPU attends to in another way: training/packed_attention.py
ADAM8 = 2 + 2 * 4 / 256  # bytes: two of one byte, and a float32 for each 256 of either
STATE_BYTES = {"adamw": 8.0, "adamw8bit": ADAM8, "paged_adamw8bit": ADAM8}  # of a trained weight
PARTS = (
    "quantised", "experts", "unquantised", "adapters", "gradients", "states", "activations", "squares", "narrow",
    "copies", "logits", "workspace",
)  # fmt: skip
KEPT = ("activations", "narrow", "squares")  # what a layer keeps for its backward pass
ALIKE = ("lora", "engine", "loss", "upcast", "device", "dtype", "shares_keys")  # under other ones all differs


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """What a model takes under any setup that differs from ``anchor`` in lengths, rank, layers checkpointed, optimiser.

    ``few`` are the two numbers of layers that were traced; ``ends`` the traces of both, by checkpointing.
    """

    anchor: Setup
    vocabulary: int
    layers: int
    few: tuple[int, int]
    ends: Mapping[str, tuple[Phases, Phases]]

    def phases(self, setup: Setup) -> dict[str, Parts]:
        """Bytes by part at the peak of each phase, of a settled setup.

        Raises:
            BadInput: the setup is of another engine, device, … than the anchor.
        """
        if other := [name for name in ALIKE if getattr(setup, name) != getattr(self.anchor, name)]:
            raise BadInput(f"This formula was made with another {' and '.join(other)}: trace the setup itself.")
        some, grown = setup.checkpointed(self.layers), self._growth(setup)
        if some in (0, self.layers):
            found = self._whole("all" if some else "none", grown)
        else:
            found = self._between(some, grown)
        return {phase: dict(zip(PARTS, map(round, sizes.tolist()))) for phase, sizes in found.items()}

    def logits(self, setup: Setup) -> int:
        """Tokens whose logits exist at once."""
        wanted = setup.tokens if setup.engine == "trainer" else max(1, round(setup.tokens * setup.trained))
        return min(wanted, max(64, CHUNK_LOGITS // self.vocabulary)) if setup.loss == "chunked" else wanted

    @cached_property
    def _moments(self) -> dict[tuple[str, int, str], np.ndarray]:
        """Bytes (moments, parts) by end, which of the two traces, and phase."""
        return {
            (end, which, phase): np.array([[parts.get(name, 0) for name in PARTS] for parts in moments], float)
            for end, pair in self.ends.items()
            for which, trace in enumerate(pair)
            for phase, moments in trace.items()
        }

    def _peaks(self, end: str, which: int, grown: np.ndarray) -> dict[str, np.ndarray]:
        """The moment of each phase at which most is alive, once all has grown."""
        of = {key[2]: moments * grown for key, moments in self._moments.items() if key[:2] == (end, which)}
        return {phase: moments[moments.sum(1).argmax()] for phase, moments in of.items()}

    def _whole(self, end: str, grown: np.ndarray) -> dict[str, np.ndarray]:
        one, more = (self._peaks(end, which, grown) for which in (0, 1))
        share = (self.layers - self.few[0]) / (self.few[1] - self.few[0])
        return {phase: one[phase] + (more[phase] - one[phase]) * share for phase in one}

    def _between(self, some: int, grown: np.ndarray) -> dict[str, np.ndarray]:
        """With some layers checkpointed: each of them keeps less, and at best as little is kept as with all."""
        none, every = self._whole("none", grown), self._whole("all", grown)
        kept = {end: [self._peaks(end, which, grown) for which in (0, 1)] for end in ("none", "all")}
        rows = np.array([name in KEPT for name in PARTS])
        for phase, sizes in none.items():
            a_layer = [(kept[end][1][phase] - kept[end][0][phase]) / (self.few[1] - self.few[0]) for end in kept]
            sizes[rows] = np.maximum(0, sizes - some * (a_layer[0] - a_layer[1]))[rows]
        return {phase: max(none[phase], every[phase], key=np.sum) for phase in none}

    def _growth(self, setup: Setup) -> np.ndarray:
        """By how much each part has grown since the anchor."""
        tokens, rank = _tokens(setup) / _tokens(self.anchor), setup.rank / self.anchor.rank
        of = {
            "activations": tokens,
            # Each token against each other: of a pack in this engine, of each row in the stock loop.
            "squares": tokens * (setup.seq / self.anchor.seq if setup.engine == "trainer" else tokens),
            "logits": self.logits(setup) / self.logits(self.anchor),
            "narrow": tokens * rank,
            "copies": rank, "adapters": rank, "gradients": rank,
            "states": rank * STATE_BYTES[setup.optimizer] / STATE_BYTES[self.anchor.optimizer],
        }  # fmt: skip
        return np.array([of.get(name, 1.0) for name in PARTS])


def _tokens(setup: Setup) -> int:
    """What goes through the model, filled up."""
    return setup.tokens if setup.engine == "trainer" else setup.tokens + -setup.tokens % ROUND


Forms = Mapping[str, ClosedForm]  # by the loss of their anchors


def largest(phases: Mapping[str, Parts], but: tuple[str, ...]) -> str:
    """The phase that takes most."""
    return max((name for name in phases if name not in but), key=lambda name: total(phases[name]))
