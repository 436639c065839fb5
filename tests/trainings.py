"""A small real training in this process, to look inside: its gradients and its loss."""

from etabli.training import material
from etabli.training.recipe import Recipe


class Log(list):
    def write(self, kind, **fields):
        self.append({"kind": kind, **fields})


def training(tiny, dataset, tmp_path, **keys):
    from etabli.models import loading
    from etabli.training.loop import Training

    recipe = Recipe(model=tiny, data=str(dataset), max_steps=4, **keys)
    loaded = loading.load(tiny)
    return Training(tmp_path, recipe, loaded, material.gather(recipe, loaded.tokenizer), Log())


def gradients(training, packs):
    training.model.train()
    training.optimizer.zero_grad()
    training.backward(packs, sum(row.trained for pack in packs for row in pack))
    return [parameter.grad.clone() for parameter in training.trainable if parameter.grad is not None]


def cosine(one, other):
    import torch

    flat = [torch.cat([g.flatten() for g in gs]).double() for gs in (one, other)]
    return float(torch.nn.functional.cosine_similarity(*flat, dim=0))


def in_float32(training):
    """No rounding to bfloat16 anywhere, so that what is compared is the formula."""
    import contextlib

    import bitsandbytes as bnb
    import torch

    training.objective.autocast = training.accelerator.autocast = contextlib.nullcontext
    for module in training.model.modules():
        if isinstance(module, bnb.nn.Linear4bit):
            module.compute_dtype = torch.float32
            module.weight.quant_state.dtype = torch.float32
    training.model.float()
    training.objective._choose(True)


def loss(training, pack):
    with training.objective.of(pack) as found:
        return found.item()
