"""Traces of a model: made in a process of their own, kept in the cache, and turned into formulas.

    echo '{"config": {...}, "setups": [{...}, ...]}' | python -m etabli.memory.trace_cache

answers with the traces. They have a process of their own, because ``fake_model`` replaces parts of the libraries.
"""

import contextlib
import functools
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NotRequired, TypedDict, cast

from etabli.core import machine, parsing, processes, storage
from etabli.core.contracts import MemorySetup
from etabli.core.errors import BadInput, NoSpace
from etabli.memory.config import ROUND, ModelConfig, Setup
from etabli.memory.formula import KEPT_ROW, Formulas, MemoryFormula, Phases
from etabli.training import tensor_counter
from etabli.training.tensor_counter import Parts

ANCHOR_LENGTHS = [ROUND * prime for prime in (17, 19, 23, 29, 31, 37, 41, 43)]
ANCHOR_RANKS = (13, 11, 17, 19, 23, 29, 31, 37)


class _Request(TypedDict):
    config: ModelConfig
    setups: list[MemorySetup]
    layers: NotRequired[list[int]]  # by default those of ``trace.layers_to_trace``


class _Response(TypedDict, total=False):
    layers: list[int]
    vocabulary: int
    traced: Sequence[Sequence[Phases]]
    error: str


class Trace(TypedDict):
    """The trace of one setup: a file of the cache."""

    layers: list[int]  # the two numbers of layers that were traced, and those of the whole model
    vocabulary: int
    traced: Sequence[Phases]  # for both numbers of layers


def load_formulas(config: ModelConfig, setups: list[Setup]) -> Formulas:
    """Return the memory of a model as a formula for each setup, by loss; the setups differ only in their loss.

    Args:
        config: a ``config.json``.
        setups: without ``auto``.

    Raises:
        BadInput: the architecture can't be built or traced.
    """
    anchors = [anchor_setup(config, setup) for setup in setups]
    ends = ("none", "all")
    traces = iter(_load_traces(config, [replace(anchor, checkpointing=end) for anchor in anchors for end in ends]))
    return {anchor.loss: _build_formula(anchor, next(traces), next(traces)) for anchor in anchors}


