"""Spend spare memory: 4-bit matrices that are kept dequantised, so that they need not be made again for every batch.

A matrix takes half a byte a weight, and two or four bytes dequantised; a training step needs it twice, an answer once a
token. What is kept is given back when memory runs out. The numbers of a training step are the same ones, to the bit.
"""

import types

import torch
import torch.nn.functional as F
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from torch import Tensor

from etabli.core import machine

SHARE = 0.5  # of the memory that is free; the rest is for whatever else runs here
_KEPT = "etabli_dequantized"  # the attribute of a 4-bit weight that holds its dequantised matrix, if it is kept


class KeptMatrices:
    """The dequantised matrices of a model's 4-bit layers, as many as were given room, in the computation's dtype."""

    def __init__(self, model: torch.nn.Module, dtype: torch.dtype):
        self._layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
        self._dtype = dtype

    @torch.no_grad()
    def keep(self, room: float) -> int:
        """Dequantise and keep matrices, in the order of the layers, until ``room`` bytes are full; return the bytes."""
        kept_bytes = 0
        for layer in self._layers:
            kept_bytes += layer.weight.quant_state.shape.numel() * self._dtype.itemsize
            if kept_bytes > room:
                break
            setattr(layer.weight, _KEPT, dequantise(layer.weight, self._dtype))
            layer.forward = types.MethodType(_forward, layer)
        return self.bytes()

    def bytes(self) -> int:
        """Return the bytes that are kept now."""
        matrices = (getattr(layer.weight, _KEPT, None) for layer in self._layers)
        return sum(matrix.nbytes for matrix in matrices if matrix is not None)

    def give_back(self) -> int:
        """Keep nothing any more; return how many bytes this frees."""
        freed = self.bytes()
        for layer in self._layers:
            setattr(layer.weight, _KEPT, None)
        return freed


def keep_for_answers(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Keep matrices of a model that answers or judges on a CPU, in a share of the free memory.

    Not for a card: with one token a row its kernels read four bits faster than sixteen.
    """
    KeptMatrices(model, dtype).keep(SHARE * machine.free_bytes())


def dequantise(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a 4-bit weight's matrix, (out, in): the one that is kept, or a new one; free that soon, it is large."""
    kept: Tensor | None = getattr(weight, _KEPT, None)
    if kept is not None:
        return kept
    matrix: Tensor = dequantize_4bit(weight.data, weight.quant_state)  # type: ignore[attr-defined]  # a Params4bit
    return matrix.to(dtype)


def _forward(layer: Linear4bit, x: Tensor) -> Tensor:
    """Compute what the layer computes, from the kept matrix if it is still there; the result has x's dtype."""
    matrix: Tensor | None = getattr(layer.weight, _KEPT, None)
    if matrix is None:
        original: Tensor = type(layer).forward(layer, x)
        return original
    bias = layer.bias
    return F.linear(x.to(matrix.dtype), matrix, None if bias is None else bias.to(matrix.dtype)).to(x.dtype)
