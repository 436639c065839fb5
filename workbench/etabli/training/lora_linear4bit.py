"""A 4-bit layer and its adapter as one operation: not a dozen passes over the activations.

PEFT copies the base's output before it adds to it, casts the input to float32 and (under autocast on a CPU) back again,
and keeps both for the backward pass. Here: y = x W' + s (x A') B', with W dequantised when it is needed and never kept.
The gradients are those of the same formula, written down; ``tests/test_engine.py`` holds them to float32 ones.
"""

import types
from typing import Any

import torch
import torch.nn.functional as F
from bitsandbytes.functional import dequantize_4bit
from peft.tuners.lora.bnb import Linear4bit
from torch import Tensor

ADAPTER = "default"  # PEFT's name of the only adapter that is trained


def fuse(model: Any) -> int:
    """Give every plain LoRA layer of a PEFT model on 4 bits the short way; returns how many have it.

    DoRA, dropout, trained biases, adapters that are merged or off, and evaluation go through PEFT as before.
    """
    layers = [part for part in model.modules() if type(part) is Linear4bit and _plain(part)]
    for layer in layers:
        layer.forward = types.MethodType(_forward, layer)
    return len(layers)


def _plain(layer: Linear4bit) -> bool:
    if list(layer.lora_A) != [ADAPTER] or layer.lora_variant:
        return False
    drops, bias = not isinstance(layer.lora_dropout[ADAPTER], torch.nn.Identity), layer.base_layer.bias
    return not drops and layer.lora_B[ADAPTER].bias is None and not (bias is not None and bias.requires_grad)


def _forward(layer: Linear4bit, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if not layer.training or layer.disable_adapters or layer.merged or list(layer.active_adapters) != [ADAPTER]:
        return type(layer).forward(layer, x, *args, **kwargs)
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    down, up = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    with torch.autocast(kind, enabled=False):
        out = _Adapted.apply(x.to(dtype), down, up, layer.base_layer.weight, layer.scaling[ADAPTER])
        return out if layer.base_layer.bias is None else out + layer.base_layer.bias.to(dtype)


class _Adapted(torch.autograd.Function):
    """x (..., in) in the compute dtype; down (rank, in) and up (out, rank) float32; the weight a ``Params4bit``."""

    @staticmethod
    def forward(context: Any, x: Tensor, down: Tensor, up: Tensor, weight: Any, scale: float) -> Tensor:
        flat = x.flatten(0, -2)
        narrow = flat @ down.to(x.dtype).T
        out = F.linear(x, _whole(weight, x.dtype))  # no view of anything: Falcon adds to it in place
        out.view(-1, out.shape[-1]).addmm_(narrow, up.to(x.dtype).T, alpha=scale)
        context.save_for_backward(x, down, up, narrow)
        context.weight, context.scale = weight, scale
        return out

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None]:
        x, down, up, narrow = context.saved_tensors
        flat = gradient.flatten(0, -2)
        back = (flat @ up.to(x.dtype)).mul_(context.scale)
        d_down = (back.T @ x.flatten(0, -2)).to(down.dtype)
        d_up = (flat.T @ narrow).to(up.dtype).mul_(context.scale)
        if not context.needs_input_grad[0]:
            return None, d_down, d_up, None, None
        d_x = flat @ _whole(context.weight, x.dtype)
        return d_x.addmm_(back, down.to(x.dtype)).view_as(x), d_down, d_up, None, None


def _whole(weight: Any, dtype: torch.dtype) -> Tensor:
    """The dequantised matrix, (out, in), for as long as it is looked at."""
    return dequantize_4bit(weight.data, weight.quant_state).to(dtype)
