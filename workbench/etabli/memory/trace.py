"""The bytes that a real training step holds, measured without the weights and without a GPU.

This project's engine (or transformers and PEFT as installed), with bitsandbytes, runs a step on fake tensors, which
have shapes and no contents. Every storage is counted from its creation to its end. A few layers are traced; every
phase grows linearly with the layers. It replaces parts of those libraries (``fake_model``), so it has a process of its
own (``trace_cache``).
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

import bitsandbytes as bnb
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from etabli.core.contracts import MemorySetup
from etabli.core.errors import BadInput
from etabli.memory import fake_model
from etabli.memory.config import ROUND, ModelConfig, Setup
from etabli.training import chunked_cross_entropy as loss_module
from etabli.training import packed_attention
from etabli.training.autograd import Context
from etabli.training.tensor_counter import Parts, TensorCounter, count_model

if TYPE_CHECKING:
    from peft import PeftModel
    from torch.nn import Module, Parameter
    from transformers import PretrainedConfig, PreTrainedModel

    from etabli.models.loading import LoadedModel

Loss: TypeAlias = Callable[[], AbstractContextManager[Tensor]]
_SAME_MEMORY = {"full_attention", "sliding_attention", "chunked_attention", "attention"}  # layer types


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


def trace_setup(config: ModelConfig, settings: MemorySetup, layers: int) -> dict[str, list[Parts]]:
    """Return, for each phase, the bytes by part at every moment that may be its peak.

    Args:
        config: the model's ``config.json``.
        settings: the keys of a ``Setup`` without ``auto``.
        layers: layers of the model that is traced.
    """
    setup = Setup(**settings)
    fake_model.patch_libraries(setup)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cpu"):
        model = fake_model.build_model(config, setup, layers)
        width = setup.seq if setup.engine == "trainer" else setup.filled_tokens  # tokens in one row of the batch
        counter = TensorCounter(model.config.get_text_config().vocab_size, setup.rank, width)
        count_model(model, counter)
        return trace_step(model, setup, counter, build_loss(model, setup)) | {"merge": [_merge_parts(model)]}


def trace_step(
    model: "PreTrainedModel",
    setup: Setup,
    counter: TensorCounter,
    compute_loss: Loss,
) -> dict[str, list[Parts]]:
    """Return the moments of a training step with the optimiser's states (not the first), then of an evaluation."""
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


def make_states(optimizer: torch.optim.Optimizer, parameters: "list[Parameter]", counter: TensorCounter) -> None:
    """Make the optimiser's states: they come with its first step and stay for all later phases."""
    counter.purpose = "states"
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    counter.purpose = None


def _build_optimizer(parameters: "list[Parameter]", setup: Setup) -> torch.optim.Optimizer:
    import bitsandbytes as bnb

    if setup.optimizer == "adamw":
        foreach = setup.device == "cuda"  # what torch chooses for real tensors
        return torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, foreach=foreach)
    optimizer: torch.optim.Optimizer = bnb.optim.AdamW8bit(parameters, lr=1e-4, weight_decay=0.0)
    return optimizer


def _matrix_sizes(model: "Module") -> list[int]:
    """The number of weights of each 4-bit matrix."""
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


def build_loss(model: "PeftModel", setup: Setup) -> Loss:
    """Return the loss of one batch, as the engine or a stock loop computes it.

    The loss is a context manager: its backward pass must run inside.
    """
    return _engine_loss(model, setup) if setup.engine == "etabli" else _stock_loss(model, setup)


def _engine_loss(model: "PeftModel", setup: Setup) -> Loss:
    from etabli.training.packed_loss import PackedLoss

    class FakePackedLoss(PackedLoss):
        """Takes the fast paths at once: without values it can't compare them with the slow ones."""

        def _choose_fast_paths(self, packed: bool) -> None:
            self.rowwise = packed_attention.use_row_attention(self.base) == "sdpa"
            if not self.rowwise:
                self.base.set_attn_implementation("eager")
            self.head = loss_module.find_head(self.base) if setup.loss == "chunked" else None

    loaded = cast("LoadedModel", SimpleNamespace(device="cpu", dtype=fake_model.compute_dtype(setup)))
    packed_loss = FakePackedLoss(model, loaded, lambda: _autocast(setup))
    lengths = [setup.seq] * setup.batch + [-setup.tokens % ROUND] * bool(setup.tokens % ROUND)
    ids = torch.zeros(1, sum(lengths), dtype=torch.int64)
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    trained_positions = torch.arange(max(1, round(setup.tokens * setup.trained)))

    @contextmanager
    def compute_loss() -> Iterator[Tensor]:
        with packed_attention.attend_by_row(lengths) if packed_loss.rowwise else nullcontext():
            with packed_loss.autocast():
                loss = packed_loss(ids, positions, trained_positions, ids[0, : len(trained_positions)])
            yield loss

    return compute_loss


def _autocast(setup: Setup) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=setup.dtype != "float32")


def _stock_loss(model: "PeftModel", setup: Setup) -> Loss:
    ids = torch.zeros(setup.batch, setup.seq, dtype=torch.int64)

    def forward() -> Tensor:
        loss: Tensor
        if setup.loss == "full":
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
            return loss
        base = model.get_base_model()
        hidden_states = base.base_model(input_ids=ids, use_cache=False).last_hidden_state.to(
            fake_model.compute_dtype(setup)
        )
        if setup.loss == "inplace":
            loss = _InPlaceLoss.apply(base.get_output_embeddings()(hidden_states))  # type: ignore[no-untyped-call]  # torch
            return loss
        # This project's chunks stand for a fused kernel.
        head = loss_module.find_head(base)
        if head is None:
            raise BadInput("its head is no plain linear layer, which a loss in chunks needs; choose loss full")
        return loss_module.summed_cross_entropy(hidden_states.flatten(0, 1), head, ids.flatten())

    @contextmanager
    def compute_loss() -> Iterator[Tensor]:
        with _autocast(setup):
            yield forward()

    return compute_loss


class _Logits(Context, Protocol):
    logits: Tensor
    float_logits: Tensor


class _InPlaceLoss(torch.autograd.Function):
    """A kernel that writes the gradient over the float32 logits; the model's output still holds its own logits."""

    @staticmethod
    def forward(context: _Logits, logits: Tensor) -> Tensor:
        context.logits, context.float_logits = logits, logits.float()
        return torch.zeros(())

    @staticmethod
    def backward(context: _Logits, upstream: Tensor) -> Tensor:
        gradient = context.float_logits.to(context.logits.dtype)
        del context.float_logits, context.logits
        return gradient
