"""The devices that a run may use, and their memory: GPUs by name, or this machine."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from etabli.core.errors import BadInput

MIB = 2**20


class GpuFacts(NamedTuple):
    """What is known of a GPU by name."""

    mib: int  # the total that nvidia-smi shows
    capability: float


GPUS = {
    "t4": GpuFacts(15360, 7.5),
    "l4": GpuFacts(23034, 8.9),
    "3060": GpuFacts(12288, 8.6),
    "4070": GpuFacts(12282, 8.9),
    "3090": GpuFacts(24576, 8.6),
    "4090": GpuFacts(24564, 8.9),
    "a100": GpuFacts(40960, 8.0),
    "a100-80": GpuFacts(81920, 8.0),
    "h100": GpuFacts(81559, 9.0),
    "2xt4": GpuFacts(15360, 7.5),  # a run uses one of the two
}
USABLE = 0.98  # the driver keeps about 2 % of the total: of a T4's 15.0 GiB, torch's messages show 14.7
NEW = 8.0  # from this capability on, GPUs compute in bfloat16 and fast attention kernels let heads share keys


@dataclass(frozen=True)
class Device:
    """Where a run trains: one GPU, or the processor of this machine."""

    name: str
    total: int  # bytes
    type: str = "cuda"  # cuda or cpu
    capability: float = NEW
    dtype: str = "bfloat16"


def find_device(name: str, hidden_size: int = 0) -> Device:
    """Return a GPU by name, one of so many GB, or ``here``: this machine's GPU, or else its processor.

    Args:
        hidden_size: the width of the model, which decides the dtype on a processor.

    Raises:
        BadInput: the name is unknown.
    """
    key = re.sub(r"[\s_]+", "-", str(name).casefold().replace("rtx", "").replace("gb", "").strip())
    if key in GPUS:
        gpu = GPUS[key]
        dtype = "bfloat16" if gpu.capability >= NEW else "float16"
        return Device(key, round(gpu.mib * MIB * USABLE), capability=gpu.capability, dtype=dtype)
    if re.fullmatch(r"\d{1,6}(\.\d+)?", key) and float(key) > 0:
        return Device(key, round(float(key) * 2**30))
    if key == "here":
        return local_device(hidden_size)
    raise BadInput(f"Unknown GPU {name!r}; choose from {', '.join(GPUS)}, a number of GB, or here.")


def local_device(hidden_size: int = 0) -> Device:
    """Return the device that a run on this machine uses."""
    import psutil
    import torch

    from etabli.core import machine

    dtype = str(machine.compute_dtype(hidden_size=hidden_size)).removeprefix("torch.")
    if not torch.cuda.is_available():
        return Device("here", psutil.virtual_memory().total, "cpu", dtype=dtype)
    major, minor = torch.cuda.get_device_capability()
    return Device("here", torch.cuda.get_device_properties(0).total_memory, "cuda", major + minor / 10, dtype)
