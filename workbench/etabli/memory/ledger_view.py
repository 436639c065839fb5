"""The ledger at hand: a model's memory under any setup, in the time that a slider takes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from etabli.core import contracts
from etabli.memory import advice
from etabli.memory.config import Setup
from etabli.memory.device_overhead import on, reckoned
from etabli.memory.forecasting import made, prepared
from etabli.memory.gpus import Card, card
from etabli.memory.model_configs import config
from etabli.memory.runs import of_run
from etabli.models.loading import width

SEQ = [64, 128, 256, 512, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 32768]
BATCH = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]
RANK = [1, 2, 4, 8, 16, 32, 64, 128, 256]
# What the bars show, in the order in which they are stacked, and of which parts.
GROUPS = {
    "4-bit weights": ("quantised",),
    "16-bit weights": ("unquantised", "experts"),
    "adapters and optimiser": ("adapters", "gradients", "states"),
    "activations": ("activations",),
    "logits": ("logits",),
    "dequantised matrix": ("workspace",),
}


class Ledger:
    """A model on a card, or a run beside its forecast; ``at`` says what another setup takes.

    Raises:
        UnknownModel, BadInput: see ``etabli.memory.forecast``.
    """

    def __init__(self, model: str, place: Card, setup: Setup, measured: dict[str, Any] | None = None):
        self.model = Path(model).name if Path(model).exists() else model  # a path of this machine stays here
        self.place, self.setup = place, on(setup, place)
        self.measured = measured or {}
        self._forms, self._known = prepared(model, self.setup, place)

    @property
    def stops(self) -> dict[str, list[int]]:
        """Where each slider can stand; ``checkpointing`` in layers."""
        layers = self._forms[self.setup.loss].layers
        own = {"seq": SEQ, "batch": BATCH, "rank": RANK}
        stops = {name: sorted({*values, getattr(self.setup, name)}) for name, values in own.items()}
        every = [0, layers] if self.setup.engine == "trainer" else range(layers + 1)
        return stops | {"checkpointing": list(every)}

    def now(self, setup: Setup) -> dict[str, int]:
        """Where the sliders stand."""
        layers = self._forms[setup.loss].layers
        return {name: getattr(setup, name) for name in ("seq", "batch", "rank")} | {
            "checkpointing": setup.checkpointed(layers)
        }

    def at(self, **keys: int) -> dict[str, Any]:
        """What the ledger shows of a setup: ``phases``, ``peak``, ``limit``, ``fits``, ``largest``, ``advice`` …"""
        some = keys.pop("checkpointing", None)
        changed = keys if some is None else keys | {"checkpointing": self._checkpointing(some)}
        setup = replace(self.setup, **changed)
        told = reckoned(self._forms, setup, self._known)
        fits = advice.fitting(self._forms, setup, self.place, self._known)
        own = self.measured if self.now(setup) == self.now(self.setup) else {}
        return {
            "phases": [_phase(name, told, own.get(name)) for name in told["device"]],
            "host": told["phases"]["merge"], "peak": told["peak"], "limit": self.place.total,
            "fits": fits["fits"], "largest": fits["largest"], "advice": fits["advice"][:4], "now": self.now(setup),
            "recalibrated": told["recalibrated"],
        }  # fmt: skip

    def _checkpointing(self, some: int) -> str:
        layers = self._forms[self.setup.loss].layers
        return "none" if some == 0 else "all" if some == layers else str(some)


def _phase(name: str, told: dict[str, Any], took: dict[str, int] | None) -> dict[str, Any]:
    """One bar: bytes by group, what the device shows beyond tensors, and what was measured."""
    parts = told["parts"][name]
    groups = {group: sum(parts[part] for part in members) for group, members in GROUPS.items()}
    beyond = {"context and fragments": told["device"][name] - told["phases"][name]}
    return {
        "name": name, "parts": groups | beyond, "tensors": told["phases"][name], "device": told["device"][name],
        "measured": (took or {}).get("allocated"),
    }  # fmt: skip


def ledger(model: str = "default", gpu: str = "here", **keys: Any) -> Any:
    """A ``MemoryLedger``: bars by phase against the card's line, with sliders. Some seconds the first time.

    Args:
        model: as for ``etabli.memory.forecast``, or the folder of a run, whose measurements are then shown.
    """
    from etabli_widgets import MemoryLedger

    if (Path(model) / contracts.RECIPE).is_file():
        told = of_run(model)
        setup, place = Setup(**told["setup"]), card(gpu)
        comparable = gpu == "here" and place.device == setup.device
        place = replace(place, dtype=setup.dtype) if comparable else place
        return MemoryLedger(Ledger(told["model"], place, setup, _alike(told["measured"]) if comparable else None))
    return MemoryLedger(Ledger(model, card(gpu, width(config(model))), made(**keys)))


def _alike(took: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Phases in which as much went through the model as in training: the bars are of that."""
    tokens = took["forward"]["tokens"]
    return {name: held for name, held in took.items() if held.get("tokens", tokens) == tokens}
