"""The best plain loop that we can write: transformers, PEFT and bitsandbytes as they come, no code of this project.

Batches of rows of like length, padded at the end and so without any mask; logits for the trained tokens alone; adapters
in the compute dtype with float32 masters, so that no layer casts its input. ``benchmarks/engine.py`` runs it as the
arms ``plain`` and ``plain-dequantized``, each in the dtype that is faster on the machine.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

Row = tuple[list[int], list[int]]  # ids, labels
Batch = tuple[torch.Tensor, torch.Tensor]  # int64 (rows, tokens): ids, labels
IGNORED = -100


def train(
    model: Any, rows: list[Row], batch_size: int, rate: float, seed: int, on_step: Callable[[list[Batch]], None]
) -> None:
    """Train the adapters of a PEFT model for one epoch; the learning rate falls in a line to 0."""
    batches = make_batches(rows, batch_size, seed)
    adapters = [weight for weight in model.parameters() if weight.requires_grad]
    masters = [weight.detach().float().requires_grad_() for weight in adapters]
    optimizer = torch.optim.AdamW(masters, lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / len(batches))
    model.train()
    for batch in batches:
        ids, labels = (part.to(adapters[0].device) for part in batch)
        loss_of(model, ids, labels).backward()
        for master, weight in zip(masters, adapters):
            master.grad, weight.grad = weight.grad.float(), None
        torch.nn.utils.clip_grad_norm_(masters, 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            torch._foreach_copy_(adapters, masters)
        on_step([batch])


def make_batches(rows: list[Row], batch_size: int, seed: int) -> list[Batch]:
    """Return batches of rows of like length, in random order, padded to their longest row."""
    ordered = sorted(rows, key=lambda row: len(row[0]))
    groups = [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]
    random.Random(seed).shuffle(groups)
    return [tuple(_padded(group)) for group in groups]  # type: ignore[misc]


def _padded(group: list[Row]) -> Iterator[torch.Tensor]:
    longest = max(len(ids) for ids, _ in group)
    for part, filler in ((0, 0), (1, IGNORED)):
        yield torch.tensor([[*row[part], *[filler] * (longest - len(row[part]))] for row in group])


def loss_of(model: Any, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of the trained tokens. Padding comes last, where causal attention never looks."""
    base = model.get_base_model()
    states = base.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    kept = labels[:, 1:] != IGNORED
    return F.cross_entropy(base.lm_head(states[kept]).float(), labels[:, 1:][kept])


def dequantize(model: Any) -> None:
    """Replace every 4-bit layer by a frozen linear one with the same values in the compute dtype."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    for name, layer in [*model.named_modules()]:
        if isinstance(layer, Linear4bit):
            weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state).to(layer.compute_dtype)
            plain = torch.nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
            plain.weight = torch.nn.Parameter(weight, requires_grad=False)
            if layer.bias is not None:
                plain.bias = layer.bias
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, plain)
