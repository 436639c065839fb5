"""What a run took, beside what is forecast for it: phase by phase, and what is left over is kept for this machine."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

from etabli.core import parsing
from etabli.core.contracts import PROCESS
from etabli.core.errors import BadInput
from etabli.memory import calibration, device_overhead, forecasting, gpus, trace_cache
from etabli.memory.config import ROUND, Setup
from etabli.memory.model_configs import config
from etabli.memory.scaling import Forms
from etabli.runs import events
from etabli.runs.run import Run

PHASES = ("load", "forward", "backward", "optimizer", "evaluation")


def of_run(run: Run | str | Path, gpu: str | None = None) -> dict[str, Any]:
    """A forecast for what a run rehearsed, its own measurements beside it, and the residual of each phase.

    A run of this machine is remembered: later forecasts for ``here`` are multiplied by what such runs took.

    Args:
        gpu: put the forecast on that card, for ``fits`` and ``advice``; by default where the run was.

    Returns:
        What ``forecast`` returns, and ``run``, ``measured`` (phase: allocated, reserved, resident, in bytes) and
        ``residual`` (phase: measured tensors / forecast - 1).

    Raises:
        BadInput: the run has not rehearsed yet, or was written before runs did.
    """
    run = Run.attach(run)
    seen = run.events()
    took = _took(seen, run)
    setup = _setup(run, events.last(seen, "start"), took["forward"])
    own = _here(run, setup)
    here = replace(gpus.here(), dtype=setup.dtype) if own else None  # a recipe may name another dtype than the fastest
    told = forecasting.forecast(run.recipe.model, gpu or here, setup)
    forms, machine = _forms(run, setup)
    name = run.folder.resolve().as_posix()
    alone = device_overhead.reckoned(forms, setup, calibration.known(machine, gpus.here() if own else None, name))
    if not gpu:
        told |= {key: alone[key] for key in ("peak", "phases", "parts", "device", "components", "recalibrated")}
    left = {
        phase: held["allocated"] / _phase(forms, setup, held, phase) - 1
        for phase, held in took.items()
        if "allocated" in held
    }
    if own and "optimizer" in took:  # a rehearsal that went through
        calibration.keep(name, machine, device_overhead.peak_on_device(forms, setup), _device(took, setup))
    return told | {"run": str(run.folder), "measured": took, "residual": left}


def _forms(run: Run, setup: Setup) -> tuple[Forms, str]:
    facts = config(run.recipe.model)
    return trace_cache.closed_forms(facts, [setup]), calibration.machine(facts, setup)


def _took(seen: list[dict[str, Any]], run: Run) -> dict[str, dict[str, int]]:
    """The last measurement of each phase."""
    took = {event.get("phase"): event for event in events.of(seen, "memory") if event.get("phase") in PHASES}
    if not all(isinstance(took.get("forward", {}).get(name), int) for name in ("rows", "tokens", "trained")):
        raise BadInput(f"{run.folder} has measured no step yet: the rehearsal comes before step 1 (etabli runs).")
    names = ("allocated", "reserved", "resident", "rows", "tokens", "trained", "checkpointing")
    return {phase: {name: event[name] for name in names if name in event} for phase, event in took.items()}


def _setup(run: Run, start: dict[str, Any], about: dict[str, Any]) -> Setup:
    """What was rehearsed, as a setup."""
    recipe = run.recipe
    targets = recipe.lora.target_modules
    cuda = start.get("device", "cpu").startswith("cuda")
    setup = Setup(
        rank=recipe.lora.rank, lora=targets if isinstance(targets, str) else ",".join(targets),
        checkpointing=about.get("checkpointing", "none"), optimizer=recipe.optimizer, device="cuda" if cuda else "cpu",
        dtype=start.get("dtype", "bfloat16"), shares_keys=not cuda or gpus.here().capability >= gpus.NEW,
    )  # fmt: skip
    return _through(setup, about).settled()


def _through(setup: Setup, about: dict[str, int]) -> Setup:
    """A pack as rows of one length: as many tokens, in about as many rows."""
    tokens = -(-about["tokens"] // ROUND) * ROUND
    rows = min((count for count in range(1, tokens + 1) if tokens % count == 0), key=lambda n: abs(n - about["rows"]))
    return replace(setup, seq=tokens // rows, batch=rows, trained=max(about["trained"], 1) / tokens)


def _phase(forms: Forms, setup: Setup, about: dict[str, int], phase: str) -> int:
    """A phase's forecast for what went through the model in that phase: an evaluation's longest batch is another."""
    wanted = _through(setup, about) if about.get("tokens") else setup
    return device_overhead.reckoned(forms, wanted)["phases"][phase]


def _device(took: dict[str, dict[str, int]], setup: Setup) -> int:
    """The most that the device showed in a phase that is forecast."""
    steps = [held for name, held in took.items() if name != "load"]
    if setup.device == "cpu":
        return max(held.get("resident", 0) for held in steps)
    return max(held.get("reserved", 0) for held in steps) + device_overhead.CONTEXT


def _here(run: Run, setup: Setup) -> bool:
    """Did it run on this machine, on what is here now?"""
    try:
        host = parsing.read_json(run.folder / PROCESS, parsing.LARGEST_CONFIG).get("host")
    except (OSError, ValueError, AttributeError):
        return False
    return host == socket.gethostname() and gpus.here().device == setup.device
