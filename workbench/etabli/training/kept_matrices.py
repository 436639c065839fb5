"""Spend spare memory: 4-bit matrices that are kept dequantised, so that no step has to make them again.

A matrix takes half a byte a weight, and two or four bytes dequantised, which every step needs twice. What is kept is
given back when memory runs out. The numbers are the same ones, so losses don't change by a bit.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from etabli.training.lora_linear4bit import KEPT, dequantise

SHARE = 0.5  # of the memory that is free beside the largest batch; the rest is for whatever else runs here


class KeptMatrices:
    """The dequantised base matrices of layers, as many as were given room.

    Args:
        layers: as ``lora_linear4bit.fuse`` returns them. dtype: of the computation.
    """

    def __init__(self, layers: Sequence[torch.nn.Module], dtype: torch.dtype):
        self._weights: list[Tensor] = [layer.get_parameter("base_layer.weight") for layer in layers]
        self._dtype = dtype

    @torch.no_grad()
    def keep(self, room: float) -> int:
        """Dequantise and keep matrices, in the order of the layers, until ``room`` bytes are full; return the bytes."""
        kept_bytes = 0
        for weight in self._weights:
            shape = weight.quant_state.shape  # type: ignore[attr-defined]  # a Params4bit
            kept_bytes += shape.numel() * self._dtype.itemsize
            if kept_bytes > room:
                break
            setattr(weight, KEPT, dequantise(weight, self._dtype))
        return self.bytes()

    def bytes(self) -> int:
        """Return the bytes that are kept now."""
        return sum(getattr(weight, KEPT).nbytes for weight in self._weights if getattr(weight, KEPT, None) is not None)

    def give_back(self) -> int:
        """Keep nothing any more; return how many bytes this frees."""
        freed = self.bytes()
        for weight in self._weights:
            setattr(weight, KEPT, None)
        return freed
