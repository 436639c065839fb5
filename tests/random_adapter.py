"""An adapter with random weights, for tests that need one and no training."""

from etabli.core import storage


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
