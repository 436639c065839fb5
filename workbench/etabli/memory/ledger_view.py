"""What runs took beside their forecasts (``of_run``), and the source of the widget (``ledger``).

The ratio of both is saved for this machine's later forecasts.
"""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from etabli.core import parsing
from etabli.core.contracts import PROCESS, RECIPE, Measurement, MemoryAdvice, MemorySetup
from etabli.core.errors import BadInput
from etabli.core.progress import show_progress
from etabli.memory import devices, trace_cache
from etabli.memory.config import ROUND, Setup, build_setup, load_config
from etabli.memory.devices import Device, find_device
from etabli.memory.forecasting import Forecast, advise, forecast, load_formulas
from etabli.memory.formula import CONTEXT, Breakdown, Formulas, break_down, peak_on_device, setup_on
from etabli.models.loading import layer_width
from etabli.runs import events
from etabli.runs.events import Event
from etabli.runs.run import Run

if TYPE_CHECKING:
    from etabli_widgets import MemoryLedger

PHASES = ("load", "forward", "backward", "optimizer", "evaluation")
_BATCH_KEYS = ("rows", "tokens", "trained")


class RunForecast(Forecast):
    """A forecast for a run, and what the run measured."""

    run: str
    measured: dict[str, Measurement]  # by phase
    residual: dict[str, float]  # phase -> measured tensors / forecast - 1


@show_progress("comparing the forecast with the run")
def of_run(run: Run | str | Path, gpu: str | None = None) -> RunForecast:
    """Return a forecast for the step that a run measured before its training, with the measurements beside it.

    A run of this machine is saved: later forecasts for ``here`` are multiplied by what such runs took.

    Args:
        gpu: the device for ``fits`` and ``advice``; by default the one that the run used.

    Returns:
        What ``forecast`` returns, and ``run``, ``measured`` and ``residual``.

    Raises:
        BadInput: the run has not measured a step yet, or an old version wrote it.
    """
    run = Run.attach(run)
    run_events = run.events()
    measurements = _read_measurements(run_events, run)
    setup = _read_setup(run, events.last_of_kind(run_events, "start"), measurements["forward"])
    is_local = _ran_here(run, setup)
    device = replace(devices.local_device(), dtype=setup.dtype) if is_local else None  # the recipe may set the dtype
    result = forecast(run.recipe.model, gpu or device, setup)
    config = load_config(run.recipe.model)
    formulas, key = trace_cache.load_formulas(config, [setup]), devices.machine_key(config, setup)
    name = run.folder.resolve().as_posix()
    if not gpu:  # without the measurement of this run itself
        factor = devices.load_factor(key, devices.local_device() if is_local else None, name)
        result = {**result, **break_down(formulas, setup, factor), "notes": result["notes"]}
    residual = {
        phase: measurement["allocated"] / _forecast_tensors(formulas, setup, measurement, phase) - 1
        for phase, measurement in measurements.items()
        if "allocated" in measurement
    }
    if is_local and "optimizer" in measurements:  # the measured step was completed
        devices.save_run(name, key, peak_on_device(formulas, setup), _measured_peak(measurements, setup))
    return {**result, "run": str(run.folder), "measured": measurements, "residual": residual}


def _read_measurements(run_events: list[Event], run: Run) -> dict[str, Measurement]:
    """The last measurement of each phase."""
    measurements: dict[str, Measurement] = {}
    for event in events.of_kind(run_events, "memory"):
        if event.get("phase") in PHASES:
            values = {name: event[name] for name in Measurement.__annotations__ if name in event}
            measurements[event["phase"]] = cast(Measurement, values)
    forward = measurements.get("forward", {})
    if not all(isinstance(forward.get(name), int) for name in _BATCH_KEYS):
        raise BadInput(f"{run.folder} has measured no step yet: a run does so before step 1. See etabli runs.")
    return measurements


def _read_setup(run: Run, start: Event, forward: Measurement) -> Setup:
    """The setup of the step that the run measured."""
    recipe = run.recipe
    targets = recipe.lora.target_modules
    is_cuda = start.get("device", "cpu").startswith("cuda")
    setup = Setup(
        rank=recipe.lora.rank,
        lora=targets if isinstance(targets, str) else ",".join(targets),
        checkpointing=forward.get("checkpointing", "none"),
        optimizer=recipe.optimizer,
        device="cuda" if is_cuda else "cpu",
        dtype=start.get("dtype", "bfloat16"),
        shares_keys=not is_cuda or devices.local_device().capability >= devices.NEW,
    )
    return _with_batch(setup, forward).resolve_auto()


