"""Where are we, on what, and how much of it: the one module that looks at the machine.

Imports torch inside the functions that need it, so that ``import etabli`` stays cheap.
"""

import os
import socket
import sys
import threading
import time
from functools import cache
from pathlib import Path

from etabli.core import cpu_dtype
from etabli.core.errors import BadInput

HUB_PROBE_SECONDS = 2.0
SPIN = "20000"  # some tens of microseconds


@cache
def settle_threads() -> None:
    """Choose how OpenMP pools wait. Must come before torch and bitsandbytes are imported.

    Each of the two brings a pool of its own. Waiting awake is twice as fast on an idle machine, since a step has
    thousands of short operations; beside one busy process it is four times slower (docs/log.md). So: awake for a short
    while if the cores are idle now, else asleep. What the environment says already stands, so that a notebook's
    children do as the notebook does.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if "GOMP_SPINCOUNT" not in os.environ and cores_idle():
        os.environ["GOMP_SPINCOUNT"] = SPIN
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def cores_idle() -> bool:
    """Is nobody but this process computing? Looked at three times over 20 ms; False where it can't be told."""
    busiest = 0
    for pause in (0.0, 0.01, 0.01):
        time.sleep(pause)
        try:
            busiest = max(busiest, int(Path("/proc/loadavg").read_text().split()[3].split("/")[0]))
        except (OSError, ValueError, IndexError):
            return False
    return busiest <= 1


def detect_platform() -> str:
    """``colab``, ``kaggle``, ``notebook`` or ``shell``."""
    if "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ:
        return "colab"
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return "kaggle"
    return "notebook" if "ipykernel" in sys.modules else "shell"


def device() -> str:
    """``cuda`` where torch can use a GPU, else ``cpu``."""
    settle_threads()
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def compute_dtype(wanted: str = "auto", hidden_size: int = 0, threads_used: int | None = None):
    """What to compute in: torch.bfloat16, torch.float16 or torch.float32.

    Args:
        wanted: one of their names, or ``auto``. On CUDA that goes by compute capability, because
            ``torch.cuda.is_bf16_supported()`` is true on a T4, which only emulates it (pytorch PR 148322); on a CPU by
            what was timed (``cpu_dtype``).
        hidden_size: the model's width; threads_used: by how many threads; by default ``threads()``.

    Raises:
        BadInput: this device can't compute in it.
    """
    import torch

    if why := dtype_refusal(wanted):
        raise BadInput(why)
    if wanted != "auto":
        return getattr(torch, wanted)
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float16
    return getattr(torch, cpu_dtype.choose(hidden_size, threads_used or threads(), cache_folder()))


def dtype_refusal(wanted: str) -> str:
    """Why this device can't compute in a dtype, and what to write instead; nothing if it can."""
    if wanted in ("auto", "float32"):
        return ""
    import torch

    if not torch.cuda.is_available():
        half = wanted == "float16"
        return "dtype: float16 needs a GPU, and there is none: write auto, bfloat16 or float32." * half
    major, minor = torch.cuda.get_device_capability()
    emulated = wanted == "bfloat16" and major < 8
    card = f"{torch.cuda.get_device_name()} (compute capability {major}.{minor})"
    return f"dtype: {card} only emulates bfloat16: write auto, float16 or float32." * emulated


def half_precision() -> bool:
    """Is float16 what is computed in, with its narrow range?"""
    return device() == "cuda" and str(compute_dtype()) == "torch.float16"


def threads() -> int:
    """How many threads torch computes with: OMP_NUM_THREADS if set, else the cores this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) else cores()


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_folder() -> Path:
    """Where models are kept between sessions: ``ETABLI_CACHE``, else the platform's cache folder."""
    import platformdirs

    return Path(os.environ.get("ETABLI_CACHE") or platformdirs.user_cache_path("etabli"))


@cache
def hub_reachable() -> bool:
    """Can the Hub be reached? Asked once a process, in at most two seconds.

    Without this probe every look-up of an unreachable Hub retries for some 25 s. A thread, because a name look-up
    takes no timeout.
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


def _connects(address: tuple, answers: list[bool]) -> None:
    try:
        socket.create_connection(address, timeout=HUB_PROBE_SECONDS).close()
        answers.append(True)
    except OSError:
        pass


def hub_token() -> str | None:
    """The Hub token of the environment, of Colab's or Kaggle's secrets, or of the Hub's own login. Never printed."""
    token = os.environ.get("HF_TOKEN") or _notebook_secret("HF_TOKEN")
    if token:
        return token
    from huggingface_hub import get_token

    return get_token()


def _notebook_secret(name: str) -> str | None:
    # Each service raises its own errors for a secret that is absent or not granted, so any failure means "none".
    try:
        if detect_platform() == "colab":
            from google.colab import userdata

            return userdata.get(name)
        if detect_platform() == "kaggle":
            from kaggle_secrets import UserSecretsClient

            return UserSecretsClient().get_secret(name)
    except Exception:
        return None
    return None


def memory_bytes() -> int:
    """Peak memory of this process, or since its phases were last measured: allocated on the GPU, else resident."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def free_bytes() -> int:
    """Free memory: of the GPU if there is one, else of the machine."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    import psutil

    return psutil.virtual_memory().available


def versions() -> dict[str, str]:
    """Versions of what decides the numbers of a run."""
    from importlib import metadata

    names = ("torch", "transformers", "peft", "bitsandbytes", "accelerate")
    found = {"python": sys.version.split()[0]}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def processor() -> str:
    """The processor's name, or the GPU's."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    import platform

    try:
        return Path("/proc/cpuinfo").read_text().split("model name\t: ", 1)[1].split("\n", 1)[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
