"""Choose the dtype of a model on a CPU: bfloat16 or float32, whichever multiplies faster on this machine.

A processor's flag says that it has bfloat16 products, not that they are fast. We measured two AVX512-BF16 processors
without AMX: one ran bfloat16 at 86 GFLOP/s and float32 at 160, the other at 480 and 107. So both are timed, once for
each machine.
"""

import contextlib
import hashlib
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core import locks, storage
from etabli.core.errors import EtabliError

if TYPE_CHECKING:
    import torch

DTYPES = ("bfloat16", "float32")
MARGIN = 1.15  # the flag's dtype is used unless the other one is this many times as fast: load makes timings differ
ROUNDS, LONGEST = 5, 0.5  # rounds for each dtype; seconds after which no new round begins
WIDEST_SMALL = 1024  # largest hidden size of a model that is timed with the small shape
# Tokens, hidden size and intermediate size of the timed layer: the embedded model's, and one for all larger models.
SHAPES = {"small": (256, 576, 1536), "large": (64, 2048, 2048)}
FILE = "cpu_dtype.json"
PATIENCE = 10.0  # seconds to wait for another process that is timing

Seconds = dict[str, float]  # by dtype


def choose(hidden_size: int, threads: int, cache: Path) -> str:
    """Return the dtype for a model of this hidden size on this many threads. ``cache``: folder of the timings."""
    return faster(by_flags(cpu_flags()), seconds(hidden_size, threads, cache))


def faster(default: str, times: Seconds) -> str:
    """Return the default, or the other dtype if it is more than ``MARGIN`` times as fast."""
    alternative = next(name for name in DTYPES if name != default)
    return alternative if times and times[default] > MARGIN * times[alternative] else default


def by_flags(flags: set[str]) -> str:
    """Return the dtype that the processor's flags suggest."""
    return "bfloat16" if {"avx512_bf16", "amx_bf16"} & flags else "float32"


def cpu_flags() -> set[str]:
    """Return the processor's flags; an empty set where the system does not name them."""
    return set(_cpu_facts().get("flags", "").split())


def seconds(hidden_size: int, threads: int, cache: Path) -> Seconds:
    """Return the seconds that one layer takes in each dtype. They are measured once, then read from the cache.

    The result is empty where the cache can't be written: several processes of one run could measure different times and
    choose different dtypes.
    """
    import torch

    size = "small" if hidden_size <= WIDEST_SMALL else "large"
    key = f"{machine()}, torch {torch.__version__}, {size}, {threads} threads"
    file = cache / FILE
    if times := _read_timings(file).get(key):
        return times
    with contextlib.suppress(OSError, EtabliError):
        cache.mkdir(parents=True, exist_ok=True)
        with locks.lock_file(file.with_suffix(".lock"), str(file), PATIENCE):
            timings = _read_timings(file)
            if key not in timings:  # else another process has measured it meanwhile
                timings[key] = time_products(SHAPES[size], threads)
                storage.write_json(file, timings)
            return timings[key]
    return {}


def _read_timings(file: Path) -> dict[str, Seconds]:
    """Return the saved timings. Damaged ones are left out, so that they are measured again."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: times for key, times in content.items() if _are_seconds(times)} if isinstance(content, dict) else {}


def _are_seconds(times: object) -> bool:
    values = [times.get(name) for name in DTYPES] if isinstance(times, dict) else [None]
    return all(isinstance(value, float) and value > 0 for value in values)


def time_products(shape: tuple[int, int, int], threads: int) -> Seconds:
    """Time a layer's products, forward and back, in each dtype. The random state is unchanged."""
    import torch

    previous_threads = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return median_seconds({name: _product(shape, getattr(torch, name)) for name in DTYPES})
    finally:
        torch.set_num_threads(previous_threads)


def _product(shape: tuple[int, int, int], dtype: "torch.dtype") -> Callable[[], object]:
    import torch

    tokens, hidden_size, intermediate_size = shape
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(tokens, hidden_size, generator=generator).to(dtype)
    weight = torch.randn(intermediate_size, hidden_size, generator=generator).to(dtype)
    return lambda: (rows @ weight.T) @ weight


def median_seconds(
    products: dict[str, Callable[[], object]], clock: Callable[[], float] = time.perf_counter
) -> Seconds:
    """Return the median time of each product. The products take turns, so that both run under the same load."""
    for product in products.values():
        product()  # the first product may compile code
    times: dict[str, list[float]] = {name: [] for name in products}
    start = clock()
    while len(times[DTYPES[0]]) < ROUNDS and (not times[DTYPES[0]] or clock() - start < LONGEST):
        for name, product in products.items():
            product_start = clock()
            product()
            times[name].append(clock() - product_start)
    return {name: sorted(series)[len(series) // 2] for name, series in times.items()}


def machine() -> str:
    """Return a short hash of the kind of processor: machines may share the home folder that holds the cache."""
    names = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "CPU part", "Features")
    cpu_facts = _cpu_facts()
    facts = [cpu_facts.get(name, "") for name in names]
    if not any(facts):
        facts = [platform.machine(), platform.processor(), platform.node()]
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:16]


def _cpu_facts() -> dict[str, str]:
    """Return the system's facts about the first processor, by name."""
    try:
        block = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in block.splitlines())}
