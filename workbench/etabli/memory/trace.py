"""The bytes that a real training step holds, without its weights and without a GPU.

This project's engine (or transformers and PEFT as they come), with bitsandbytes, runs a step on fake tensors, which
have shapes and no contents, while every storage is counted from its making to its end. A few layers are traced; the
rest follows, since every phase grows linearly with them.

    echo '{"config": {...}, "setups": [{...}, ...]}' | python -m etabli.memory.trace

It runs in a process of its own, because it replaces parts of those libraries (``fakes``).
"""

import contextlib
import json
import sys
from collections.abc import Callable
from typing import Any

from etabli.training.tensor_counter import Allocations, Parts, count_model

# Layer types between which memory does not differ.
_ALIKE = {"full_attention", "sliding_attention", "chunked_attention", "attention"}


def main() -> None:
    """Answer one request a line, as long as any come: each setup traced on two numbers of layers."""
    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):
            said = _answered(json.loads(line))
        print(json.dumps(said), flush=True)


def _answered(asked: dict[str, Any]) -> dict[str, Any]:
    from etabli.memory import fake_model

    try:
        shape = fake_model.shape(asked["config"])
        few = asked.get("layers") or layers(shape)
        made = [[traced(asked["config"], setup, count) for count in few] for setup in asked["setups"]]
        return {"layers": [*few, shape.num_hidden_layers], "vocabulary": shape.vocab_size, "traced": made}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def layers(shape: Any) -> tuple[int, int]:
    """How many layers are traced: so many that the rest of the model is more of the same."""
    dense = getattr(shape, "first_k_dense_replace", None) or 0  # before the first mixture of experts
    kinds = getattr(shape, "layer_types", None) or []
    sparse = getattr(shape, "decoder_sparse_step", None) or 1  # every so many layers has experts
    if sparse > 1:
        return sparse, 2 * sparse
    if set(kinds) <= _ALIKE:
        return dense + 2, dense + 3
    period = next(size for size in range(1, len(kinds) + 1) if kinds[size:] == kinds[:-size])
    return period, 2 * period


def traced(config: dict[str, Any], setup: dict[str, Any], layers: int) -> dict[str, list[Parts]]:
    """What is alive in each phase, by part, in bytes, at every moment that may be its peak.

    Args:
        setup: the keys of a settled ``Setup``.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from etabli.memory import fake_model
    from etabli.memory.config import Setup

    wanted = Setup(**setup)
    fake_model.settle(wanted)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cpu"):
        model = fake_model.model(config, wanted, layers)
        counted = Allocations(model.config.get_text_config().vocab_size, wanted.rank, fake_model.width(wanted))
        count_model(model, counted)
        return steps(model, wanted, counted, fake_model.loss(model, wanted)) | {"merge": [_merge(model)]}


def steps(
    model: Any, setup: Any, counted: Any, loss: Callable[[], contextlib.AbstractContextManager]
) -> dict[str, list[Parts]]:
    """A step, with the optimiser's states there as in any step but the first; then an evaluation."""
    import torch

    trained = [held for held in model.parameters() if held.requires_grad]
    for held in trained:
        held.register_post_accumulate_grad_hook(lambda held: counted.rename([held.grad], "gradients"))
    optimizer = _optimizer(trained, setup)
    loaded = {name: size for name, size in counted.parts.items() if name != "adapters"}
    phases = {"load": [loaded | {"workspace": 2 * max(_sizes(model))}]}
    with counted:
        make_states(optimizer, trained, counted)
        counted.take_moments()
        with loss() as found:
            phases["forward"] = counted.take_moments()
            found.backward()
        del found
        phases["backward"] = counted.take_moments()
        counted.purpose = "states"
        optimizer.step()
        phases["optimizer"] = counted.take_moments()
        optimizer.zero_grad(set_to_none=True)
        counted.purpose = None
        cache = _cache(model.config.get_text_config()) * setup.tokens
        phases["generation"] = [counted.parts | {"activations": cache, "workspace": 2 * max(_sizes(model))}]
        model.eval()
        with torch.no_grad(), loss():
            phases["evaluation"] = counted.take_moments()
    return phases


def make_states(optimizer: Any, trained: list, counted: Any) -> None:
    """An optimiser's states come with its first step, and are there in every phase after it."""
    import torch

    counted.purpose = "states"
    for held in trained:
        held.grad = torch.zeros_like(held)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    counted.purpose = None


def _optimizer(trained: list, setup: Any) -> Any:
    import bitsandbytes as bnb
    import torch

    if setup.optimizer == "adamw":
        foreach = setup.device == "cuda"  # torch's own choice, where the tensors are real
        return torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0, foreach=foreach)
    return bnb.optim.AdamW8bit(trained, lr=1e-4, weight_decay=0.0)


def _sizes(model: Any) -> list[int]:
    """Weights of each matrix in 4 bits."""
    import bitsandbytes as bnb

    return [part.in_features * part.out_features for part in model.modules() if isinstance(part, bnb.nn.Linear4bit)]


def _cache(shape: Any) -> int:
    """Bytes of the keys and values of one token."""
    heads = getattr(shape, "num_key_value_heads", None) or shape.num_attention_heads
    width = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
    return 2 * 2 * shape.num_hidden_layers * heads * width


def _merge(model: Any) -> Parts:
    """In the host's memory: the whole base in 16 bits, the adapters, and one matrix's update in float32."""
    parts = {"unquantised": 2 * sum(_sizes(model)), "workspace": 2 * 4 * max(_sizes(model)), "adapters": 0}
    for held in model.parameters():
        if held.is_floating_point():
            parts["adapters" if held.requires_grad else "unquantised"] += held.nbytes
    return parts


if __name__ == "__main__":
    main()
