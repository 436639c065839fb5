"""Cross-entropy of the trained tokens without their logits: taken in chunks, with the gradient on the way.

A vocabulary of 150,000 turns 2,048 tokens into 1.2 GB of float32 logits, and as much again for their gradient. The head
is frozen in QLoRA, so the gradient of the hidden states is known as soon as a chunk's logits are, and nothing of the
vocabulary's width is kept (the idea of Liger's fused loss, arXiv 2410.10989, here in plain torch).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LOGITS = 2**25  # of one chunk: 134 MB in float32
HALF_UP = 2.0**12  # for float16, where a sure token's slopes underflow; a gradient scaler's factor comes too late here


@dataclass(frozen=True, eq=False)
class Head:
    """How a model makes logits of its last hidden states."""

    weight: Tensor  # (vocabulary, width)
    bias: Tensor | None = None  # (vocabulary,)
    scale: float = 1.0
    cap: float | None = None  # logits are cap * tanh(logits / cap) (Gemma 2)

    def logits(self, hidden: Tensor) -> Tensor:
        """Float32 (tokens, vocabulary) of hidden states (tokens, width) in the compute dtype."""
        made = (hidden @ self.weight.to(hidden.dtype).T).float()
        if self.bias is not None:
            made += self.bias
        if self.scale != 1.0:
            made *= self.scale
        return made.div_(self.cap).tanh_().mul_(self.cap) if self.cap else made


def head_of(model: Any) -> Head | None:
    """The head of a causal model, or None if it is trained itself or no plain linear layer."""
    config, linear = model.config.get_text_config(), model.get_output_embeddings()
    if type(linear) is not torch.nn.Linear or any(held.requires_grad for held in linear.parameters()):
        return None
    scale = getattr(config, "logit_scale", None) or 1.0  # Cohere multiplies, Granite divides
    scale /= getattr(config, "logits_scaling", None) or 1.0
    return Head(linear.weight, linear.bias, scale, getattr(config, "final_logit_softcapping", None))


def summed(hidden: Tensor, head: Head, targets: Tensor) -> Tensor:
    """Summed cross-entropy, a float32 scalar that is differentiable with regard to ``hidden``.

    Args:
        hidden: (tokens, width), in the compute dtype. targets: int64 (tokens,).
    """
    return _Summed.apply(hidden, head, targets)


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, hidden: Tensor, head: Head, targets: Tensor) -> Tensor:
        total = torch.zeros((), device=hidden.device)
        context.gradient = torch.empty_like(hidden, dtype=torch.float32) if hidden.requires_grad else None
        context.dtype = hidden.dtype
        size = max(64, LOGITS // len(head.weight))
        for low in range(0, len(hidden), size):
            part = slice(low, low + size)
            gradient = None if context.gradient is None else context.gradient[part]
            total += _chunk(hidden[part], head, targets[part, None], gradient)
        return total

    @staticmethod
    def backward(context: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        return (context.gradient * upstream).to(context.dtype), None, None


def _chunk(hidden: Tensor, head: Head, targets: Tensor, gradient: Tensor | None) -> Tensor:
    """The loss of one chunk, whose gradient is written where it belongs. What it makes is gone before the next."""
    logits = head.logits(hidden)
    level = logits.logsumexp(-1, keepdim=True)
    found = (level - logits.gather(1, targets)).sum()
    if gradient is not None:
        up = HALF_UP if hidden.dtype is torch.float16 else 1.0
        slope = _slope(logits, level, head, targets).mul_(up).to(hidden.dtype)
        gradient.copy_((slope @ head.weight.to(hidden.dtype)).float() / up)
    return found


def _slope(logits: Tensor, level: Tensor, head: Head, targets: Tensor) -> Tensor:
    """The gradient of the loss by what the head's matrix gives; ``logits`` are used up."""
    bent = 1 - (logits / head.cap) ** 2 if head.cap else None
    slope = logits.sub_(level).exp_()
    slope.scatter_add_(1, targets, slope.new_full(targets.shape, -1.0))
    if bent is not None:
        slope *= bent
    return slope.mul_(head.scale) if head.scale != 1.0 else slope
