"""Bytes of tensor storage that are alive, and what they are for; of fake tensors and of real ones alike."""

import weakref
from collections import Counter
from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

Parts = dict[str, int]  # bytes alive at one moment, by what they are for
BLOCK = 512  # bytes: what CUDA's caching allocator rounds up to


class Allocations(TorchDispatchMode):
    """Counts every storage that an operation makes inside, once, whichever tensors look at it, until it is gone.

    >>> import torch
    >>> with Allocations() as counted:
    ...     held = torch.zeros(256) + 1  # two of 1,024 bytes for a moment
    >>> counted.now, sum(counted.take_moments()[0].values())
    (1024, 2048)

    What an operation holds only inside itself is not seen.

    Args:
        vocabulary, rank, tokens: with these sizes, tensors are told apart by what they grow with (``_part``); without
            them all that is made are activations.
    """

    def __init__(self, vocabulary: int = 0, rank: int = 0, tokens: int = 0):
        super().__init__()
        self.vocabulary, self.rank, self.tokens = vocabulary, rank, tokens
        self.now = 0
        self.purpose: str | None = None  # of all that is made, where it is known
        self.parts: Counter[str] = Counter()  # alive now
        self._sizes: dict[int, tuple[int, str]] = {}
        self._moments: list[Parts] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        if "gemm_4bit" in function.__name__:  # it holds the whole matrix inside itself
            self._remember(args[0].element_size() * args[0].shape[-1] * made.shape[-1])
        grown = [self.add(leaf, self._part(function, leaf)) for leaf in tree_iter(made) if isinstance(leaf, Tensor)]
        if any(grown):
            self._remember()
        return made

    def add(self, tensor: Tensor, part: str) -> int:
        """Count a tensor's storage if it is new; its bytes."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return 0
        size = -(-storage.nbytes() // BLOCK) * BLOCK
        self._sizes[key] = size, part
        self.now += size
        self.parts[part] += size
        weakref.finalize(storage, self._gone, key).atexit = False
        return size

    def rename(self, tensors: Iterable[Tensor], part: str) -> None:
        """Say what tensors turned out to be for."""
        for tensor in tensors:
            key = tensor.untyped_storage()._cdata
            if key in self._sizes:
                size, before = self._sizes[key]
                self._sizes[key] = size, part
                self.parts[before] -= size
                self.parts[part] += size

    def take_moments(self) -> list[Parts]:
        """Bytes by part, at every moment since the last time that no other has more of everything than."""
        self._remember()
        held, self._moments = self._moments, []
        return held

    def _part(self, function: Any, tensor: Tensor) -> str:
        """What a new tensor is for, by its shape: ``tokens`` and ``rank`` are chosen to be no size of the model."""
        if self.purpose:
            return self.purpose
        shape, size = tensor.shape, tensor.numel()
        if self.vocabulary and shape and shape[-1] == self.vocabulary:
            return "logits"
        if "dequantize" in function.__name__:
            return "workspace"
        if not self.tokens:
            return "activations"
        if shape[-2:] == (self.tokens, self.tokens):
            return "squares"
        if size % self.tokens:  # does not grow with tokens: a weight's copy, or nearly nothing
            return "copies" if self.rank in shape else "workspace"
        return "narrow" if self.rank in shape else "activations"

    def _remember(self, inside: int = 0) -> None:
        now = {name: size for name, size in self.parts.items() if size}
        now["workspace"] = now.get("workspace", 0) + inside
        if any(_covers(held, now) for held in self._moments):
            return
        self._moments = [held for held in self._moments if not _covers(now, held)] + [now]

    def _gone(self, key: int) -> None:
        size, part = self._sizes.pop(key, (0, ""))
        self.now -= size
        self.parts[part] -= size


def count_model(model: Any, counted: Allocations) -> None:
    """Count what a 4-bit model with adapters holds before its first step."""
    import bitsandbytes as bnb

    for held in (part for part in model.modules() if isinstance(part, bnb.nn.Linear4bit)):
        state = held.weight.quant_state
        nested = [state.offset, state.state2.absmax, state.state2.code] if state.state2 else []
        for tensor in (held.weight, state.absmax, state.code, *nested):
            counted.add(tensor, "quantised")
    for tensor in [*model.parameters(), *model.buffers()]:
        fused = "experts" if tensor.ndim > 2 else "unquantised"  # what bitsandbytes leaves as it is
        counted.add(tensor, "adapters" if tensor.requires_grad else fused)


def total(parts: Parts) -> int:
    """All of a moment."""
    return sum(parts.values())


def _covers(more: Parts, less: Parts) -> bool:
    return all(more.get(name, 0) >= size for name, size in less.items())
