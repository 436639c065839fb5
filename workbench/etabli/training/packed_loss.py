"""The loss of a pack: rows that do not see each other, logits for the trained tokens alone, and those in chunks."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from etabli.core.errors import BadInput, NotFinite
from etabli.models.loading import Loaded
from etabli.training import chunked_cross_entropy, lora_linear4bit, oom, packed_attention
from etabli.training.packing import Pack, tensors

# Of a token's logits, relative. A first token that sees the row before it is off by about 1.
AGREED = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}
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
        lora_linear4bit.fuse(peft)
        self._choose(packed)

    def forward(self, input_ids: Tensor, position_ids: Tensor, keep: Tensor, targets: Tensor) -> Tensor:
        """See ``batches.tensors``."""
        if self.head is not None:
            return chunked_cross_entropy.summed(self._hidden(input_ids, position_ids)[keep], self.head, targets)
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
        return packed_attention.within(lengths, self._loaded.device) if self.rowwise else contextlib.nullcontext()

    def _hidden(self, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        made = self.base.base_model(input_ids=input_ids, position_ids=position_ids, use_cache=False)
        return made.last_hidden_state[0]

    def _choose(self, packed: bool) -> None:
        """The first of the ways that agrees with the model itself."""
        wanted = self._tried(lambda rows: torch.cat([self._own(row, None) for row in rows]))
        if not wanted.isfinite().all():
            raise NotFinite(f"The model itself gives numbers that are not finite in {self._loaded.dtype}.")
        before, head = packed_attention.use(self.base), chunked_cross_entropy.head_of(self.base)
        for self.rowwise, self.head in dict.fromkeys([(True, head), (False, head), (True, None), (False, None)]):
            self.base.set_attn_implementation(packed_attention.NAME if self.rowwise else before)
            off = self._off(wanted)
            if off < AGREED[self._loaded.dtype]:
                return
            self.said = f"This model has attention or logits of its own kind (off by {off:.2g}): a slower way is used."
        if packed:
            raise BadInput("In this model the rows of a batch see each other: set batch_size: 1, it can't be packed.")

    def _off(self, wanted: Tensor) -> float:
        """How far two rows in a pack come out from what the model makes of each alone: of the worst token, relative."""
        positions = torch.cat([torch.arange(size, device=self._loaded.device) for size in _SIZES])[None]
        try:
            with self._within(list(_SIZES)):
                got = self._tried(lambda rows: self._logits(torch.cat(rows, 1), positions))
        except (TypeError, AttributeError, RuntimeError, ValueError) as error:
            if oom.ran_out(error):
                raise
            return math.inf  # it takes no positions, has no hidden states, …
        return float(((got - wanted).norm(dim=-1) / wanted.norm(dim=-1)).max().nan_to_num(math.inf))

    @torch.no_grad()
    def _tried(self, make: Callable[[list[Tensor]], Tensor]) -> Tensor:
        """Float32 logits of the two rows, without dropout."""
        training, device = self.peft.training, self._loaded.device
        rows = [torch.tensor([[(7 * at + 3) % 500 for at in range(size)]], device=device) for size in _SIZES]
        self.peft.eval()
        try:
            with self.autocast():
                return make(rows).float()
        finally:
            self.peft.train(training)

    def _logits(self, ids: Tensor, positions: Tensor) -> Tensor:
        if self.head is not None:
            return self.head.logits(self._hidden(ids, positions))
        return self._own(ids, positions)

    def _own(self, ids: Tensor, positions: Tensor | None) -> Tensor:
        return self.base(input_ids=ids, position_ids=positions, use_cache=False).logits[0]
