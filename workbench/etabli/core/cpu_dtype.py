"""Which dtype a model computes in on a CPU: bfloat16 or float32, whichever multiplies faster here.

A processor's flag says that it has bfloat16 products, not that they are fast: of two AVX512-BF16 processors without AMX
one ran them at 86 GFLOP/s and float32 at 160, the other at 480 and 107. So both are timed, once a machine.
"""

import contextlib
import hashlib
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etabli.core import storage
from etabli.core.errors import EtabliError

DTYPES = ("bfloat16", "float32")
MARGIN = 1.15  # the flag's choice stands unless the other is so many times as fast: load makes timings differ
ROUNDS, LONGEST = 5, 0.5  # of each dtype; seconds after which no other round begins
WIDEST_SMALL = 1024  # hidden size up to which a model is timed as a small one
# Tokens, hidden and intermediate size of what is timed: the embedded model's, and one that stands for all larger ones.
SHAPES = {"small": (256, 576, 1536), "large": (64, 2048, 2048)}
FILE = "cpu_dtype.json"
PATIENCE = 10.0  # seconds to wait for another process that is timing

Seconds = dict[str, float]  # by dtype


def choose(hidden_size: int, threads: int, cache: Path) -> str:
    """Return the dtype to compute in, for a model of this width on so many threads."""
    return faster(by_flags(cpu_flags()), seconds(hidden_size, threads, cache))


def faster(default: str, times: Seconds) -> str:
    """Return the default, or the other dtype where it is faster by more than ``MARGIN``; no times: the default."""
    other = next(name for name in DTYPES if name != default)
    return other if times and times[default] > MARGIN * times[other] else default


def by_flags(flags: set[str]) -> str:
    """Return the dtype that the processor's flags speak for."""
    return "bfloat16" if {"avx512_bf16", "amx_bf16"} & flags else "float32"


def cpu_flags() -> set[str]:
    """Return the processor's flags; none where the system does not tell."""
    return set(_cpu_facts().get("flags", "").split())


def seconds(hidden_size: int, threads: int, cache: Path) -> Seconds:
    """Return how long each dtype takes for one layer: timed the first time, then read from the cache.

    Empty where the cache can't be written: then several processes of one run could time differently, and disagree.
    """
    import torch

    size = "small" if hidden_size <= WIDEST_SMALL else "large"
    key = f"{machine()}, torch {torch.__version__}, {size}, {threads} threads"
    file = cache / FILE
    if times := _read(file).get(key):
        return times
    with contextlib.suppress(OSError, EtabliError):
        cache.mkdir(parents=True, exist_ok=True)
        with storage.lock_file(file.with_suffix(".lock"), str(file), PATIENCE):
            known = _read(file)
            if key not in known:  # else another process has timed meanwhile
                known[key] = time_products(SHAPES[size], threads)
                storage.write_json(file, known)
            return known[key]
    return {}


def _read(file: Path) -> dict[str, Seconds]:
    """What was timed before; what is damaged is timed again."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: times for key, times in known.items() if _are_seconds(times)} if isinstance(known, dict) else {}


def _are_seconds(times: Any) -> bool:
    values = [times.get(name) for name in DTYPES] if isinstance(times, dict) else [None]
    return all(isinstance(value, float) and value > 0 for value in values)


def time_products(shape: tuple[int, int, int], threads: int) -> Seconds:
    """Time a layer's products, forward and back, in each dtype. The random state is unchanged."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return median_seconds({name: _product(shape, getattr(torch, name)) for name in DTYPES})
    finally:
        torch.set_num_threads(before)


def _product(shape: tuple[int, int, int], dtype: Any) -> Callable[[], Any]:
    import torch

    tokens, hidden, wide = shape
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(tokens, hidden, generator=generator).to(dtype)
    weight = torch.randn(wide, hidden, generator=generator).to(dtype)
    return lambda: (rows @ weight.T) @ weight


def median_seconds(products: dict[str, Callable[[], Any]], clock: Callable[[], float] = time.perf_counter) -> Seconds:
    """Return the median time of each product. They take turns, so that both meet the same load."""
    for product in products.values():
        product()  # the first of a kind may compile
    taken: dict[str, list[float]] = {name: [] for name in products}
    began = clock()
    while len(taken[DTYPES[0]]) < ROUNDS and (not taken[DTYPES[0]] or clock() - began < LONGEST):
        for name, product in products.items():
            started = clock()
            product()
            taken[name].append(clock() - started)
    return {name: sorted(times)[len(times) // 2] for name, times in taken.items()}


def machine() -> str:
    """Return a short hash that tells kinds of processors apart: a cache may lie in a home that machines share."""
    kept = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "CPU part", "Features")
    facts = _cpu_facts()
    known = [facts.get(name, "") for name in kept]
    said = known if any(known) else [platform.machine(), platform.processor(), platform.node()]
    return hashlib.sha256("\0".join(said).encode()).hexdigest()[:16]


def _cpu_facts() -> dict[str, str]:
    """What the system says of the first processor, by name."""
    try:
        block = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in block.splitlines())}
