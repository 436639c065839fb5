"""What torch hands to a function with its own gradient (``torch.autograd``), as a type: torch has none for it."""

from typing import Protocol

from torch import Tensor


class Context(Protocol):
    """Keeps tensors from the forward to the backward pass; a subclass names further attributes that are kept."""

    saved_tensors: tuple[Tensor, ...]
    needs_input_grad: tuple[bool, ...]

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keep tensors that the forward pass took in or gives back."""
