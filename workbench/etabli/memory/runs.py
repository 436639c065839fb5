"""What a run took, beside what is forecast for it: phase by phase, and what is left over is kept for this machine."""

import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

from etabli.contracts import PROCESS
from etabli.errors import BadInput
from etabli.memory import cards, forecasts, reckoning, residuals, traces
from etabli.memory.closed_form import Forms
from etabli.memory.configs import config
from etabli.memory.setup import ROUND, Setup
from etabli.training import events
from etabli.training.run import Run


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
    setup = _setup(run, events.last(seen, "start"), events.of(seen, "retry"), took["forward"])
    if gpu:
        told = forecasts.forecast(run.recipe.model, gpu, setup)
    else:
        told = forecasts.forecast(run.recipe.model, "here" if _here(run, setup) else None, setup)
    forms = traces.closed_forms(config(run.recipe.model), [setup], both=True)
    told["phases"] |= {name: _of(forms, setup, took[name], name) for name in took if name in told["phases"]}
    left = {name: held["allocated"] / told["phases"][name] - 1 for name, held in took.items() if "allocated" in held}
    if _here(run, setup):
        residuals.keep(run.folder.resolve().as_posix(), setup, _alone(forms, setup), _device(took, setup))
    return told | {"run": str(run.folder), "measured": took, "residual": left}


def _took(seen: list[dict[str, Any]], run: Run) -> dict[str, dict[str, int]]:
    """The last measurement of each phase."""
    took = {event["phase"]: event for event in events.of(seen, "memory")}
    if not took.get("forward", {}).get("tokens"):
        raise BadInput(f"{run.folder} has measured no step yet: the rehearsal comes before step 1 (etabli runs).")
    names = ("allocated", "reserved", "resident", "rows", "tokens", "trained")
    return {phase: {name: event[name] for name in names if name in event} for phase, event in took.items()}


def _setup(run: Run, start: dict[str, Any], retries: list[dict[str, Any]], about: dict[str, int]) -> Setup:
    """What was rehearsed, as a setup."""
    recipe = run.recipe
    thrifty = any("computed again" in str(event.get("what", "")) for event in retries)
    wanted = "all" if thrifty else {"auto": "none"}.get(str(recipe.checkpointing), str(recipe.checkpointing))
    targets = recipe.lora.target_modules
    cuda = start.get("device", "cpu").startswith("cuda")
    setup = Setup(
        rank=recipe.lora.rank, lora=targets if isinstance(targets, str) else ",".join(targets),
        checkpointing=wanted, optimizer=recipe.optimizer, device="cuda" if cuda else "cpu",
        dtype=start.get("dtype", "bfloat16"), shares_keys=not cuda or cards.here().capability >= cards.NEW,
    )  # fmt: skip
    return _through(setup, about).settled()


def _through(setup: Setup, about: dict[str, int]) -> Setup:
    """A pack as rows of one length: as many tokens, in about as many rows."""
    tokens = -(-about["tokens"] // ROUND) * ROUND
    rows = min((count for count in range(1, tokens + 1) if tokens % count == 0), key=lambda n: abs(n - about["rows"]))
    return replace(setup, seq=tokens // rows, batch=rows, trained=max(about["trained"], 1) / tokens)


def _of(forms: Forms, setup: Setup, about: dict[str, int], phase: str) -> int:
    """A phase's forecast for what went through the model in that phase."""
    wanted = _through(setup, about) if about.get("tokens") else setup
    return reckoning.reckoned(forms, wanted)["phases"][phase]


def _alone(forms: Forms, setup: Setup) -> int:
    """What is forecast for the device by the trace alone."""
    return reckoning.reckoned(forms, setup)["peak"]["device"]


def _device(took: dict[str, dict[str, int]], setup: Setup) -> int:
    """The most that the device showed in a phase that is forecast."""
    steps = [held for name, held in took.items() if name != "load"]
    if setup.device == "cpu":
        return max(held["resident"] for held in steps)
    return max(held["reserved"] for held in steps) + reckoning.CONTEXT


def _here(run: Run, setup: Setup) -> bool:
    """Did it run on this machine, on what is here now?"""
    try:
        host = json.loads((run.folder / PROCESS).read_text(encoding="utf-8")).get("host")
    except (OSError, ValueError, AttributeError):
        return False
    return host == socket.gethostname() and cards.here().device == setup.device
