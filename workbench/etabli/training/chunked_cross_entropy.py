"""Cross-entropy of the trained tokens in chunks, with the gradient computed on the way: all logits are never kept.

A vocabulary of 150,000 turns 2,048 tokens into 1.2 GB of float32 logits, and as much again for their gradient. The head
is frozen in QLoRA, so the gradient of the hidden states is known as soon as a chunk's logits are, and no tensor of the
vocabulary's width is kept (the idea of Liger's fused loss, arXiv 2410.10989, here in plain torch). On a CPU the softmax
goes over a few rows at a time, which stay in the processor's cache: a third less time.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from etabli.training.autograd import Context

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOGITS = 2**25  # of one chunk: 67 MB in bfloat16
CACHED_LOGITS = 2**19  # of one block of the softmax on a CPU: 2 MB in float32
FLOAT16_SCALE = 2.0**12  # in float16 a sure token's gradients underflow; a gradient scaler acts too late to help here


@dataclass(frozen=True, eq=False)
class Head:
    """How a model computes logits from its last hidden states."""

    weight: Tensor  # (vocabulary, width)
    bias: Tensor | None = None  # (vocabulary,)
    scale: float = 1.0
    cap: float | None = None  # logits are cap * tanh(logits / cap) (Gemma 2)

    def logits(self, hidden_states: Tensor) -> Tensor:
        """Return float32 (tokens, vocabulary) for hidden states (tokens, width) in the compute dtype."""
        return self.finish(self.products(hidden_states))

    def products(self, hidden_states: Tensor) -> Tensor:
        """Return hidden states times the matrix, (tokens, vocabulary) in the compute dtype."""
        return hidden_states @ self.weight.to(hidden_states.dtype).T

    def finish(self, products: Tensor) -> Tensor:
        """Return float32 logits, a new tensor, from products (tokens, vocabulary)."""
        logits = products.to(torch.float32, copy=True)
        if self.bias is not None:
            logits += self.bias
        if self.scale != 1.0:
            logits *= self.scale
        return logits.div_(self.cap).tanh_().mul_(self.cap) if self.cap else logits


def find_head(model: "PreTrainedModel") -> Head | None:
    """Return the head of a causal model, or None if it is trained itself or is no plain linear layer."""
    config, linear = model.config.get_text_config(), model.get_output_embeddings()
    if type(linear) is not torch.nn.Linear or any(weight.requires_grad for weight in linear.parameters()):
        return None
    scale = getattr(config, "logit_scale", None) or 1.0  # Cohere multiplies, Granite divides
    scale /= getattr(config, "logits_scaling", None) or 1.0
    return Head(linear.weight, linear.bias, scale, getattr(config, "final_logit_softcapping", None))


def summed_cross_entropy(hidden_states: Tensor, head: Head, targets: Tensor) -> Tensor:
    """Return the summed cross-entropy, a float32 scalar, differentiable with respect to ``hidden_states``.

    Args:
        hidden_states: (tokens, width), in the compute dtype. targets: int64 (tokens,).
    """
    loss: Tensor = _SummedCrossEntropy.apply(hidden_states, head, targets)  # type: ignore[no-untyped-call]  # torch has no types
    return loss


class _Gradient(Context, Protocol):
    gradient: Tensor | None  # of the hidden states, (tokens, width) float32
    dtype: torch.dtype


class _SummedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(context: _Gradient, hidden_states: Tensor, head: Head, targets: Tensor) -> Tensor:
        total = torch.zeros((), device=hidden_states.device)
        context.gradient = torch.empty_like(hidden_states, dtype=torch.float32) if hidden_states.requires_grad else None
        context.dtype = hidden_states.dtype
        size = max(64, LOGITS // len(head.weight))
        for low in range(0, len(hidden_states), size):
            part = slice(low, low + size)
            gradient = None if context.gradient is None else context.gradient[part]
            total += _chunk_loss(hidden_states[part], head, targets[part, None], gradient)
        return total

    @staticmethod
    def backward(context: _Gradient, upstream: Tensor) -> tuple[Tensor, None, None]:
        assert context.gradient is not None, "torch calls this only if the hidden states need a gradient"
        return (context.gradient * upstream).to(context.dtype), None, None


def _chunk_loss(hidden_states: Tensor, head: Head, targets: Tensor, gradient: Tensor | None) -> Tensor:
    """Return the loss of one chunk, and write its gradient into ``gradient``; all other tensors are freed."""
    products = head.products(hidden_states)  # overwritten by their own gradient, block by block
    is_cpu = products.device.type == "cpu"
    size = max(1, CACHED_LOGITS // len(head.weight)) if is_cpu else len(products)
    scale = FLOAT16_SCALE if products.dtype is torch.float16 else 1.0
    loss = torch.zeros((), device=products.device)
    for block, block_targets in zip(torch.split(products, size), torch.split(targets, size)):
        logits = head.finish(block)
        normaliser = logits.logsumexp(-1, keepdim=True)
        loss += (normaliser - logits.gather(1, block_targets)).sum()
        if gradient is not None:
            block.copy_(_logit_gradient(logits, normaliser, head, block_targets).mul_(scale))
    if gradient is not None:
        gradient.copy_((products @ head.weight.to(products.dtype)).float() / scale)
    return loss


def _logit_gradient(logits: Tensor, normaliser: Tensor, head: Head, targets: Tensor) -> Tensor:
    """Return the gradient of the loss by the output of the head's matrix; overwrites ``logits``."""
    cap_slope = 1 - (logits / head.cap) ** 2 if head.cap else None
    slope = logits.sub_(normaliser).exp_()
    slope.scatter_add_(1, targets, slope.new_full(targets.shape, -1.0))
    if cap_slope is not None:
        slope *= cap_slope
    return slope.mul_(head.scale) if head.scale != 1.0 else slope
