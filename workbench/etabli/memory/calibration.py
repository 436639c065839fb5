"""What runs took on this machine, compared with their forecasts. The next forecast is multiplied by the ratio."""

import hashlib
import json
import statistics
import time
from pathlib import Path
from typing import Any, TypedDict, TypeGuard

from etabli.core import machine, parsing, storage
from etabli.memory.config import Setup
from etabli.memory.gpus import Device

MAX_RUNS = 20  # of one kind; the newest are kept


class Calibration(TypedDict):
    """The median of measured / forecast bytes over so many runs."""

    factor: float
    runs: int


class MeasuredRun(TypedDict):
    """One entry of ``residuals.json`` in the cache; bytes on the device at the peak."""

    run: str
    machine: str  # see machine_key
    forecast: int
    measured: int
    t: float  # seconds since epoch


def load_factor(key: str, device: Device | None, excluded_run: str | None = None) -> Calibration:
    """Return the calibration for runs of this kind; factor 1 for every device but this machine's.

    Args:
        key: what the runs have in common, see ``machine_key``.
        excluded_run: a run to leave out: its own measurement is no forecast of it.
    """
    runs = read_runs(key) if device is not None and device.name == "here" else []
    ratios = [run["measured"] / run["forecast"] for run in runs if run["run"] != excluded_run]
    return {"factor": statistics.median(ratios) if ratios else 1.0, "runs": len(ratios)}


def read_runs(key: str) -> list[MeasuredRun]:
    """Return the measured runs of one kind, oldest first."""
    return [run for run in _read_all() if run["machine"] == key]


def save_run(name: str, key: str, forecast: int, measured: int) -> None:
    """Save the peak of a run on the device, in bytes; it replaces an earlier entry of the same run."""
    other_runs = [run for run in _read_all() if (run["run"], run["machine"]) != (name, key)]
    other_kinds = [run for run in other_runs if run["machine"] != key]
    same_kind = [run for run in other_runs if run["machine"] == key][-MAX_RUNS + 1 :]
    entry: MeasuredRun = {"run": name, "machine": key, "forecast": forecast, "measured": measured, "t": time.time()}
    storage.write_json(_file(), [*other_kinds, *same_kind, entry])


def machine_key(model_config: dict[str, Any], setup: Setup) -> str:
    """Return what comparable runs have in common: model, engine, device, and the version of torch."""
    import torch

    on_gpu = setup.device == "cuda" and torch.cuda.is_available()
    name = torch.cuda.get_device_name() if on_gpu else machine.processor()
    model = hashlib.sha256(json.dumps(model_config, sort_keys=True, default=str).encode()).hexdigest()[:12]
    return f"{model}, {setup.engine} on {setup.device} {name}, torch {torch.__version__}"


def _file() -> Path:
    return machine.cache_folder() / "memory" / "residuals.json"


def _read_all() -> list[MeasuredRun]:
    """All measured runs; entries with another format are left out."""
    try:
        entries = parsing.read_json(_file(), parsing.LARGEST_CONFIG)
    except (OSError, ValueError):
        return []
    return [entry for entry in entries if _is_measured_run(entry)] if isinstance(entries, list) else []


def _is_measured_run(entry: object) -> TypeGuard[MeasuredRun]:
    if not isinstance(entry, dict) or not {"run", "machine"} <= entry.keys():
        return False
    sizes = [entry.get("forecast"), entry.get("measured")]
    return all(isinstance(size, int) and size > 0 for size in sizes)
