"""Compare the memory that a run measured with its forecast, phase by phase, and save the ratio for this machine."""

import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, cast

from etabli.core import parsing
from etabli.core.contracts import PROCESS
from etabli.core.errors import BadInput
from etabli.memory import calibration, gpus, trace_cache
from etabli.memory.config import ROUND, Setup
from etabli.memory.device_overhead import CONTEXT, break_down, peak_on_device
from etabli.memory.forecasting import Forecast, forecast
from etabli.memory.model_configs import load_config
from etabli.memory.scaling import Formulas
from etabli.runs import events
from etabli.runs.run import Run

PHASES = ("load", "forward", "backward", "optimizer", "evaluation")
_BATCH_KEYS = ("rows", "tokens", "trained")


class Measurement(TypedDict, total=False):
    """What a run measured in a phase: bytes, and the batch that it measured them with."""

    allocated: int
    reserved: int
    resident: int
    rows: int
    tokens: int
    trained: int  # tokens
    checkpointing: str


class RunForecast(Forecast):
    """A forecast for a run, and what the run measured."""

    run: str
    measured: dict[str, Measurement]  # by phase
    residual: dict[str, float]  # phase -> measured tensors / forecast - 1


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
    device = replace(gpus.local_device(), dtype=setup.dtype) if is_local else None  # the recipe may set the dtype
    result = forecast(run.recipe.model, gpu or device, setup)
    config = load_config(run.recipe.model)
    formulas, key = trace_cache.load_formulas(config, [setup]), calibration.machine_key(config, setup)
    name = run.folder.resolve().as_posix()
    if not gpu:  # without the measurement of this run itself
        factor = calibration.load_factor(key, gpus.local_device() if is_local else None, name)
        result = {**result, **break_down(formulas, setup, factor), "notes": result["notes"]}
    residual = {
        phase: measurement["allocated"] / _forecast_tensors(formulas, setup, measurement, phase) - 1
        for phase, measurement in measurements.items()
        if "allocated" in measurement
    }
    if is_local and "optimizer" in measurements:  # the measured step was completed
        calibration.save_run(name, key, peak_on_device(formulas, setup), _measured_peak(measurements, setup))
    return {**result, "run": str(run.folder), "measured": measurements, "residual": residual}


def _read_measurements(run_events: list[dict[str, Any]], run: Run) -> dict[str, Measurement]:
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


def _read_setup(run: Run, start: dict[str, Any], forward: Measurement) -> Setup:
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
        shares_keys=not is_cuda or gpus.local_device().capability >= gpus.NEW,
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
    return host == socket.gethostname() and gpus.local_device().type == setup.device