def anchor_setup(config: ModelConfig, setup: Setup) -> Setup:
    """Return the setup that is traced for all setups of its kind.

    Its number of tokens and its rank are no size of the model and no divisor of one: by these two numbers the trace can
    tell which tensors grow with the tokens and which with the rank.
    """
    sizes = set(_whole_numbers(config))
    sizes |= {first * second for first in sizes for second in sizes if first * second < 10**6}
    tokens = next((length for length in ANCHOR_LENGTHS if all(size % length for size in sizes)), ANCHOR_LENGTHS[0])
    rank = next((rank for rank in ANCHOR_RANKS if rank not in sizes), ANCHOR_RANKS[0])
    is_short = setup.device == "cpu" and setup.seq <= KEPT_ROW  # a CPU keeps the attention weights of short rows
    rows = tokens // ROUND if is_short else 1
    return replace(setup, seq=tokens // rows, batch=rows, rank=rank, trained=1.0)


def _whole_numbers(config: object) -> Iterator[int]:
    """Every whole number above 1 in a configuration."""
    if isinstance(config, dict | list):
        for value in config.values() if isinstance(config, dict) else config:
            yield from _whole_numbers(value)
    elif isinstance(config, int) and config > 1:
        yield config


def trace_itself(config: ModelConfig, setup: Setup) -> dict[str, Parts]:
    """Return the peaks of a setup from its own trace, with none or all layers checkpointed: to test the formula."""
    (trace,) = _load_traces(config, [setup])
    return _build_formula(setup, trace, trace).phases(setup)


def _build_formula(anchor: Setup, none_trace: Trace, all_trace: Trace) -> MemoryFormula:
    first, second, layers = none_trace["layers"]
    ends = {
        "none": (none_trace["traced"][0], none_trace["traced"][1]),
        "all": (all_trace["traced"][0], all_trace["traced"][1]),
    }
    return MemoryFormula(anchor, none_trace["vocabulary"], layers, (first, second), ends)


def _load_traces(config: ModelConfig, setups: list[Setup]) -> list[Trace]:
    """The traces of the setups, from the cache or made now."""
    files = {setup: _cache_file(config, setup) for setup in setups}
    traces = {setup: trace for setup, file in files.items() if (trace := _read_trace(file))}
    missing = [setup for setup in files if setup not in traces]
    if missing:
        for setup, trace in zip(missing, _make_traces(config, missing)):
            traces[setup] = trace
            with contextlib.suppress(OSError, NoSpace):  # it is only a cache
                storage.write_json(files[setup], trace)
    return [traces[setup] for setup in setups]


def _make_traces(config: ModelConfig, setups: list[Setup]) -> list[Trace]:
    request = json.dumps({"config": config, "setups": [setup.to_dict() for setup in setups]}, default=str) + "\n"
    with contextlib.ExitStack() as stack:
        worker = _workers[-1] if _workers else stack.enter_context(shared_worker())
        response = _request(worker, request)
    if "error" in response:
        cause = response["error"][:500]
        raise BadInput(f"A step of this model ({config.get('model_type')}) can't be traced: {cause}")
    layers, vocabulary = response["layers"], response["vocabulary"]
    return [{"layers": layers, "vocabulary": vocabulary, "traced": phases} for phases in response["traced"]]


_workers: list[subprocess.Popen[str]] = []


@contextlib.contextmanager
def shared_worker() -> Iterator[subprocess.Popen[str]]:
    """Use one process for all traces inside: its imports take longer than a trace."""
    process = subprocess.Popen(
        [sys.executable, "-m", "etabli.memory.trace_cache"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=processes.child_environment(CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1"),  # it computes nothing
    )
    _workers.append(process)
    try:
        yield process
        if process.stdin:
            process.stdin.close()
        process.wait()
    finally:
        _workers.remove(process)
        process.kill()  # after an interrupt; it does nothing to a process that has ended
        with contextlib.suppress(OSError), process:  # closes the pipes and waits
            pass


def _request(process: subprocess.Popen[str], request: str) -> _Response:
    """Send a request to the worker; its response, or ``error``."""
    try:
        if process.stdin is None or process.stdout is None:
            raise OSError("the process has no pipes")
        process.stdin.write(request)
        process.stdin.flush()
        return cast(_Response, json.loads(process.stdout.readline()))
    except (OSError, ValueError):
        return {"error": f"its process ended ({process.poll()}). Is there enough memory?"}


def _cache_file(config: ModelConfig, setup: Setup) -> Path:
    key = json.dumps([config, setup.to_dict(), machine.versions(), _code_hash()], sort_keys=True, default=str)
    return machine.cache_folder() / "memory" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


@functools.cache
def _code_hash() -> str:
    """The hash of this project's code that is traced or counts: a trace is valid for this code alone."""
    import etabli.training

    folders = [Path(__file__).parent, Path(etabli.training.__file__).parent]
    files = [Path(tensor_counter.__file__), *(file for folder in folders for file in sorted(folder.glob("*.py")))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _read_trace(file: Path) -> Trace | None:
    try:
        trace = parsing.read_json(file)
        is_complete = len(trace["layers"]) == 3 and len(trace["traced"]) == 2 and trace["vocabulary"]
        return cast(Trace, trace) if is_complete else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def main() -> None:
    """Answer one JSON request a line, until the input ends: each setup traced on two numbers of layers."""
    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):
            response = _respond(json.loads(line))
        print(json.dumps(response), flush=True)


def _respond(request: _Request) -> _Response:
    try:
        from etabli.memory import fake_model, trace

        config = fake_model.build_config(request["config"])
        few = request.get("layers") or trace.layers_to_trace(config)
        traces = [[trace.trace_setup(request["config"], setup, count) for count in few] for setup in request["setups"]]
        return {"layers": [*few, config.num_hidden_layers], "vocabulary": config.vocab_size, "traced": traces}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    main()
