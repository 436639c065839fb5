"""Put rows of tokens into fixed-size packs, without padding between rows, in an order that any process can compute."""

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from etabli.runs.recipe import Recipe

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MASKED = -100  # the label of a token that is not trained
BLOCK = 64  # tokens: packs are padded to a multiple, so that few shapes occur and tensor cores are kept busy
OPEN_PACKS = 8  # packs that a row may still be put into


@dataclass(frozen=True)
class TokenizedRow:
    """One row as the model sees it: token ids and labels (as many), the row's id, and its slice (its language).

    ``tokens_lost`` is how many tokens the cut at ``max_length`` took from its end; ``thoughts_lost`` and ``tools_lost``
    are how many of its thoughts and tools the chat template leaves out, tools also where it leaves out a part.
    """

    id: str
    ids: list[int]
    labels: list[int]
    slice: str = "rows"
    tokens_lost: int = 0
    thoughts_lost: int = 0
    tools_lost: int = 0

    @property
    def trained_tokens(self) -> int:
        """How many tokens are trained. The first of a row is never predicted, so it does not count."""
        return sum(label != MASKED for label in self.labels[1:])


Pack = list[TokenizedRow]
FailedChecks = dict[str, list[tuple[str, str]]]  # name of a token check -> (row id, why it failed)


class Batch(TypedDict):
    """One pack as model inputs; see ``collate``."""

    input_ids: "Tensor"
    position_ids: "Tensor"
    keep: "Tensor"
    targets: "Tensor"
    lengths: list[int]


def pack_rows(rows: list[TokenizedRow], recipe: Recipe, epoch: int) -> list[Pack]:
    """Return the packs of one epoch; the same arguments always give the same packs.

    Rows are shuffled, then put first-fit into packs of ``tokens_per_batch`` tokens (or ``batch_size`` rows). Only the
    last ``OPEN_PACKS`` packs are tried, so that packing does not undo the shuffle.
    """
    rng = random.Random(f"{recipe.seed}-{epoch}")
    order = rng.sample(rows, len(rows))
    if recipe.batch_size or not recipe.tokens_per_batch:
        size = recipe.batch_size or 1
        return [order[start : start + size] for start in range(0, len(order), size)]
    packs: list[Pack] = []
    tokens_left: list[int] = []
    for row in order:
        length = len(row.ids)
        candidates = range(max(0, len(packs) - OPEN_PACKS), len(packs))
        number = next((number for number in candidates if tokens_left[number] >= length), None)
        if number is None:
            number = len(packs)
            packs.append([])
            tokens_left.append(recipe.tokens_per_batch)
        packs[number].append(row)
        tokens_left[number] -= length
    return packs


class PackSampler:
    """Says which packs make which optimiser step, over all epochs. Steps are counted from 1."""

    def __init__(self, rows: list[TokenizedRow], recipe: Recipe):
        self.rows, self.recipe = rows, recipe
        self._cached_epoch, self._cached_packs = -1, list[Pack]()
        self._counts = [len(self._packs_of_epoch(0))]
        if recipe.epochs:
            packs = sum(self._count(epoch) for epoch in range(recipe.epochs))
            self.steps = -(-packs // recipe.gradient_accumulation_steps)
        else:
            self.steps = recipe.max_steps or 0

    def packs(self, step: int) -> list[Pack]:
        """Return the packs of a step; the last step of the last epoch may have fewer."""
        count = self.recipe.gradient_accumulation_steps
        packs = (self._pack(number) for number in range((step - 1) * count, step * count))
        return [pack for pack in packs if pack is not None]

    def _pack(self, number: int) -> Pack | None:
        epoch = 0
        while number >= (count := self._count(epoch)):
            number -= count
            epoch += 1
            if self.recipe.epochs and epoch >= self.recipe.epochs:
                return None
        return self._packs_of_epoch(epoch)[number]

    def _count(self, epoch: int) -> int:
        while len(self._counts) <= epoch:
            self._counts.append(len(self._packs_of_epoch(len(self._counts))))
        return self._counts[epoch]

    def _packs_of_epoch(self, epoch: int) -> list[Pack]:
        if self._cached_epoch != epoch:
            self._cached_epoch, self._cached_packs = epoch, pack_rows(self.rows, self.recipe, epoch)
        return self._cached_packs


def collate(pack: Pack, pad: int, device: "torch.device | str") -> Batch:
    """Return one pack as model inputs.

    Positions begin at 0 in every row: with no attention mask and no cache, this keeps transformers' SDPA attention
    inside a row (with either of them rows leak into each other). The padding up to a multiple of ``BLOCK`` is a row of
    its own, without trained tokens.

    Returns:
        ``input_ids`` and ``position_ids`` int64 (1, tokens); ``keep`` int64 (trained,), the positions whose next
        token is trained; ``targets`` int64 (trained,), these next tokens;
        ``lengths``, a list: tokens of each row, and of the padding.
    """
    import torch

    ids: list[int] = []
    positions: list[int] = []
    labels: list[int] = []
    for row in pack:
        ids += row.ids
        positions += range(len(row.ids))
        labels += [MASKED, *row.labels[1:]]
    padding = -len(ids) % BLOCK
    ids += [pad] * padding
    positions += range(padding)
    labels += [MASKED] * padding
    next_labels = torch.tensor(labels[1:], dtype=torch.int64)
    keep = (next_labels != MASKED).nonzero()[:, 0]
    return {
        "input_ids": torch.tensor([ids]).to(device),
        "position_ids": torch.tensor([positions]).to(device),
        "keep": keep.to(device),
        "targets": next_labels[keep].to(device),
        "lengths": [len(row.ids) for row in pack] + [padding] * bool(padding),
    }
