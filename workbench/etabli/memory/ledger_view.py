"""The ledger behind the widget: a model's memory under any setup, fast enough for sliders."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etabli.core import contracts
from etabli.memory import advice
from etabli.memory.config import Setup, build_setup
from etabli.memory.device_overhead import Breakdown, break_down, setup_on
from etabli.memory.forecasting import load_formulas
from etabli.memory.gpus import Device, find_device
from etabli.memory.model_configs import load_config
from etabli.memory.runs import Measurement, of_run
from etabli.models.loading import layer_width

if TYPE_CHECKING:
    from etabli_widgets import MemoryLedger

STOPS = {
    "seq": [64, 128, 256, 512, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 32768],
    "batch": [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64],
    "rank": [1, 2, 4, 8, 16, 32, 64, 128, 256],
}
# The groups of a bar in the order in which they are stacked, and the components of each.
GROUPS = {
    "4-bit weights": ("quantised",),
    "16-bit weights": ("unquantised", "experts"),
    "adapters and optimiser": ("adapters", "gradients", "states"),
    "activations": ("activations",),
    "logits": ("logits",),
    "dequantised matrix": ("workspace",),
}


class Ledger:
    """The memory of a model on a device, or of a run beside its forecast, for any position of the sliders.

    Raises:
        UnknownModel, BadInput: as for ``etabli.memory.forecast``.
    """

    def __init__(self, model: str, device: Device, setup: Setup, measurements: dict[str, Measurement] | None = None):
        self.model = Path(model).name if Path(model).exists() else model  # hide where the folder is on this machine
        self.device, self.setup = device, setup_on(setup, device)
        self.measurements = measurements or {}
        self._formulas, self._calibration = load_formulas(model, self.setup, device)

    @property
    def _layers(self) -> int:
        return self._formulas[self.setup.loss].layers

    @property
    def stops(self) -> dict[str, list[int]]:
        """The positions of each slider; ``checkpointing`` counts layers."""
        stops = {name: sorted({*values, getattr(self.setup, name)}) for name, values in STOPS.items()}
        is_stock = self.setup.engine == "trainer"
        return stops | {"checkpointing": [0, self._layers] if is_stock else list(range(self._layers + 1))}

    def slider_positions(self, setup: Setup) -> dict[str, int]:
        """Return the positions of the sliders for a setup."""
        positions = {name: getattr(setup, name) for name in STOPS}
        return positions | {"checkpointing": setup.checkpointed_layers(self._layers)}

    def breakdown_at(self, **positions: int) -> dict[str, Any]:
        """Return what the ledger shows at these positions: ``phases``, ``peak``, ``limit``, ``fits``, ``advice`` …"""
        layers = positions.pop("checkpointing", None)
        settings: dict[str, Any] = {**positions}
        if layers is not None:
            settings["checkpointing"] = {0: "none", self._layers: "all"}.get(layers, str(layers))
        setup = replace(self.setup, **settings)
        breakdown = break_down(self._formulas, setup, self._calibration)
        fit = advice.advise(self._formulas, setup, self.device, self._calibration)
        positions = self.slider_positions(setup)
        measurements = self.measurements if positions == self.slider_positions(self.setup) else {}
        return {
            "phases": [_phase_bar(name, breakdown, measurements.get(name)) for name in breakdown["device"]],
            "host": breakdown["phases"]["merge"],
            "peak": breakdown["peak"],
            "limit": self.device.total,
            "fits": fit["fits"],
            "largest": fit["largest"],
            "advice": fit["advice"][:4],
            "now": positions,
            "recalibrated": breakdown["recalibrated"],
        }


def _phase_bar(name: str, breakdown: Breakdown, measurement: Measurement | None) -> dict[str, Any]:
    """One bar: bytes by group, what the device shows beyond tensors, and what was measured."""
    parts, tensors, device = breakdown["parts"][name], breakdown["phases"][name], breakdown["device"][name]
    groups = {group: sum(parts[part] for part in members) for group, members in GROUPS.items()}
    return {
        "name": name,
        "parts": groups | {"context and fragments": device - tensors},
        "tensors": tensors,
        "device": device,
        "measured": measurement.get("allocated") if measurement else None,
    }


def ledger(model: str = "default", gpu: str = "here", **keys: Any) -> "MemoryLedger":
    """Return a ``MemoryLedger``: a bar for each phase, the limit of the GPU, and sliders. Seconds the first time.

    Args:
        model: as for ``etabli.memory.forecast``, or the folder of a run, which adds its measurements.
        gpu: as for ``etabli.memory.forecast``.
    """
    from etabli_widgets import MemoryLedger

    if not (Path(model) / contracts.RECIPE).is_file():
        return MemoryLedger(Ledger(model, find_device(gpu, layer_width(load_config(model))), build_setup(**keys)))
    run_forecast = of_run(model)
    setup, device = Setup(**run_forecast["setup"]), find_device(gpu)
    if gpu == "here" and device.type == setup.device:
        measurements = _select_comparable(run_forecast["measured"])
        return MemoryLedger(Ledger(run_forecast["model"], replace(device, dtype=setup.dtype), setup, measurements))
    return MemoryLedger(Ledger(run_forecast["model"], device, setup))


def _select_comparable(measurements: Mapping[str, Measurement]) -> dict[str, Measurement]:
    """The phases with as many tokens as in training, since the bars are of that many."""
    tokens = measurements["forward"]["tokens"]
    return {name: phase for name, phase in measurements.items() if phase.get("tokens", tokens) == tokens}
