"""An adapter with random weights, for tests that need one and no training."""

import shutil

from etabli.core import storage
from etabli.core.contracts import RECIPE


def adapted(model, folder, scale, seed=0):
    """A LoRA adapter with random weights, saved as a run saves its own. ``scale`` 0 changes nothing."""
    import torch

    from etabli.models import loading
    from etabli.runs import checkpoints
    from etabli.runs.recipe import Recipe
    from etabli.training import lora_and_optimizer

    loaded = loading.load(model)
    peft = lora_and_optimizer.add_lora(loaded, Recipe(data="x", model=model))
    torch.manual_seed(seed)
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=scale) if scale else torch.nn.init.zeros_(parameter)
    with storage.write_folder(folder) as place:
        checkpoints.save_adapter(peft, loaded.source, place)


def sure_run(family, place, tokenizer_folder):
    """A run in ``place``: an adapter that changes much, on a small model that is sure of its random answers."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from etabli.data.dataset import Dataset
    from etabli.data.samples import home_commands
    from etabli.runs.adapter_run import open_adapter
    from etabli.runs.recipe import Recipe

    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    more = {"num_key_value_heads": 2, "vocab_size": 49152, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **sizes, **more))
    for parameter in model.parameters():
        parameter.data *= 3 if parameter.ndim > 1 else 1
    model.lm_head.weight.data *= 10
    model.bfloat16().save_pretrained(place / "model")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy2(tokenizer_folder / name, place / "model" / name)
    Dataset(home_commands(n=40, test=8, seed=0)).save(place / "data")
    Recipe(data=str(place / "data"), model=str(place / "model"), dtype="float32").save(place / "run" / RECIPE)
    adapted(str(place / "model"), place / "run" / "adapter", 0.5, 0)
    return open_adapter(place / "run")
