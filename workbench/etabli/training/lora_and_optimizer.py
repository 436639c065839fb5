"""Put fresh LoRA adapters on a frozen 4-bit base, and choose what moves them."""

import math
from typing import Any

from etabli.models.loading import Loaded
from etabli.runs.recipe import Recipe


def attach(loaded: Loaded, recipe: Recipe) -> Any:
    """A PEFT model, ready to train.

    Adapters are float32 whatever the base computes in: a bf16 adapter loses small updates, and an fp16 one breaks the
    gradient scaler on a T4 (peft #341). The unquantised rest stays as it is: ``prepare_model_for_kbit_training``
    would cast it to float32, for about 20 % more memory and time.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(recipe.seed)
    config = LoraConfig(task_type="CAUSAL_LM", **recipe.lora.peft())
    loaded.model.config.name_or_path = loaded.name  # PEFT writes it into the adapter; the folder's path is private
    model = get_peft_model(loaded.model, config, autocast_adapter_dtype=True)
    for parameter in model.parameters():  # PEFT leaves copies of whole modules (modules_to_save) and biases in 16 bits
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if recipe.checkpointing not in ("auto", "none"):
        checkpoint_layers(model, None if recipe.checkpointing == "all" else int(recipe.checkpointing))
    return model


def checkpoint_layers(model: Any, most: int | None = None) -> None:
    """Let the first ``most`` layers, or all, be computed again in the backward pass instead of being kept."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    layers = [part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)]
    for layer in layers[len(layers) if most is None else most :]:
        layer.gradient_checkpointing = False


def optimizer(model: Any, recipe: Recipe) -> Any:
    """The optimiser over the trainable parameters; ``auto`` is paged 8-bit AdamW on CUDA and plain AdamW elsewhere."""
    import torch

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kind = recipe.optimizer
    if kind == "auto":
        kind = "paged_adamw8bit" if parameters[0].device.type == "cuda" else "adamw"
    if kind == "adamw":
        return torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=0.0)
    import bitsandbytes as bnb

    kinds = {"adamw8bit": bnb.optim.AdamW8bit, "paged_adamw8bit": bnb.optim.PagedAdamW8bit}
    return kinds[kind](parameters, lr=recipe.learning_rate, weight_decay=0.0)


RANGE = 1e4  # in a range test the rate rises so many times over


def rates(optimizer: Any, recipe: Recipe, steps: int) -> Any:
    """The schedule of learning rates; every one but ``range`` begins with ``warmup_steps`` steps of warm-up."""
    from torch.optim.lr_scheduler import LambdaLR
    from transformers import get_scheduler

    if recipe.schedule == "range":  # exponential, up to learning_rate (arXiv 1506.01186)
        return LambdaLR(optimizer, lambda step: math.exp(math.log(RANGE) * (min(step / max(1, steps - 1), 1) - 1)))
    name = "constant_with_warmup" if recipe.schedule == "constant" else recipe.schedule
    return get_scheduler(name, optimizer, recipe.warmup_steps, steps)
