"""Put fresh LoRA adapters on a frozen 4-bit base; make the optimiser and the learning-rate scheduler."""

import math
from typing import TYPE_CHECKING

from etabli.models.loading import LoadedModel
from etabli.runs.recipe import Recipe

if TYPE_CHECKING:
    from peft import PeftModel
    from torch.nn import Module
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LambdaLR

RANGE = 1e4  # in a range test the learning rate rises by this factor


def add_lora(loaded_model: LoadedModel, recipe: Recipe) -> "PeftModel":
    """Return a PEFT model, ready to train.

    Adapters are float32 whatever the base computes in: a bf16 adapter loses small updates, and an fp16 one breaks the
    gradient scaler on a T4 (peft #341). The unquantised rest stays as it is: ``prepare_model_for_kbit_training``
    would cast it to float32, for about 20 % more memory and time.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(recipe.seed)
    config = LoraConfig(task_type="CAUSAL_LM", **recipe.lora.peft_fields())
    model = get_peft_model(loaded_model.model, config, autocast_adapter_dtype=True)
    for parameter in model.parameters():  # PEFT leaves copies of whole modules (modules_to_save) and biases in 16 bits
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    setting = recipe.gradient_checkpointing
    if setting not in ("auto", "none"):
        checkpoint_layers(model, None if setting == "all" else int(setting))
    return model


def checkpoint_layers(model: "PeftModel", count: int | None = None) -> None:
    """Recompute the first ``count`` layers, or all, in the backward pass instead of keeping their activations."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    for layer in layers[len(layers) if count is None else count :]:
        layer.gradient_checkpointing = False


def make_optimizer(model: "Module", recipe: Recipe) -> "Optimizer":
    """Return the optimiser of the trainable parameters; ``auto`` is paged 8-bit AdamW on CUDA, AdamW elsewhere."""
    import torch

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    name: str = recipe.optimizer
    if name == "auto":
        name = "paged_adamw8bit" if parameters[0].device.type == "cuda" else "adamw"
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=0.0)
    import bitsandbytes as bnb

    classes = {"adamw8bit": bnb.optim.AdamW8bit, "paged_adamw8bit": bnb.optim.PagedAdamW8bit}
    optimizer: Optimizer = classes[name](parameters, lr=recipe.learning_rate, weight_decay=0.0)
    return optimizer


def make_lr_scheduler(optimizer: "Optimizer", recipe: Recipe, steps: int) -> "LambdaLR":
    """Return the learning-rate scheduler; every one but ``range`` begins with ``warmup_steps`` steps of warm-up."""
    from torch.optim.lr_scheduler import LambdaLR
    from transformers import get_scheduler

    if recipe.lr_scheduler == "range":  # exponential, up to learning_rate (arXiv 1506.01186)
        return LambdaLR(optimizer, lambda step: math.exp(math.log(RANGE) * (min(step / max(1, steps - 1), 1) - 1)))
    name = "constant_with_warmup" if recipe.lr_scheduler == "constant" else recipe.lr_scheduler
    scheduler: LambdaLR = get_scheduler(name, optimizer, recipe.warmup_steps, steps)
    return scheduler
