"""Count the bytes of tensors that are alive, by their purpose; for fake tensors and real ones."""

import weakref
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import Module
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

if TYPE_CHECKING:
    from torch._ops import OpOverload

Parts = dict[str, int]  # bytes alive at one moment, by purpose
BLOCK = 512  # bytes: what CUDA's caching allocator rounds up to


class TensorCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Counts every storage that an operation makes inside, once, however many tensors share it, until it is freed.

    >>> import torch
    >>> with TensorCounter() as counter:
    ...     tensor = torch.zeros(256) + 1  # two of 1,024 bytes for a moment
    >>> counter.now, sum(counter.take_moments()[0].values())
    (1024, 2048)

    Memory that an operation uses only inside itself is not seen.

    Args:
        vocabulary, rank, tokens: with these sizes the purpose of a tensor is told by what it grows with
            (``_purpose_of``); without them all new tensors are activations.
    """

    def __init__(self, vocabulary: int = 0, rank: int = 0, tokens: int = 0):
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types here
        self.vocabulary, self.rank, self.tokens = vocabulary, rank, tokens
        self.now = 0  # bytes alive
        self.purpose: str | None = None  # of all that is made, where it is known
        self.parts: Counter[str] = Counter()  # bytes alive, by purpose
        self._sizes: dict[int, tuple[int, str]] = {}
        self._moments: list[Parts] = []

    def __torch_dispatch__(
        self, function: "OpOverload", types: object, args: tuple[Any, ...] = (), kwargs: dict[str, object] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if "gemm_4bit" in function.__name__:  # it dequantises the whole matrix inside itself
            self._remember(args[0].element_size() * args[0].shape[-1] * result.shape[-1])
        tensors = [leaf for leaf in tree_iter(result) if isinstance(leaf, Tensor)]
        new_bytes = sum(self.add(tensor, self._purpose_of(function, tensor)) for tensor in tensors)
        if new_bytes:
            self._remember()
        return result

    def add(self, tensor: Tensor, purpose: str) -> int:
        """Count a tensor's storage if it is new; returns its bytes, or 0."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return 0
        size = -(-storage.nbytes() // BLOCK) * BLOCK
        self._sizes[key] = size, purpose
        self.now += size
        self.parts[purpose] += size
        weakref.finalize(storage, self._remove, key).atexit = False
        return size

    def rename(self, tensors: Iterable[Tensor], purpose: str) -> None:
        """Change the purpose of tensors that are counted already."""
        for tensor in tensors:
            key = tensor.untyped_storage()._cdata
            if key in self._sizes:
                size, old_purpose = self._sizes[key]
                self._sizes[key] = size, purpose
                self.parts[old_purpose] -= size
                self.parts[purpose] += size

    def take_moments(self) -> list[Parts]:
        """Return the bytes by purpose at the peaks since the last call.

        A moment is a peak if no other moment had at least as much of every purpose.
        """
        self._remember()
        moments, self._moments = self._moments, []
        return moments

    def _purpose_of(self, function: "OpOverload", tensor: Tensor) -> str:
        """Tell a new tensor's purpose by its shape: ``tokens`` and ``rank`` are chosen to be no size of the model."""
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

    def _remember(self, workspace: int = 0) -> None:
        moment = {name: size for name, size in self.parts.items() if size}
        moment["workspace"] = moment.get("workspace", 0) + workspace
        if any(_covers(peak, moment) for peak in self._moments):
            return
        self._moments = [peak for peak in self._moments if not _covers(moment, peak)] + [moment]

    def _remove(self, key: int) -> None:
        size, purpose = self._sizes.pop(key, (0, ""))
        self.now -= size
        self.parts[purpose] -= size


def count_model(model: Module, counter: TensorCounter) -> None:
    """Count the tensors of a 4-bit model with adapters before its first step."""
    import bitsandbytes as bnb

    for layer in (module for module in model.modules() if isinstance(module, bnb.nn.Linear4bit)):
        state = layer.weight.quant_state
        inner_tensors = [state.offset, state.state2.absmax, state.state2.code] if state.state2 else []
        for tensor in (layer.weight, state.absmax, state.code, *inner_tensors):
            counter.add(tensor, "quantised")
    for tensor in [*model.parameters(), *model.buffers()]:
        part_name = "experts" if tensor.ndim > 2 else "unquantised"  # bitsandbytes leaves fused experts as they are
        counter.add(tensor, "adapters" if tensor.requires_grad else part_name)


def total_bytes(parts: Parts) -> int:
    """Return the bytes of all purposes together."""
    return sum(parts.values())


def _covers(larger: Parts, smaller: Parts) -> bool:
    """Return whether the first has at least as many bytes of every purpose."""
    return all(larger.get(name, 0) >= size for name, size in smaller.items())
