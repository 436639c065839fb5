"""Traces of a model, made in a process of their own and kept in the cache."""

import contextlib
import functools
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from etabli.core import machine, parsing, processes, storage
from etabli.core.errors import BadInput
from etabli.memory.config import ROUND, Setup
from etabli.memory.scaling import SHORT, ClosedForm, Forms
from etabli.training import tensor_counter
from etabli.training.tensor_counter import Parts

LENGTHS = [ROUND * prime for prime in (17, 19, 23, 29, 31, 37, 41, 43)]
RANKS = (13, 11, 17, 19, 23, 29, 31, 37)


def closed_forms(facts: dict[str, Any], setups: list[Setup]) -> Forms:
    """The memory of a model as a formula, for each of these settled setups, which differ in their loss.

    Args:
        facts: a ``config.json``.

    Raises:
        BadInput: an architecture that can't be built or traced.
    """
    anchors = [anchor(facts, setup) for setup in setups]
    said = iter(_traces(facts, [replace(one, checkpointing=end) for one in anchors for end in ("none", "all")]))
    return {one.loss: _form(one, [next(said), next(said)]) for one in anchors}


def anchor(facts: dict[str, Any], setup: Setup) -> Setup:
    """The setup that is traced for all of its kind: its length and rank are no size, or part of one, of the model.

    By those two numbers the trace tells what grows with what.
    """
    sizes = set(_sizes(facts))
    sizes |= {one * other for one in sizes for other in sizes if one * other < 10**6}
    tokens = next((size for size in LENGTHS if all(one % size for one in sizes)), LENGTHS[0])
    rank = next((rank for rank in RANKS if rank not in sizes), RANKS[0])
    # On a CPU rows up to SHORT tokens are attended to in another way.
    short = setup.device == "cpu" and setup.seq <= SHORT
    rows = tokens // ROUND if short else 1
    return replace(setup, seq=tokens // rows, batch=rows, rank=rank, trained=1.0)


def _sizes(facts: Any) -> Iterator[int]:
    """Every whole number in a configuration."""
    if isinstance(facts, dict | list):
        for held in facts.values() if isinstance(facts, dict) else facts:
            yield from _sizes(held)
    elif isinstance(facts, int) and facts > 1:
        yield facts


def itself(facts: dict[str, Any], setup: Setup) -> dict[str, Parts]:
    """A settled setup traced as it is, on none or all of its layers checkpointed: what a formula is held against."""
    (said,) = _traces(facts, [setup])
    return _form(setup, [said, said]).phases(setup)


def _form(setup: Setup, said: list[dict[str, Any]]) -> ClosedForm:
    *few, layers = said[0]["layers"]
    traced = dict(zip(("none", "all"), (tuple(one["traced"]) for one in said)))
    return ClosedForm(setup, said[0]["vocabulary"], layers, tuple(few), traced)


def _traces(facts: dict[str, Any], setups: list[Setup]) -> list[dict[str, Any]]:
    """``{"layers", "vocabulary", "traced"}`` for each setup."""
    places = {setup: _place(facts, setup) for setup in setups}
    known = {setup: _read(place) for setup, place in places.items()}
    missing = [setup for setup, held in known.items() if held is None]
    for setup, made in zip(missing, _trace(facts, missing)) if missing else ():
        known[setup] = made
        with contextlib.suppress(OSError, storage.NoSpace):  # a cache
            storage.write_json(places[setup], made)
    return [known[setup] for setup in setups]


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
        env=processes.child_environment(CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1"),  # nothing is computed
    )  # fmt: skip
    _kept.append(process)
    try:
        yield process
        process.stdin.close()
        process.wait()
    finally:
        _kept.remove(process)
        process.kill()  # if it was interrupted; one that has ended is left alone
        process.wait()


def _asked(process: subprocess.Popen, request: str) -> dict[str, Any]:
    try:
        process.stdin.write(request)
        process.stdin.flush()
        return json.loads(process.stdout.readline())
    except (OSError, ValueError):
        return {"error": f"its process ended ({process.poll()}); is there enough memory?"}


def _place(facts: dict[str, Any], setup: Setup) -> Path:
    known = json.dumps([facts, setup.keys(), machine.versions(), _code()], sort_keys=True, default=str)
    return machine.cache_folder() / "memory" / f"{hashlib.sha256(known.encode()).hexdigest()[:24]}.json"


@functools.cache
def _code() -> str:
    """What is traced, and how it is counted, is this project's own code too."""
    import etabli.training

    homes = [Path(__file__).parent, Path(etabli.training.__file__).parent]
    files = [Path(tensor_counter.__file__), *(file for home in homes for file in sorted(home.glob("*.py")))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _read(place: Path) -> dict[str, Any] | None:
    try:
        held = parsing.read_json(place)
        return held if len(held["layers"]) == 3 and len(held["traced"]) == 2 and held["vocabulary"] else None
    except (OSError, ValueError, TypeError, KeyError):
        return None
