"""What memory there is: graphics cards, as nvidia-smi counts it, or the machine here."""

import re
from dataclasses import dataclass

from etabli.core.errors import BadInput

MIB = 2**20
# MiB that nvidia-smi shows as total, and the compute capability.
CARDS = {
    "t4": (15360, 7.5), "l4": (23034, 8.9), "3060": (12288, 8.6), "4070": (12282, 8.9), "3090": (24576, 8.6),
    "4090": (24564, 8.9), "a100": (40960, 8.0), "a100-80": (81920, 8.0), "h100": (81559, 9.0), "2xt4": (15360, 7.5),
}  # fmt: skip
# Of what nvidia-smi calls total, the driver keeps about 2 %: a T4's 15.0 GiB are 14.7 in torch's messages.
USABLE = 0.98
NEW = 8.0  # from this capability on, the fast attention kernels let heads share keys, and bfloat16 is computed in


@dataclass(frozen=True)
class Card:
    """Where a run would go; of two cards, one."""

    name: str
    total: int  # bytes
    device: str = "cuda"
    capability: float = NEW
    dtype: str = "bfloat16"


def card(name: str, hidden_size: int = 0) -> Card:
    """A card by its name, one of so many GB, or ``here``: the one in this machine, else the machine's own memory.

    Args:
        hidden_size: the width of the model, by which a CPU's dtype is chosen.

    Raises:
        BadInput: an unknown card.
    """
    key = re.sub(r"[\s_]+", "-", str(name).casefold().replace("rtx", "").replace("gb", "").strip())
    if key in CARDS:
        size, capability = CARDS[key]
        usable = round(size * MIB * USABLE)
        return Card(key, usable, capability=capability, dtype="bfloat16" if capability >= NEW else "float16")
    if re.fullmatch(r"\d{1,6}(\.\d+)?", key) and float(key) > 0:
        return Card(key, round(float(key) * 2**30))
    if key == "here":
        return here(hidden_size)
    raise BadInput(f"Unknown card {name!r}; known are {', '.join(CARDS)}, a number of GB, or here.")


def here(hidden_size: int = 0) -> Card:
    """What a run on this machine would be on."""
    import psutil
    import torch

    from etabli.core import machine

    dtype = str(machine.compute_dtype(hidden_size=hidden_size)).removeprefix("torch.")
    if not torch.cuda.is_available():
        return Card("here", psutil.virtual_memory().total, "cpu", dtype=dtype)
    major, minor = torch.cuda.get_device_capability()
    return Card("here", torch.cuda.get_device_properties(0).total_memory, "cuda", major + minor / 10, dtype)
