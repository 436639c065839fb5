"""A small real training in this process, to look inside: its gradients and its loss."""

from etabli.runs.recipe import Recipe
from etabli.training import train_data, trainer


class Log(list):
    def write(self, kind, **fields):
        self.append({"kind": kind, **fields})


def training(tiny, dataset, tmp_path, **keys):
    from accelerate.state import AcceleratorState

    from etabli.models import loading

    AcceleratorState._reset_state(reset_partial_state=True)  # it keeps one precision a process, each run has its own
    recipe = Recipe(model=tiny, data=str(dataset), max_steps=4, **keys)
    loaded = loading.load(tiny, dtype=recipe.dtype, keep_dequantized=False)
    return trainer.Training(tmp_path, recipe, loaded, train_data.load_train_data(recipe, loaded.tokenizer), Log())


def gradients(training, packs):
    """Of the mean loss of some packs, as the engine makes them, but not clipped."""
    training.model.train()
    training.optimizer.zero_grad()
    clip, trainer.CLIP = trainer.CLIP, 1e9
    training.backward(packs, sum(row.trained_tokens for pack in packs for row in pack))
    trainer.CLIP = clip
    return [parameter.grad.clone() for parameter in training.trainable if parameter.grad is not None]


def names(training):
    return [name for name, one in training.peft.named_parameters() if one.requires_grad]


def by_formula(training, packs):
    """The same gradients from a plain float32 model whose weights are W + scale B A, each row by itself."""
    import torch
    import torch.nn.functional as F
    from bitsandbytes.functional import dequantize_4bit
    from transformers import AutoModelForCausalLM

    base = training.peft.get_base_model()
    plain = AutoModelForCausalLM.from_config(base.config).float().eval()
    moved = {name: one.detach().float() for name, one in base.named_parameters() if "lora" not in name}
    leaves = []
    for name, module in base.named_modules():
        if hasattr(module, "lora_A"):
            held, scale = module.base_layer.weight, module.scaling["default"]
            pair = module.lora_A["default"].weight, module.lora_B["default"].weight
            down, up = (one.detach().clone().requires_grad_() for one in pair)
            moved[f"{name}.weight"] = dequantize_4bit(held.data, held.quant_state).float() + scale * up @ down
            moved.pop(f"{name}.base_layer.weight")
            leaves += [down, up]
    total = sum(row.trained_tokens for pack in packs for row in pack)
    loss = 0.0
    for row in (row for pack in packs for row in pack):
        held = torch.func.functional_call(plain, moved, (torch.tensor([row.ids]),), {"use_cache": False})
        targets = torch.tensor(row.labels[1:])
        loss = loss + F.cross_entropy(held.logits[0, :-1], targets, ignore_index=-100, reduction="sum") / total
    loss.backward()
    return [leaf.grad for leaf in leaves]


def cosine(one, other):
    import torch

    flat = [torch.cat([g.flatten() for g in gs]).double() for gs in (one, other)]
    return float(torch.nn.functional.cosine_similarity(*flat, dim=0))


def in_float32(training):
    """No rounding to bfloat16 anywhere, so that what is compared is the formula."""
    import contextlib

    import bitsandbytes as bnb
    import torch

    training.packed_loss.autocast = training.accelerator.autocast = contextlib.nullcontext
    for module in training.model.modules():
        if isinstance(module, bnb.nn.Linear4bit):
            module.compute_dtype = torch.float32
            module.weight.quant_state.dtype = torch.float32
    training.model.float()
    training.packed_loss._choose_fast_paths(True)


def loss(training, pack):
    with training.packed_loss.compute(pack) as found:
        return found.item()
