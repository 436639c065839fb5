"""Choose a model for this GPU: a ladder of ungated instruct models, each with suitable recipe settings.

The memory needs are estimates for rank 16 on every linear layer at 1024 tokens, from published peaks of similar models;
none of the CUDA rungs has been run yet.
"""

from dataclasses import dataclass, field

from etabli.core import machine
from etabli.core.wording import format_gib
from etabli.models.sources import DEFAULT


@dataclass(frozen=True)
class Rung:
    """A model, the free memory it needs, and the recipe settings it changes."""

    model: str
    needs_bytes: float
    recipe: dict[str, object] = field(default_factory=dict)


_LARGE = {
    "gradient_checkpointing": "all",
    "optimizer": "paged_adamw8bit",
    "tokens_per_batch": 1024,
    "gradient_accumulation_steps": 4,
    "learning_rate": 2e-4,
}
LADDER = (
    Rung("Qwen/Qwen3-8B", 14e9, _LARGE),
    Rung("Qwen/Qwen3-4B-Instruct-2507", 9e9, _LARGE),
    Rung(
        "HuggingFaceTB/SmolLM2-1.7B-Instruct", 5e9, {**_LARGE, "gradient_accumulation_steps": 2, "learning_rate": 3e-4}
    ),
    Rung("Qwen/Qwen2.5-0.5B-Instruct", 3e9, {"tokens_per_batch": 2048, "learning_rate": 5e-4}),
)


def recipe_overrides(model: str) -> dict[str, object]:
    """Return the recipe settings for a model, careful ones if it has no rung; none for the default or without CUDA."""
    import torch

    if model == DEFAULT or not torch.cuda.is_available():
        return {}
    return next((rung.recipe for rung in LADDER if rung.model == model), _LARGE)


def choose_model() -> tuple[str, dict[str, object], str]:
    """Return the model for this machine, the recipe settings it changes, and the reason for the choice."""
    import torch

    if not torch.cuda.is_available():
        return DEFAULT, {}, "no CUDA GPU here: the embedded 135M model runs on the processor"
    free = torch.cuda.mem_get_info()[0]
    if not machine.hub_reachable():
        return DEFAULT, {}, "the Hub can't be reached: the embedded 135M model is used"
    for rung in LADDER:
        if free >= rung.needs_bytes:
            return (
                rung.model,
                rung.recipe,
                f"{format_gib(free)} free, {rung.model} needs about {format_gib(rung.needs_bytes, digits=0)}",
            )
    return (
        DEFAULT,
        {},
        f"{format_gib(free)} free is less than the smallest rung needs: the embedded 135M model is used",
    )
