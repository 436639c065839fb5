"""Rows of tokens to fixed-size packs, without padding between rows, and a plan that any process can make again."""

import random
from dataclasses import dataclass
from typing import Any

from etabli.runs.recipe import Recipe

MASKED = -100


@dataclass(frozen=True)
class Encoded:
    """One row as the model sees it: two lists of one length, where it comes from, and its slice (its language)."""

    id: str
    ids: list[int]
    labels: list[int]
    slice: str = "rows"

    @property
    def trained(self) -> int:
        """How many tokens are trained. The first of a row is never predicted from anything."""
        return sum(label != MASKED for label in self.labels[1:])


Pack = list[Encoded]


Failed = dict[str, list[tuple[str, str]]]  # assertion -> (row id, why)


def plan(rows: list[Encoded], recipe: Recipe, epoch: int) -> list[Pack]:
    """The packs of one epoch, the same whenever and wherever it is asked for.

    Rows are shuffled, then put first-fit into packs of ``tokens_per_batch`` tokens (or ``batch_size`` rows), looking
    back over the last few open packs only, so that packing does not undo the shuffle.
    """
    rng = random.Random(f"{recipe.seed}-{epoch}")
    order = rng.sample(rows, len(rows))
    if recipe.batch_size:
        return [order[at : at + recipe.batch_size] for at in range(0, len(order), recipe.batch_size)]
    packs: list[Pack] = []
    room: list[int] = []
    for row in order:
        size = len(row.ids)
        first = max(0, len(packs) - 8)
        fit = next((at for at in range(first, len(packs)) if room[at] >= size), None)
        if fit is None:
            fit = len(packs)
            packs.append([])
            room.append(recipe.tokens_per_batch)
        packs[fit].append(row)
        room[fit] -= size
    return packs


class Schedule:
    """Which packs make which optimiser step, over all epochs. Steps are counted from 1."""

    def __init__(self, rows: list[Encoded], recipe: Recipe):
        self.rows, self.recipe = rows, recipe
        self._epoch: tuple[int, list[Pack]] = (-1, [])
        self._counts = [len(self._packs(0))]
        if recipe.epochs:
            packs = sum(self._count(epoch) for epoch in range(recipe.epochs))
            self.steps = -(-packs // recipe.accumulate)
        else:
            self.steps = recipe.max_steps

    def packs(self, step: int) -> list[Pack]:
        """The packs of a step; the last step of the last epoch may have fewer."""
        first = (step - 1) * self.recipe.accumulate
        found = (self._pack(number) for number in range(first, first + self.recipe.accumulate))
        return [pack for pack in found if pack is not None]

    def _pack(self, number: int) -> Pack | None:
        epoch = 0
        while number >= (count := self._count(epoch)):
            number -= count
            epoch += 1
            if self.recipe.epochs and epoch >= self.recipe.epochs:
                return None
        return self._packs(epoch)[number]

    def _count(self, epoch: int) -> int:
        while len(self._counts) <= epoch:
            self._counts.append(len(self._packs(len(self._counts))))
        return self._counts[epoch]

    def _packs(self, epoch: int) -> list[Pack]:
        if self._epoch[0] != epoch:
            self._epoch = (epoch, plan(self.rows, self.recipe, epoch))
        return self._epoch[1]


BLOCK = 64  # tokens: packs are filled up to a multiple, so that few shapes occur and tensor cores are kept busy


def tensors(pack: Pack, pad: int, device: Any) -> dict[str, Any]:
    """One pack as model inputs.

    Positions begin at 0 in every row: that, with no attention mask and no cache, is what keeps transformers' SDPA
    attention inside a row (with either of them rows leak into each other). What fills the last ``BLOCK`` is a row of
    its own, of which nothing is trained.

    Returns:
        ``input_ids`` and ``position_ids`` int64 (1, tokens); ``keep`` int64 (trained,), the positions whose next
        token is trained; ``targets`` int64 (trained,).
        ``lengths``, a list: tokens of each row, and of what was filled up.
    """
    import torch

    ids, positions, labels = [], [], []
    for row in pack:
        ids += row.ids
        positions += range(len(row.ids))
        labels += [MASKED, *row.labels[1:]]
    blank = -len(ids) % BLOCK
    ids += [pad] * blank
    positions += range(blank)
    labels += [MASKED] * blank
    after = torch.tensor(labels[1:], dtype=torch.int64)
    keep = (after != MASKED).nonzero()[:, 0]
    made = {"input_ids": torch.tensor([ids]), "position_ids": torch.tensor([positions])}
    there = {name: value.to(device) for name, value in (made | {"keep": keep, "targets": after[keep]}).items()}
    return there | {"lengths": [len(row.ids) for row in pack] + [blank] * bool(blank)}
