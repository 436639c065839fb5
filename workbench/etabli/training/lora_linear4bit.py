"""A 4-bit layer and its adapter as one operation, instead of a dozen passes over the activations.

PEFT copies the base's output before it adds to it, casts the input to float32 and (under autocast on a CPU) back again,
and keeps both for the backward pass. Here: y = x W' + s (x A') B', with W dequantised when it is needed, or kept where
memory is spare (``models.kept_matrices``). The gradients are those of this formula, written by hand, and
``tests/test_engine.py`` compares them with float32 ones.
"""

import types
from typing import Protocol

import torch
import torch.nn.functional as F
from bitsandbytes.nn import Params4bit
from peft.tuners.lora.bnb import Linear4bit
from torch import Tensor

from etabli.models.kept_matrices import dequantise
from etabli.training.autograd import Context

ADAPTER = "default"  # PEFT's name of the only adapter that is trained


def fuse(model: torch.nn.Module) -> int:
    """Replace ``forward`` of every plain LoRA layer on 4 bits in a PEFT model; returns how many there are.

    DoRA, dropout, trained biases, adapters that are merged or off, and evaluation go through PEFT as before.
    """
    layers = [module for module in model.modules() if type(module) is Linear4bit and _is_plain(module)]
    for layer in layers:
        layer.forward = types.MethodType(_forward, layer)
    return len(layers)


def _is_plain(layer: Linear4bit) -> bool:
    if list(layer.lora_A) != [ADAPTER] or layer.lora_variant:
        return False
    has_dropout = not isinstance(layer.lora_dropout[ADAPTER], torch.nn.Identity)
    bias = layer.base_layer.bias
    trains_bias = layer.lora_B[ADAPTER].bias is not None or (bias is not None and bias.requires_grad)
    return not has_dropout and not trains_bias


def _forward(layer: Linear4bit, x: Tensor, *args: object, **kwargs: object) -> Tensor:
    if not layer.training or layer.disable_adapters or layer.merged or list(layer.active_adapters) != [ADAPTER]:
        original: Tensor = type(layer).forward(layer, x, *args, **kwargs)
        return original
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    lora_a, lora_b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    with torch.autocast(kind, enabled=False):
        weight, scale = layer.base_layer.weight, layer.scaling[ADAPTER]
        out: Tensor = _LoraLinear4bit.apply(x.to(dtype), lora_a, lora_b, weight, scale)  # type: ignore[no-untyped-call]  # torch
        return out if layer.base_layer.bias is None else out + layer.base_layer.bias.to(dtype)


class _Weights(Context, Protocol):
    weight: Params4bit
    scale: float


class _LoraLinear4bit(torch.autograd.Function):
    """x (..., in) in the compute dtype; down (rank, in) and up (out, rank) float32; the weight a ``Params4bit``."""

    @staticmethod
    def forward(
        context: _Weights, x: Tensor, lora_a: Tensor, lora_b: Tensor, weight: Params4bit, scale: float
    ) -> Tensor:
        flat = x.flatten(0, -2)
        narrow = flat @ lora_a.to(x.dtype).T
        out = F.linear(x, dequantise(weight, x.dtype))  # no view of anything: Falcon adds to it in place
        out.view(-1, out.shape[-1]).addmm_(narrow, lora_b.to(x.dtype).T, alpha=scale)
        context.save_for_backward(x, lora_a, lora_b, narrow)
        context.weight, context.scale = weight, scale
        return out

    @staticmethod
    def backward(context: _Weights, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None]:
        x, lora_a, lora_b, narrow = context.saved_tensors
        flat = gradient.flatten(0, -2)
        projected = (flat @ lora_b.to(x.dtype)).mul_(context.scale)
        d_down = (projected.T @ x.flatten(0, -2)).to(lora_a.dtype)
        d_up = (flat.T @ narrow).to(lora_b.dtype).mul_(context.scale)
        if not context.needs_input_grad[0]:
            return None, d_down, d_up, None, None
        d_x = flat @ dequantise(context.weight, x.dtype)
        return d_x.addmm_(projected, lora_a.to(x.dtype)).view_as(x), d_down, d_up, None, None
