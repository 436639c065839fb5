"""The bytes that a real training step holds, measured without the weights and without a GPU.

This project's engine (or transformers and PEFT as installed), with bitsandbytes, runs a step on fake tensors, which
have shapes and no contents. Every storage is counted from its creation to its end. A few layers are traced; every
phase grows linearly with the layers.

    echo '{"config": {...}, "setups": [{...}, ...]}' | python -m etabli.memory.trace

It runs in its own process, because it replaces parts of those libraries (``fake_model``).
"""

import contextlib
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from etabli.training.tensor_counter import Parts, TensorCounter, count_model

if TYPE_CHECKING:
    import torch
    from torch.nn import Module, Parameter
    from transformers import PretrainedConfig, PreTrainedModel

    from etabli.memory.config import Setup

_SAME_MEMORY = {"full_attention", "sliding_attention", "chunked_attention", "attention"}  # layer types


def main() -> None:
    """Answer one JSON request a line, until the input ends: each setup traced on two numbers of layers."""
    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):
            response = _respond(json.loads(line))
        print(json.dumps(response), flush=True)


def _respond(request: dict[str, Any]) -> dict[str, Any]:
    from etabli.memory import fake_model

    try:
        config = fake_model.build_config(request["config"])
        few = request.get("layers") or layers_to_trace(config)
        traces = [[trace_setup(request["config"], setup, count) for count in few] for setup in request["setups"]]
        return {"layers": [*few, config.num_hidden_layers], "vocabulary": config.vocab_size, "traced": traces}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def layers_to_trace(config: "PretrainedConfig") -> tuple[int, int]:
    """Return two numbers of layers, so that more layers only repeat what is between them."""
    dense_layers = getattr(config, "first_k_dense_replace", None) or 0  # before the first mixture of experts
    types = getattr(config, "layer_types", None) or []
    expert_step = getattr(config, "decoder_sparse_step", None) or 1  # every so many layers has experts
    if expert_step > 1:
        return expert_step, 2 * expert_step
    if set(types) <= _SAME_MEMORY:
        return dense_layers + 2, dense_layers + 3
    period = next(size for size in range(1, len(types) + 1) if types[size:] == types[:-size])
    return period, 2 * period


def trace_setup(config: dict[str, Any], settings: dict[str, Any], layers: int) -> dict[str, list[Parts]]:
    """Return, for each phase, the bytes by part at every moment that may be its peak.

    Args:
        config: the model's ``config.json``.
        settings: the keys of a ``Setup`` without ``auto``.
        layers: layers of the model that is traced.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from etabli.memory import fake_model
    from etabli.memory.config import Setup

    setup = Setup(**settings)
    fake_model.patch_libraries(setup)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cpu"):
        model = fake_model.build_model(config, setup, layers)
        width = setup.seq if setup.engine == "trainer" else setup.filled_tokens  # tokens in one row of the batch
        counter = TensorCounter(model.config.get_text_config().vocab_size, setup.rank, width)
        count_model(model, counter)
        return trace_step(model, setup, counter, fake_model.build_loss(model, setup)) | {"merge": [_merge_parts(model)]}


def trace_step(
    model: "PreTrainedModel",
    setup: "Setup",
    counter: TensorCounter,
    compute_loss: "Callable[[], contextlib.AbstractContextManager[torch.Tensor]]",
) -> dict[str, list[Parts]]:
    """Return the moments of a training step with the optimiser's states (not the first), then of an evaluation."""
    import torch

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.register_post_accumulate_grad_hook(lambda tensor: counter.rename([tensor.grad], "gradients"))
    optimizer = _build_optimizer(parameters, setup)
    largest_matrix = max(_matrix_sizes(model))
    base_parts = {name: size for name, size in counter.parts.items() if name != "adapters"}
    phases: dict[str, list[Parts]] = {"load": [base_parts | {"workspace": 2 * largest_matrix}]}
    with counter:
        make_states(optimizer, parameters, counter)
        counter.take_moments()
        with compute_loss() as loss:
            phases["forward"] = counter.take_moments()
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        del loss
        phases["backward"] = counter.take_moments()
        counter.purpose = "states"
        optimizer.step()
        phases["optimizer"] = counter.take_moments()
        optimizer.zero_grad(set_to_none=True)
        counter.purpose = None
        cache = _cache_bytes(model.config.get_text_config()) * setup.tokens
        phases["generation"] = [counter.parts | {"activations": cache, "workspace": 2 * largest_matrix}]
        model.eval()
        with torch.no_grad(), compute_loss():
            phases["evaluation"] = counter.take_moments()
    return phases


def make_states(optimizer: "torch.optim.Optimizer", parameters: "list[Parameter]", counter: TensorCounter) -> None:
    """Make the optimiser's states: they come with its first step and stay for all later phases."""
    import torch

    counter.purpose = "states"
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    counter.purpose = None


def _build_optimizer(parameters: "list[Parameter]", setup: "Setup") -> "torch.optim.Optimizer":
    import bitsandbytes as bnb
    import torch

    if setup.optimizer == "adamw":
        foreach = setup.device == "cuda"  # what torch chooses for real tensors
        return torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, foreach=foreach)
    optimizer: torch.optim.Optimizer = bnb.optim.AdamW8bit(parameters, lr=1e-4, weight_decay=0.0)
    return optimizer


def _matrix_sizes(model: "Module") -> list[int]:
    """The number of weights of each 4-bit matrix."""
    import bitsandbytes as bnb

    return [layer.in_features * layer.out_features for layer in model.modules() if isinstance(layer, bnb.nn.Linear4bit)]


def _cache_bytes(config: "PretrainedConfig") -> int:
    """Bytes of the keys and values of one token, in 16 bits."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * 2 * config.num_hidden_layers * heads * head_size)


def _merge_parts(model: "Module") -> Parts:
    """Bytes of a merge on the host: the whole base in 16 bits, the adapters, one matrix's update in float32."""
    sizes = _matrix_sizes(model)
    parts = {"unquantised": 2 * sum(sizes), "workspace": 2 * 4 * max(sizes), "adapters": 0}
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parts["adapters" if parameter.requires_grad else "unquantised"] += parameter.nbytes
    return parts


if __name__ == "__main__":
    main()
