"""The loss of a pack: rows that do not see each other, logits for the trained tokens alone, and those in chunks."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from etabli.errors import BadInput
from etabli.models.loading import Loaded
from etabli.training import attention, linear, loss
from etabli.training.batches import Pack, tensors

AGREED = 0.05  # relative; bfloat16 alone is off by about 0.01, a row that sees another by 0.5
_SIZES = (9, 13)  # tokens of the two rows that are tried


class Objective(torch.nn.Module):
    """Summed cross-entropy of packs under a PEFT model; a module, so that several devices can average its gradients.

    The engine's short ways are tried on two made-up rows first. A model on which they do not give what the model itself
    gives, because it attends or makes logits in a way of its own, keeps transformers' ways, and ``said`` tells.

    Args:
        peft: the base with its adapter. autocast: makes the context of the forward pass.
        packed: may rows be packed at all? A model in which rows see each other whatever one does is then refused.
    """

    def __init__(self, peft: Any, loaded: Loaded, autocast: Callable[[], Any], packed: bool = True):
        super().__init__()
        self.peft, self.base = peft, peft.get_base_model()
        self._loaded, self.autocast = loaded, autocast
        self.said = ""
        linear.fuse(peft)
        self._choose(packed)

    def forward(self, input_ids: Tensor, position_ids: Tensor, keep: Tensor, targets: Tensor) -> Tensor:
        """See ``batches.tensors``."""
        if self.head is not None:
            return loss.summed(self._hidden(input_ids, position_ids)[keep], self.head, targets)
        held = self.peft(input_ids=input_ids, position_ids=position_ids, use_cache=False, logits_to_keep=keep)
        return F.cross_entropy(held.logits[0].float(), targets, reduction="sum")

    @contextlib.contextmanager
    def of(self, pack: Pack, through: Any = None) -> Iterator[Tensor]:
        """Summed cross-entropy of a pack's trained tokens; its backward pass has to come inside.

        Args:
            through: what wraps this module to average gradients over devices, if anything does.
        """
        made = tensors(pack, self._loaded.tokenizer.pad_token_id, self._loaded.device)
        with self._within(made.pop("lengths")):
            with self.autocast():
                found = (through or self)(**made)
            yield found

    def _within(self, lengths: list[int]) -> contextlib.AbstractContextManager:
        return attention.within(lengths, self._loaded.device) if self.rowwise else contextlib.nullcontext()

    def _hidden(self, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        made = self.base.base_model(input_ids=input_ids, position_ids=position_ids, use_cache=False)
        return made.last_hidden_state[0]

    def _choose(self, packed: bool) -> None:
        """The first of the ways that agrees with the model itself."""
        head = loss.head_of(self.base)
        before = attention.use(self.base)
        ways = [(True, head), (True, None), (False, None)] if head is not None else [(True, None), (False, None)]
        for self.rowwise, self.head in ways:
            if not self.rowwise:
                self.base.set_attn_implementation(before)
            off = self._off()
            if off < AGREED:
                return
            self.said = (
                f"This model makes attention or logits in a way of its own (off by {off:.2g}): slower ways used."
            )
        if packed:
            raise BadInput("In this model the rows of a batch see each other: set batch_size: 1, it can't be packed.")

    @torch.no_grad()
    def _off(self) -> float:
        """How far two rows in a pack come out from what the model makes of each alone, relative."""
        training, device = self.peft.training, self._loaded.device
        rows = [torch.tensor([[(7 * at + 3) % 500 for at in range(size)]], device=device) for size in _SIZES]
        positions = torch.cat([torch.arange(size, device=device) for size in _SIZES])[None]
        self.peft.eval()
        try:
            wanted = torch.cat([self.base(input_ids=row, use_cache=False).logits[0] for row in rows]).float()
            with self._within(list(_SIZES)):
                got = self._logits(torch.cat(rows, 1), positions).float()
        except (TypeError, AttributeError, RuntimeError, ValueError):  # it takes no positions, has no hidden states, …
            return float("inf")
        finally:
            self.peft.train(training)
        return float((got - wanted).norm() / wanted.norm())

    def _logits(self, ids: Tensor, positions: Tensor) -> Tensor:
        if self.head is not None:
            return self.head.logits(self._hidden(ids, positions))
        return self.base(input_ids=ids, position_ids=positions, use_cache=False).logits[0]
