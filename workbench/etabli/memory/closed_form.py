"""Memory as a formula: from a trace of a few layers under one setup to the whole model under any, in microseconds.

A trace lists the moments that may be a phase's peak, each by what is alive for what. Under another setup of the same
model and engine the same moments come again, each part grown in a way of its own (``growth``), and with more layers
every part grows in a line. Held against traces of the setups themselves in ``tests/test_memory.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from etabli.allocations import Parts, total
from etabli.errors import BadInput
from etabli.memory.setup import Setup

Phases = Mapping[str, list[Parts]]
CHUNK_LOGITS = 2**25  # logits that exist at once when the loss takes them in chunks: training/loss.py
ADAM8 = 2 + 2 * 4 / 256  # bytes: two of one byte, and a float32 for each 256 of either
STATE_BYTES = {"adamw": 8.0, "adamw8bit": ADAM8, "paged_adamw8bit": ADAM8}  # of a trained weight
KEPT = ("activations", "narrow", "squares")  # what a layer keeps for its backward pass
ALIKE = ("lora", "engine", "loss", "upcast", "device", "dtype", "shares_keys")  # under other ones all differs


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """What a model takes under any setup that differs from ``anchor`` in lengths, rank, layers checkpointed, optimiser.

    ``few`` are the two numbers of layers that were traced; ``ends`` the traces, by checkpointing ``none`` and ``all``
    (one of them may be missing, if nobody asks).
    """

    anchor: Setup
    vocabulary: int
    layers: int
    few: tuple[int, int]
    ends: Mapping[str, tuple[Phases, Phases]]

    def phases(self, setup: Setup) -> dict[str, Parts]:
        """Bytes by part at the peak of each phase.

        Raises:
            BadInput: the setup is of another engine, device, … than the anchor.
        """
        setup = setup.settled()
        if other := [name for name in ALIKE if getattr(setup, name) != getattr(self.anchor, name)]:
            raise BadInput(f"This formula was made with another {' and '.join(other)}: trace the setup itself.")
        some = setup.checkpointed(self.layers)
        if some == 0:
            return self._whole("none", setup)
        every = self._whole("all", setup)
        return every if some == self.layers else self._between(setup, some, every)

    def _whole(self, end: str, setup: Setup) -> dict[str, Parts]:
        grown = self._growth(setup)
        one, more = self.ends[end]
        share = (self.layers - self.few[0]) / (self.few[1] - self.few[0])
        return {name: _further(_peak(one[name], grown), _peak(more[name], grown), share) for name in one}

    def _between(self, setup: Setup, some: int, every: dict[str, Parts]) -> dict[str, Parts]:
        """With some layers checkpointed: each of them keeps less, and at best as little is kept as with all."""
        none, grown = self._whole("none", setup), self._growth(setup)
        for name, parts in none.items():
            for part in KEPT:
                spared = some * (self._a_layer("none", name, part, grown) - self._a_layer("all", name, part, grown))
                parts[part] = max(0, parts.get(part, 0) - spared)
        return {name: max(none[name], every[name], key=total) for name in none}

    def _a_layer(self, end: str, phase: str, part: str, grown: Mapping[str, float]) -> int:
        one, more = (_peak(trace[phase], grown).get(part, 0) for trace in self.ends[end])
        return (more - one) // (self.few[1] - self.few[0])

    def _growth(self, setup: Setup) -> dict[str, float]:
        """By how much each part has grown since the anchor; what is not named here stays as it is."""
        tokens, rank = setup.tokens / self.anchor.tokens, setup.rank / self.anchor.rank
        states = STATE_BYTES[setup.optimizer] / STATE_BYTES[self.anchor.optimizer]
        return {
            "activations": tokens,
            "squares": tokens**2,
            "logits": self._logits(setup) / self._logits(self.anchor),
            "narrow": tokens * rank,
            "copies": rank,
            "adapters": rank,
            "gradients": rank,
            "states": rank * states,
        }

    def _logits(self, setup: Setup) -> int:
        """Tokens whose logits exist at once."""
        wanted = setup.tokens if setup.engine == "trainer" else max(1, round(setup.tokens * setup.trained))
        return min(wanted, max(64, CHUNK_LOGITS // self.vocabulary)) if setup.loss == "chunked" else wanted


Forms = Mapping[str, ClosedForm]  # by the loss of their anchors


def _peak(moments: list[Parts], grown: Mapping[str, float]) -> Parts:
    """The moment at which most is alive, once all has grown."""
    found = ({name: round(size * grown.get(name, 1.0)) for name, size in parts.items()} for parts in moments)
    return max(found, key=total)


def _further(one: Parts, more: Parts, share: float) -> Parts:
    """As far beyond ``one`` as ``share`` times the way to ``more``."""
    names = [*one, *(name for name in more if name not in one)]
    return {name: round(one.get(name, 0) + (more.get(name, 0) - one.get(name, 0)) * share) for name in names}
