"""The devices that a run may use: GPUs by name, or this machine, with what earlier runs took here."""

import hashlib
import json
import re
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypedDict, TypeGuard

from etabli.core import machine, parsing, storage
from etabli.core.errors import BadInput
from etabli.memory.config import ModelConfig, Setup

MIB = 2**20


class GpuFacts(NamedTuple):
    """What is known of a GPU by name."""

    mib: int  # the total that nvidia-smi shows
    capability: float


GPUS = {
    "t4": GpuFacts(15360, 7.5),
    "l4": GpuFacts(23034, 8.9),
    "3060": GpuFacts(12288, 8.6),
    "4070": GpuFacts(12282, 8.9),
    "3090": GpuFacts(24576, 8.6),
    "4090": GpuFacts(24564, 8.9),
    "a100": GpuFacts(40960, 8.0),
    "a100-80": GpuFacts(81920, 8.0),
    "h100": GpuFacts(81559, 9.0),
    "2xt4": GpuFacts(15360, 7.5),  # a run uses one of the two
}
USABLE = 0.98  # the driver keeps about 2 % of the total: of a T4's 15.0 GiB, torch's messages show 14.7
NEW = 8.0  # from this capability on, GPUs compute in bfloat16 and fast attention kernels let heads share keys


@dataclass(frozen=True)
class Device:
    """Where a run trains: one GPU, or the processor of this machine."""

    name: str
    total: int  # bytes
    type: str = "cuda"  # cuda or cpu
    capability: float = NEW
    dtype: str = "bfloat16"


def find_device(name: str, hidden_size: int = 0) -> Device:
    """Return a GPU by name, one of so many GiB, or ``here``: this machine's GPU, or else its processor.

    Args:
        hidden_size: the width of the model, which decides the dtype on a processor.

    Raises:
        BadInput: the name is unknown.
    """
    key = re.sub(r"[\s_]+", "-", str(name).casefold().replace("rtx", "").replace("gib", "").replace("gb", "").strip())
    if key in GPUS:
        gpu = GPUS[key]
        dtype = "bfloat16" if gpu.capability >= NEW else "float16"
        return Device(key, round(gpu.mib * MIB * USABLE), capability=gpu.capability, dtype=dtype)
    if re.fullmatch(r"\d{1,6}(\.\d+)?", key) and float(key) > 0:
        return Device(key, round(float(key) * 2**30))
    if key == "here":
        return local_device(hidden_size)
    raise BadInput(f"Unknown GPU {name!r}; choose from {', '.join(GPUS)}, a number of GiB, or here.")


def local_device(hidden_size: int = 0) -> Device:
    """Return the device that a run on this machine uses."""
    import psutil
    import torch

    dtype = str(machine.compute_dtype(hidden_size=hidden_size)).removeprefix("torch.")
    if not torch.cuda.is_available():
        return Device("here", psutil.virtual_memory().total, "cpu", dtype=dtype)
    major, minor = torch.cuda.get_device_capability()
    return Device("here", torch.cuda.get_device_properties(0).total_memory, "cuda", major + minor / 10, dtype)


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


def machine_key(model_config: ModelConfig, setup: Setup) -> str:
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
