"""The loss of a pack: rows that do not see each other, logits for the trained tokens alone, computed in chunks."""

import contextlib
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from etabli.core.errors import BadInput, NotFinite
from etabli.models.kept_matrices import KeptMatrices
from etabli.models.loading import LoadedModel
from etabli.training import chunked_cross_entropy, lora_linear4bit, oom, packed_attention, rms_norm
from etabli.training.packing import Pack, collate

if TYPE_CHECKING:
    from peft import PeftModel

# The largest relative difference of a token's logits. A first token that sees the row before it is off by about 1.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}
_LENGTHS = (9, 13)  # tokens of the two rows that the fast paths are tried on


class PackedLoss(torch.nn.Module):
    """Summed cross-entropy of packs under a PEFT model; a module, so that DDP can average its gradients.

    The engine's fast paths (attention row by row, cross-entropy in chunks) are tried on two made-up rows first. Where
    they do not give what the model itself gives, because it computes attention or logits in a way of its own,
    transformers' own path is used, and ``warning`` says so.

    Args:
        peft: the base with its adapter. autocast: returns the context of the forward pass.
        packed: rows are packed. A model in which rows see each other on every path is then refused.

    Raises:
        BadInput: that refusal. NotFinite: the model itself gives NaN or infinite logits.
    """

    def __init__(
        self,
        peft: "PeftModel",
        loaded_model: LoadedModel,
        autocast: Callable[[], AbstractContextManager[object]],
        packed: bool = True,
    ):
        super().__init__()
        self.peft, self.base = peft, peft.get_base_model()
        self._loaded, self.autocast = loaded_model, autocast
        self.warning = ""
        self.rowwise = False  # attention row by row
        self.head: chunked_cross_entropy.Head | None = None  # for cross-entropy in chunks
        self.kept_matrices = KeptMatrices(peft, loaded_model.dtype)
        lora_linear4bit.fuse(peft)
        rms_norm.fuse(peft)
        self._choose_fast_paths(packed)

    def forward(self, input_ids: Tensor, position_ids: Tensor, keep: Tensor, targets: Tensor) -> Tensor:
        """Return the summed cross-entropy of the trained tokens; the arguments are those of ``packing.collate``."""
        if self.head is not None:
            hidden_states = self._hidden_states(input_ids, position_ids)[keep]
            return chunked_cross_entropy.summed_cross_entropy(hidden_states, self.head, targets)
        output = self.peft(input_ids=input_ids, position_ids=position_ids, use_cache=False, logits_to_keep=keep)
        return F.cross_entropy(output.logits[0].float(), targets, reduction="sum")

    @contextlib.contextmanager
    def compute(self, pack: Pack, wrapper: torch.nn.Module | None = None) -> Iterator[Tensor]:
        """Give the summed cross-entropy of a pack's trained tokens; call its backward pass inside the context.

        Args:
            wrapper: the module that wraps this one to average gradients over devices, if there is one.
        """
        batch = collate(pack, self._loaded.tokenizer.pad_token_id, self._loaded.device)
        with self._row_attention(batch["lengths"]):
            with self.autocast():
                loss = (wrapper or self)(
                    input_ids=batch["input_ids"],
                    position_ids=batch["position_ids"],
                    keep=batch["keep"],
                    targets=batch["targets"],
                )
            yield loss

    def _row_attention(self, lengths: list[int]) -> AbstractContextManager[None]:
        if self.rowwise:
            return packed_attention.attend_by_row(lengths, self._loaded.device)
        return contextlib.nullcontext()

    def _hidden_states(self, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        output = self.base.base_model(input_ids=input_ids, position_ids=position_ids, use_cache=False)
        hidden_states: Tensor = output.last_hidden_state[0]
        return hidden_states

    def _choose_fast_paths(self, packed: bool) -> None:
        """Use the fastest combination of paths that agrees with the model itself."""
        reference = self._trial_logits(lambda rows: torch.cat([self._model_logits(row, None) for row in rows]))
        if not reference.isfinite().all():
            raise NotFinite(f"The model itself gives numbers that are not finite in {self._loaded.dtype}.")
        previous, head = packed_attention.use_row_attention(self.base), chunked_cross_entropy.find_head(self.base)
        for self.rowwise, self.head in dict.fromkeys([(True, head), (False, head), (True, None), (False, None)]):
            self.base.set_attn_implementation(packed_attention.NAME if self.rowwise else previous)
            difference = self._difference_from(reference)
            if difference < TOLERANCE[self._loaded.dtype]:
                return
            self.warning = (
                f"This model has attention or logits of its own kind (off by {difference:.2g}): a slower way is used."
            )
        if packed:
            raise BadInput("In this model the rows of a batch see each other: set batch_size: 1, it can't be packed.")

    def _difference_from(self, reference: Tensor) -> float:
        """Return the largest relative difference of a token's logits: two rows in a pack against each row alone."""
        positions = torch.cat([torch.arange(length, device=self._loaded.device) for length in _LENGTHS])[None]
        try:
            with self._row_attention(list(_LENGTHS)):
                packed = self._trial_logits(lambda rows: self._logits(torch.cat(rows, 1), positions))
        except (TypeError, AttributeError, RuntimeError, ValueError) as error:
            if oom.is_out_of_memory(error):
                raise
            return math.inf  # the model takes no positions, has no hidden states, …
        return float(((packed - reference).norm(dim=-1) / reference.norm(dim=-1)).max().nan_to_num(math.inf))

    @torch.no_grad()
    def _trial_logits(self, compute: Callable[[list[Tensor]], Tensor]) -> Tensor:
        """Return float32 logits of the two trial rows, computed without dropout."""
        training, device = self.peft.training, self._loaded.device
        rows = [torch.tensor([[(7 * place + 3) % 500 for place in range(size)]], device=device) for size in _LENGTHS]
        self.peft.eval()
        try:
            with self.autocast():
                return compute(rows).float()
        finally:
            self.peft.train(training)

    def _logits(self, ids: Tensor, positions: Tensor) -> Tensor:
        if self.head is not None:
            return self.head.logits(self._hidden_states(ids, positions))
        return self._model_logits(ids, positions)

    def _model_logits(self, ids: Tensor, positions: Tensor | None) -> Tensor:
        logits: Tensor = self.base(input_ids=ids, position_ids=positions, use_cache=False).logits[0]
        return logits