def _with_batch(setup: Setup, measurement: Measurement) -> Setup:
    """The setup with the measured batch, as rows of equal length: as many tokens in about as many rows."""
    tokens = -(-measurement["tokens"] // ROUND) * ROUND
    divisors = [count for count in range(1, tokens + 1) if tokens % count == 0]
    rows = min(divisors, key=lambda count: abs(count - measurement["rows"]))
    return replace(setup, seq=tokens // rows, batch=rows, trained=max(measurement["trained"], 1) / tokens)


def _forecast_tensors(formulas: Formulas, setup: Setup, measurement: Measurement, phase: str) -> int:
    """The forecast of a phase for its own batch: an evaluation's longest batch differs from that of training."""
    phase_setup = _with_batch(setup, measurement) if measurement.get("tokens") else setup
    return break_down(formulas, phase_setup)["phases"][phase]


def _measured_peak(measurements: dict[str, Measurement], setup: Setup) -> int:
    """The largest number of bytes that the device showed in a phase that has a forecast."""
    steps: Sequence[Measurement] = [measurement for name, measurement in measurements.items() if name != "load"]
    if setup.device == "cpu":
        return max(measurement.get("resident", 0) for measurement in steps)
    return max(measurement.get("reserved", 0) for measurement in steps) + CONTEXT


def _ran_here(run: Run, setup: Setup) -> bool:
    """Did the run use this machine, and the device that is here now?"""
    try:
        process = parsing.read_json(run.folder / PROCESS, parsing.LARGEST_CONFIG)
    except (OSError, ValueError):
        return False
    host = process.get("host") if isinstance(process, dict) else None
    return host == socket.gethostname() and devices.local_device().type == setup.device


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

    def breakdown_at(self, **positions: int) -> dict[str, object]:
        """Return what the ledger shows at these positions: ``phases``, ``peak``, ``limit``, ``fits``, ``advice`` …"""
        layers = positions.pop("checkpointing", None)
        setup = replace(self.setup, **cast(MemorySetup, positions))
        if layers is not None:
            setup = replace(setup, checkpointing={0: "none", self._layers: "all"}.get(layers, str(layers)))
        breakdown = break_down(self._formulas, setup, self._calibration)
        fit = advise(self._formulas, setup, self.device, self._calibration)
        positions = self.slider_positions(setup)
        measurements = self.measurements if positions == self.slider_positions(self.setup) else {}
        return {
            "phases": [_phase_bar(name, breakdown, measurements.get(name)) for name in breakdown["device"]],
            "host": breakdown["phases"]["merge"],
            "peak": breakdown["peak"],
            "limit": self.device.total,
            "fits": fit["fits"],
            "largest": fit["largest"],
            "advice": [{**item, "positions": self._positions_after(item, setup)} for item in fit["advice"][:4]],
            "now": positions,
            "recalibrated": breakdown["recalibrated"],
        }

    def _positions_after(self, advice: MemoryAdvice, setup: Setup) -> dict[str, int] | None:
        """Return where the sliders stand after a piece of advice; None if it changes what has no slider."""
        if not advice["keys"].keys() <= self.stops.keys():
            return None
        return self.slider_positions(replace(setup, **advice["keys"]))


def _phase_bar(name: str, breakdown: Breakdown, measurement: Measurement | None) -> dict[str, object]:
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


@show_progress("tracing a training step, to count its memory")
def ledger(model: str = "default", gpu: str = "here", **keys: object) -> "MemoryLedger":
    """Return a ``MemoryLedger``: a bar for each phase, the limit of the GPU, and sliders. Seconds the first time.

    Args:
        model: as for ``etabli.memory.forecast``, or the folder of a run, which adds its measurements.
        gpu: as for ``etabli.memory.forecast``.
    """
    from etabli_widgets import MemoryLedger

    if not (Path(model) / RECIPE).is_file():
        device = find_device(gpu, layer_width(load_config(model)))
        return MemoryLedger(Ledger(model, device, build_setup(None, **keys)))
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
