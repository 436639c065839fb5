"""Graphics cards and how much memory they have, as nvidia-smi counts it."""

import re

from etabli.errors import BadInput

MIB = 2**20
# MiB that nvidia-smi shows as total.
CARDS = {
    "t4": 15360, "l4": 23034, "3060": 12288, "4070": 12282, "3090": 24576, "4090": 24564, "a100": 40960,
    "a100-80": 81920, "h100": 81559, "2xt4": 15360,
}  # fmt: skip


def total(name: str) -> int:
    """Bytes of a card by its name, or of a number of GB; ``here`` is the one in this machine. Of two, one's.

    Raises:
        BadInput: an unknown card, or none here.
    """
    key = name.casefold().replace("rtx", "").replace("gb", "").strip(" -_")
    if key in CARDS:
        return CARDS[key] * MIB
    if re.fullmatch(r"\d+(\.\d+)?", key) and float(key) > 0:
        return round(float(key) * 2**30)
    if key == "here":
        return _here()
    raise BadInput(f"Unknown card {name!r}; known are {', '.join(CARDS)}, a number of GB, or here.")


def _here() -> int:
    import torch

    if not torch.cuda.is_available():
        raise BadInput("There is no CUDA device here: name a card (--gpu t4) or a number of GB (--gpu 16).")
    return torch.cuda.get_device_properties(0).total_memory
