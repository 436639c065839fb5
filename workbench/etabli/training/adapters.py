"""Put fresh LoRA adapters on a frozen 4-bit base."""

from typing import Any

from etabli.models.loading import Loaded
from etabli.training.recipe import Recipe


def attach(loaded: Loaded, recipe: Recipe) -> Any:
    """A PEFT model, ready to train.

    Adapters are float32 whatever the base computes in: a bf16 adapter loses small updates, and an fp16 one breaks the
    gradient scaler on a T4 (peft #341). The unquantised rest stays as it is: ``prepare_model_for_kbit_training``
    would cast it to float32, for about 20 % more memory and time.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(recipe.seed)
    targets = recipe.lora.target_modules
    config = LoraConfig(
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )
    loaded.model.config.name_or_path = loaded.name  # PEFT writes it into the adapter; the folder's path is private
    model = get_peft_model(loaded.model, config, autocast_adapter_dtype=True)
    if recipe.checkpointing == "all":
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    return model


def optimizer(model: Any, recipe: Recipe) -> Any:
    """The optimiser over the trainable parameters."""
    import torch

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=0.0)
    import bitsandbytes as bnb

    kinds = {"adamw8bit": bnb.optim.AdamW8bit, "paged_adamw8bit": bnb.optim.PagedAdamW8bit}
    return kinds[recipe.optimizer](parameters, lr=recipe.learning_rate, weight_decay=0.0)
