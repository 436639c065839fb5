"""RMSNorm as one operation with its own gradient: half the passes over the activations, and only its input is kept.

transformers computes it with six operations, of which autograd keeps two tensors in float32. Here, with r = 1/rms(x):
y = w (x r), and dx = r (g w - x r mean(g w x r)), all in float32 as there; ``tests/test_engine.py`` compares both.
"""

import inspect
import types

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import unset_fake_temporarily

from etabli.training.autograd import Context

_TOLERANCE = 1e-4  # relative, in float32; another formula is off by far more


def fuse(model: torch.nn.Module) -> int:
    """Replace ``forward`` of every frozen norm of this formula; returns how many there are."""
    kinds = {type(module): _is_llama_norm(type(module)) for module in model.modules()}
    norms = [module for module in model.modules() if kinds[type(module)] and _is_frozen(module)]
    for norm in norms:
        norm.forward = types.MethodType(_forward, norm)
    return len(norms)


def _is_frozen(norm: torch.nn.Module) -> bool:
    """Return whether a norm has a weight, and one that is not trained."""
    weight = getattr(norm, "weight", None)  # Gemma 4 has norms without
    return isinstance(weight, Tensor) and not weight.requires_grad


def _is_llama_norm(kind: type[torch.nn.Module]) -> bool:
    """Return whether a class takes x alone and multiplies by its weight, as Llama's does (Gemma's adds 1 first)."""
    if not kind.__name__.endswith("RMSNorm") or len(inspect.signature(kind.forward).parameters) != 2:
        return False
    with unset_fake_temporarily(), torch.no_grad(), torch.random.fork_rng():  # the ledger traces tensors without values
        try:
            norm = kind(8).float()
            norm.get_parameter("weight").copy_(torch.linspace(0.5, 2, 8))
            x = torch.linspace(-2, 3, 16).view(1, 2, 8)
            return bool(torch.allclose(_forward(norm, x), norm(x), rtol=_TOLERANCE))
        except (AttributeError, RuntimeError, StopIteration, TypeError, ValueError):
            return False


def _epsilon(norm: torch.nn.Module) -> float:
    """Return the number that keeps the root above zero, under whichever name the model has it."""
    names = ("variance_epsilon", "eps", "epsilon")
    return float(next(getattr(norm, name) for name in names if hasattr(norm, name)))


def _forward(norm: torch.nn.Module, x: Tensor) -> Tensor:
    out: Tensor = _RmsNorm.apply(x, norm.weight, _epsilon(norm))  # type: ignore[no-untyped-call]  # torch has no types
    return out


class _RmsNorm(torch.autograd.Function):
    """x (..., width) in any dtype; the weight (width,), frozen; the result has x's shape and dtype."""

    @staticmethod
    def forward(context: Context, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        states = x.to(torch.float32, copy=True)
        mean_square = torch.linalg.vector_norm(states, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        factor = mean_square.add_(epsilon).rsqrt_()
        context.save_for_backward(x, weight, factor)
        return states.mul_(factor).to(x.dtype) * weight

    @staticmethod
    def backward(context: Context, gradient: Tensor) -> tuple[Tensor, None, None]:
        x, weight, factor = context.saved_tensors
        normalised = x.to(torch.float32, copy=True).mul_(factor)
        slope = (gradient * weight).to(torch.float32)
        mean = (slope * normalised).mean(-1, keepdim=True)
        return slope.sub_(normalised.mul_(mean)).mul_(factor).to(x.dtype), None, None
