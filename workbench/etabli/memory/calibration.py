"""What runs of a model took on this machine, beside what was forecast: the next forecast is multiplied by that."""

import hashlib
import json
import statistics
import time
from typing import Any

from etabli.core import machine as environment
from etabli.core import parsing, storage
from etabli.memory.config import Setup
from etabli.memory.gpus import Card

MOST = 20  # of the newest runs


def known(machine: str, place: Card | None, but: str | None = None) -> dict[str, Any]:
    """``factor``, the median of measured / forecast over ``runs`` runs; 1 for any place but this machine.

    Args:
        but: a run that is left out: what it took itself is no forecast of it.
    """
    held = of_machine(machine) if place is not None and place.name == "here" else []
    ratios = [item["measured"] / item["forecast"] for item in held if item["run"] != but]
    return {"factor": statistics.median(ratios) if ratios else 1.0, "runs": len(ratios)}


def of_machine(machine: str) -> list[dict[str, Any]]:
    """What is known of runs of this kind."""
    return [item for item in _read() if item["machine"] == machine]


def keep(run: str, machine: str, forecast: int, measured: int) -> None:
    """Remember a run's peak on the device, in bytes; a run is kept once."""
    others = [item for item in _read() if (item["run"], item["machine"]) != (run, machine)]
    mine = {"run": run, "machine": machine, "forecast": forecast, "measured": measured, "t": time.time()}
    alike = [item for item in others if item["machine"] == machine][-MOST + 1 :]
    storage.write_json(_place(), [*(item for item in others if item["machine"] != machine), *alike, mine])


def machine(facts: dict[str, Any], setup: Setup) -> str:
    """What runs have to share to say anything of each other: model, engine, device, and the library that allocates."""
    import torch

    on_gpu = setup.device == "cuda" and torch.cuda.is_available()
    name = torch.cuda.get_device_name() if on_gpu else environment.processor()
    model = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:12]
    return f"{model}, {setup.engine} on {setup.device} {name}, torch {torch.__version__}"


def _place():
    return environment.cache_folder() / "memory" / "residuals.json"


def _read() -> list[dict[str, Any]]:
    """What is kept; what is not ours is left out."""
    try:
        held = parsing.read_json(_place(), parsing.LARGEST_CONFIG)
    except (OSError, ValueError):
        return []
    return [item for item in held if _ours(item)] if isinstance(held, list) else []


def _ours(item: Any) -> bool:
    if not isinstance(item, dict) or not {"run", "machine"} <= item.keys():
        return False
    sizes = [item.get("forecast"), item.get("measured")]
    return all(isinstance(size, int) and size > 0 for size in sizes)
