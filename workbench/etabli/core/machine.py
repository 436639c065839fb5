"""Facts about the machine: service, device, dtype, threads, memory, cache folder, Hub. No other module asks for them.

It imports torch inside the functions that need it, so that ``import etabli`` stays cheap.
"""

import contextlib
import os
import socket
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from etabli.core import cpu_dtype, terminal
from etabli.core.errors import BadInput

if TYPE_CHECKING:
    import torch

HUB_PROBE_SECONDS = 2.0
SPIN = "20000"  # some tens of microseconds
CGROUPS = Path("/sys/fs/cgroup")  # Linux: a container's limits


@cache
def settle_threads() -> None:
    """Choose how OpenMP pools wait for work. Call it before torch and bitsandbytes are imported.

    Each of the two brings a pool of threads. Threads that spin while they wait are twice as fast on an idle machine,
    because a step has thousands of short operations; beside one busy process they are four times slower (docs/log.md).
    So threads spin for a short time if the cores are idle now, and sleep otherwise. Variables that are already set in
    the environment stay: a notebook's child processes then do as the notebook does.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if "GOMP_SPINCOUNT" not in os.environ and cores_idle():
        os.environ["GOMP_SPINCOUNT"] = SPIN
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def cores_idle() -> bool:
    """Return whether only this process computes, from three looks in 20 ms; False where the system does not tell."""
    busiest = 0
    for pause in (0.0, 0.01, 0.01):
        time.sleep(pause)
        try:
            busiest = max(busiest, int(Path("/proc/loadavg").read_text().split()[3].split("/")[0]))
        except (OSError, ValueError, IndexError):
            return False
    return busiest <= 1


def detect_platform() -> str:
    """Return where Python runs: ``colab``, ``kaggle``, ``notebook`` or ``shell``."""
    if "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ:
        return "colab"
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return "kaggle"
    return "notebook" if terminal.in_notebook() else "shell"


def device() -> str:
    """Return ``cuda`` if torch can use a GPU, else ``cpu``."""
    settle_threads()
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def compute_dtype(name: str = "auto", hidden_size: int = 0, threads_used: int | None = None) -> "torch.dtype":
    """Return the dtype to compute in: torch.bfloat16, torch.float16 or torch.float32.

    Args:
        name: one of their names, or ``auto``. On CUDA ``auto`` goes by the compute capability, because
            ``torch.cuda.is_bf16_supported()`` is true on a T4, which only emulates bfloat16 (pytorch PR 148322). On a
            CPU it goes by timings (``cpu_dtype``).
        hidden_size: the model's hidden size; threads_used: number of threads, by default ``threads()``.

    Raises:
        BadInput: this device can't compute in this dtype.
    """
    import torch

    if why := dtype_refusal(name):
        raise BadInput(why)
    if name != "auto":
        return cast("torch.dtype", getattr(torch, name))
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float16
    return cast("torch.dtype", getattr(torch, cpu_dtype.choose(hidden_size, threads_used or threads(), cache_folder())))


def dtype_refusal(name: str) -> str:
    """Return why this device can't compute in a dtype, and what to write instead; an empty text if it can."""
    if name in ("auto", "float32"):
        return ""
    import torch

    if not torch.cuda.is_available():
        half = name == "float16"
        return "dtype: float16 needs a GPU, and there is none: write auto, bfloat16 or float32." * half
    major, minor = torch.cuda.get_device_capability()
    is_emulated = name == "bfloat16" and major < 8
    card = f"{torch.cuda.get_device_name()} (compute capability {major}.{minor})"
    return f"dtype: {card} only emulates bfloat16: write auto, float16 or float32." * is_emulated


def half_precision() -> bool:
    """Return whether this machine computes in float16, which has a narrow range."""
    return device() == "cuda" and str(compute_dtype()) == "torch.float16"


def threads() -> int:
    """Return how many threads torch computes with: OMP_NUM_THREADS if set, else the cores this process may use."""
    setting = os.environ.get("OMP_NUM_THREADS", "")
    return int(setting) if setting.isdigit() and int(setting) else cores()


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_folder() -> Path:
    """Return the folder that keeps models between sessions: ``ETABLI_CACHE``, else the platform's cache folder."""
    import platformdirs

    return Path(os.environ.get("ETABLI_CACHE") or platformdirs.user_cache_path("etabli"))


@cache
def hub_reachable() -> bool:
    """Return whether the Hub can be reached. It is tested once in a process, in at most two seconds.

    Without this test every request to an unreachable Hub retries for about 25 s. It runs in a thread because a name
    look-up has no timeout.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}:
        return False
    from urllib.parse import urlsplit

    url = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    answers: list[bool] = []
    address = (url.hostname, url.port or (443 if url.scheme == "https" else 80))
    probe = threading.Thread(target=_connects, args=(address, answers), daemon=True)
    probe.start()
    probe.join(HUB_PROBE_SECONDS)
    return bool(answers)


def _connects(address: tuple[str | None, int], answers: list[bool]) -> None:
    try:
        socket.create_connection(address, timeout=HUB_PROBE_SECONDS).close()
        answers.append(True)
    except OSError:
        pass


def hub_token() -> str | None:
    """Return the Hub token of the environment, of Colab's or Kaggle's secrets, or of the Hub's own login."""
    token = os.environ.get("HF_TOKEN") or _notebook_secret("HF_TOKEN")
    if token:
        return token
    from huggingface_hub import get_token

    return get_token()


def _notebook_secret(name: str) -> str | None:
    # Each service has its own errors for a secret that is absent or not granted, so every error means "no secret".
    try:
        if detect_platform() == "colab":
            from google.colab import userdata

            return cast(str, userdata.get(name))
        if detect_platform() == "kaggle":
            from kaggle_secrets import UserSecretsClient

            return cast(str, UserSecretsClient().get_secret(name))
    except Exception:
        return None
    return None


def memory_bytes() -> int:
    """Return this process's peak memory in bytes: allocated on the GPU (since the last reset), else resident."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def free_bytes() -> int:
    """Return the free memory in bytes: of the GPU if there is one, else of the machine."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    import psutil

    return min(int(psutil.virtual_memory().available), _container_free_bytes())


def _container_free_bytes() -> int:
    """Return the free memory in bytes under a container's limit (Linux cgroups, both versions); huge without one."""
    for folder, limit_name, used_name in (
        (CGROUPS, "memory.max", "memory.current"),
        (CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):
            limit, used = (int((folder / name).read_text()) for name in (limit_name, used_name))
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            cached = int(statistics.get("total_inactive_file", statistics.get("inactive_file", 0)))
            return max(0, limit - used + cached)  # the kernel gives unused file pages back
    return sys.maxsize


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that a run's numbers depend on."""
    from importlib import metadata

    versions_by_name = {"python": sys.version.split()[0]}
    for name in ("torch", "transformers", "peft", "bitsandbytes", "accelerate"):
        try:
            versions_by_name[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions_by_name[name] = "not installed"
    return versions_by_name


def processor() -> str:
    """Return the name of the GPU if there is one, else of the processor."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    import platform

    try:
        return Path("/proc/cpuinfo").read_text().split("model name\t: ", 1)[1].split("\n", 1)[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
