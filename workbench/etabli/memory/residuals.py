"""What runs on this machine took, beside what was forecast for them: the next forecast for it is multiplied by that."""

import json
import statistics
import time
from typing import Any

from etabli import environment, storage
from etabli.memory.cards import Card
from etabli.memory.setup import Setup

MOST = 20  # of the newest runs


def known(setup: Setup, place: Card | None) -> dict[str, Any]:
    """``factor``, the median of measured / forecast over ``runs`` runs; 1 for any machine but this one."""
    held = of_machine(setup) if place is not None and place.name == "here" else []
    return {
        "factor": statistics.median(item["measured"] / item["forecast"] for item in held) if held else 1.0,
        "runs": len(held),
    }


def of_machine(setup: Setup) -> list[dict[str, Any]]:
    """What is known of runs of this kind here."""
    return [item for item in _read() if item["machine"] == machine(setup)]


def keep(run: str, setup: Setup, forecast: int, measured: int) -> None:
    """Remember a run's peak on the device, in bytes; a run is kept once."""
    kind = machine(setup)
    others = [item for item in _read() if (item["run"], item["machine"]) != (run, kind)]
    mine = {"run": run, "machine": kind, "forecast": forecast, "measured": measured, "t": time.time()}
    alike = [item for item in others if item["machine"] == kind][-MOST + 1 :]
    storage.write_json(_place(), [*(item for item in others if item["machine"] != kind), *alike, mine])


def machine(setup: Setup) -> str:
    """What runs have to share to say anything of each other: engine, device, and the libraries that allocate."""
    import torch

    name = (
        torch.cuda.get_device_name()
        if setup.device == "cuda" and torch.cuda.is_available()
        else environment.processor()
    )
    return f"{setup.engine} on {setup.device} {name}, torch {torch.__version__}"


def _place():
    return environment.cache_folder() / "memory" / "residuals.json"


def _read() -> list[dict[str, Any]]:
    try:
        held = json.loads(_place().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return held if isinstance(held, list) else []
