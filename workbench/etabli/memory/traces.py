"""Traces of a model, made in a process of their own and kept in the cache."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from etabli import environment, storage
from etabli.errors import BadInput
from etabli.memory.closed_form import ClosedForm, Forms
from etabli.memory.setup import Setup


def closed_forms(facts: dict[str, Any], setups: list[Setup], both: bool = True) -> Forms:
    """The memory of a model as a formula, exact at each of these settled setups, which differ in their loss.

    Args:
        facts: a ``config.json``. both: also for other numbers of layers checkpointed than the setups'.

    Raises:
        BadInput: an architecture that can't be built or traced.
    """
    wanted = {setup: _ends(setup, both) for setup in setups}
    said = iter(_traces(facts, [end for ends in wanted.values() for end in ends]))
    return {setup.loss: _form(setup, ends, [next(said) for _ in ends]) for setup, ends in wanted.items()}


def _ends(setup: Setup, both: bool) -> list[Setup]:
    """What has to be traced: with checkpointing on no layer, on all of them, or both."""
    one = not both and setup.checkpointing in ("none", "all")
    return [setup] if one else [replace(setup, checkpointing=end) for end in ("none", "all")]


def _form(setup: Setup, ends: list[Setup], said: list[dict[str, Any]]) -> ClosedForm:
    *few, layers = said[0]["layers"]
    traced = {end.checkpointing: tuple(one["traced"]) for end, one in zip(ends, said)}
    return ClosedForm(setup, said[0]["vocabulary"], layers, tuple(few), traced)


def _traces(facts: dict[str, Any], setups: list[Setup]) -> list[dict[str, Any]]:
    """``{"layers", "vocabulary", "traced"}`` for each setup."""
    places = {setup: _place(facts, setup) for setup in setups}
    missing = [setup for setup in setups if _read(places[setup]) is None]
    for setup, made in zip(missing, _trace(facts, missing)) if missing else ():
        storage.write_json(places[setup], made)
    return [_read(places[setup]) for setup in setups]


def _trace(facts: dict[str, Any], setups: list[Setup]) -> list[dict[str, Any]]:
    request = json.dumps({"config": facts, "setups": [setup.keys() for setup in setups]}, default=str) + "\n"
    if _kept:
        said = _asked(_kept[-1], request)
    else:
        with kept() as process:
            said = _asked(process, request)
    if "error" in said:
        raise BadInput(f"A step of this model ({facts.get('model_type')}) can't be traced: {said['error'][:500]}")
    return [{**said, "traced": one} for one in said["traced"]]


_kept: list[subprocess.Popen] = []


@contextlib.contextmanager
def kept() -> Iterator[subprocess.Popen]:
    """One process for all traces inside: to import what is traced takes longer than to trace it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "etabli.memory.trace"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},  # nothing is computed
    )  # fmt: skip
    _kept.append(process)
    try:
        yield process
    finally:
        _kept.remove(process)
        process.communicate()


def _asked(process: subprocess.Popen, request: str) -> dict[str, Any]:
    try:
        process.stdin.write(request)
        process.stdin.flush()
        line = process.stdout.readline()
    except OSError:
        line = ""
    return json.loads(line) if line else {"error": f"its process ended ({process.wait()}); is there enough memory?"}


def _place(facts: dict[str, Any], setup: Setup) -> Path:
    known = json.dumps([facts, setup.keys(), environment.versions(), _code()], sort_keys=True, default=str)
    return environment.cache_folder() / "memory" / f"{hashlib.sha256(known.encode()).hexdigest()[:24]}.json"


def _code() -> str:
    """What is traced is this project's own code too."""
    import etabli.training

    homes = [Path(__file__).parent, Path(etabli.training.__file__).parent]
    return hashlib.sha256(
        b"".join(file.read_bytes() for home in homes for file in sorted(home.glob("*.py")))
    ).hexdigest()


def _read(place: Path) -> dict[str, Any] | None:
    try:
        return json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
