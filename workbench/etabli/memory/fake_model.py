"""Models of fake tensors, ready for a step: what stands in the way of them set aside, and the loss of a step.

Facts: ``Params4bit`` can't hold a fake tensor; bitsandbytes makes its code tables by reading values; PEFT moves
adapters between devices. For the stock loop attention stands in for CUDA's fused kernels: it keeps queries, keys,
values, the output and one number a row, and no square. This project's engine runs its own attention.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import bitsandbytes as bnb
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from etabli.core.errors import BadInput
from etabli.memory.config import ALL_LINEAR, ROUND, Setup
from etabli.training import chunked_cross_entropy as loss_module
from etabli.training import packed_attention

STOCK = "etabli_stock"  # attention of the stock loop


def model(config: dict[str, Any], setup: Setup, layers: int) -> Any:
    """The model with that many layers, 4-bit linears, adapters; ready to train as its engine makes it."""
    base = _base(shape(config), setup, layers).requires_grad_(False)
    _quantise(base, dtype(setup))
    if setup.engine == "trainer" and setup.upcast:
        _upcast(base)
    targets = setup.lora if setup.lora == ALL_LINEAR else _named(base, setup.lora)
    lora = LoraConfig(r=setup.rank, lora_alpha=setup.rank, target_modules=targets, task_type="CAUSAL_LM")
    peft = get_peft_model(base, lora, autocast_adapter_dtype=True)
    _checkpoint(peft, setup, layers)
    return peft.train()


def _named(base: Any, names: str) -> list[str]:
    """The layers that adapters are put on; each has to be there, since PEFT leaves out what it does not find."""
    wanted = [name.strip() for name in names.split(",")]
    there = {name.rsplit(".", 1)[-1] for name, part in base.named_modules() if isinstance(part, bnb.nn.Linear4bit)}
    if missing := [name for name in wanted if name.rsplit(".", 1)[-1] not in there]:
        raise BadInput(f"it has no {', '.join(missing)}; adapters can be on {', '.join(sorted(there))}")
    return wanted


def shape(config: dict[str, Any]) -> Any:
    """A transformers configuration from what a ``config.json`` says."""
    from transformers import AutoConfig

    return AutoConfig.for_model(**{name: value for name, value in config.items() if name != "quantization_config"})


def _base(shape: Any, setup: Setup, layers: int) -> Any:
    from transformers import AutoModelForCausalLM

    shape.num_hidden_layers = layers
    if getattr(shape, "mlp_only_layers", None):
        shape.mlp_only_layers = []  # experts everywhere: too much, where leaving them out would be far too little
    for name in ("layer_types", "no_rope_layers", "mlp_layer_types"):
        if getattr(shape, name, None):
            setattr(shape, name, getattr(shape, name)[:layers])
    ways = [*([STOCK] if setup.engine == "trainer" else []), "sdpa", "eager"]
    for way in ways:  # caps, sinks and biases SDPA can't; Falcon knows no attention but its own
        try:
            return AutoModelForCausalLM.from_config(
                shape, dtype=dtype(setup), attn_implementation=way, trust_remote_code=False
            )
        except (ValueError, KeyError):
            if way == "eager":
                raise


def dtype(setup: Setup) -> torch.dtype:
    """What the forward pass computes in; float16 takes the bytes of bfloat16."""
    return torch.float32 if setup.dtype == "float32" else torch.bfloat16


def _checkpoint(peft: Any, setup: Setup, layers: int) -> None:
    if setup.checkpointing == "none":
        return
    if setup.engine == "etabli":
        from etabli.training.lora_and_optimizer import checkpoint_layers

        checkpoint_layers(peft, setup.checkpointed(layers))
    else:
        peft.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        peft.enable_input_require_grads()


def _quantise(base: Any, compute: torch.dtype) -> None:
    """Every linear layer but the head as NF4 with double quantisation, as transformers does it."""
    head, found = base.get_output_embeddings(), False
    for part in list(base.modules()):
        for name, child in list(part.named_children()):
            if child is not head and isinstance(child, torch.nn.Linear | Conv1D):
                setattr(part, name, _four_bit(child, compute))
                found = True
    if not found:
        raise BadInput("it has no linear layers, which are what 4 bits and adapters are for")
    base.is_loaded_in_4bit = True  # what PEFT asks


def _four_bit(linear: Any, compute: torch.dtype) -> Any:
    """A Linear4bit around fake bytes, in a plain parameter."""
    made = bnb.nn.Linear4bit.__new__(bnb.nn.Linear4bit)
    torch.nn.Module.__init__(made)
    whole = linear.weight.data if isinstance(linear, torch.nn.Linear) else linear.weight.data.T.contiguous()
    data, state = bnb.functional.quantize_4bit(whole, quant_type="nf4", compress_statistics=True)
    weight = torch.nn.Parameter(data, requires_grad=False)
    facts = {"compress_statistics": True, "quant_type": "nf4", "blocksize": 64, "bnb_quantized": True, "module": made}
    for name, value in {**facts, "quant_state": state, "quant_storage": torch.uint8}.items():
        setattr(weight, name, value)
    made.out_features, made.in_features = whole.shape
    made.weight, made.quant_state, made.bias = weight, state, linear.bias
    made.compute_dtype, made.compute_type_is_set, made.quant_storage = compute, True, torch.uint8
    made.support_avx512bf16_for_cpu = False
    return made


def _upcast(base: Any) -> None:
    """What ``prepare_model_for_kbit_training`` does: everything that is not quantised becomes float32."""
    for part in base.modules():
        for name, held in list(part._parameters.items()):
            if held is not None and held.dtype == torch.bfloat16:
                part._parameters[name] = torch.nn.Parameter(held.data.float(), requires_grad=False)
    base.tie_weights()


Loss = Callable[[], AbstractContextManager[Tensor]]


def loss(peft: Any, setup: Setup) -> Loss:
    """The loss of one batch, as the engine or a stock loop takes it; its backward pass has to come inside."""
    return _engine(peft, setup) if setup.engine == "etabli" else _stock(peft, setup)


def _engine(peft: Any, setup: Setup) -> Loss:
    from etabli.training.packed_loss import Objective

    class Known(Objective):
        """There are no values to try the ways on: the short ones are taken."""

        def _choose(self, packed: bool) -> None:
            self.rowwise = packed_attention.use(self.base) == "sdpa"
            if not self.rowwise:
                self.base.set_attn_implementation("eager")
            self.head = loss_module.head_of(self.base) if setup.loss == "chunked" else None

    objective = Known(peft, _Here(dtype(setup)), lambda: _autocast(setup))
    lengths = [setup.seq] * setup.batch + [-setup.tokens % ROUND] * bool(setup.tokens % ROUND)
    ids = torch.zeros(1, sum(lengths), dtype=torch.int64)
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    keep = torch.arange(max(1, round(setup.tokens * setup.trained)))

    @contextmanager
    def found() -> Iterator[Tensor]:
        with packed_attention.within(lengths) if objective.rowwise else nullcontext():
            with objective.autocast():
                held = objective(ids, positions, keep, ids[0, : len(keep)])
            yield held

    return found


class _Here:
    """What an ``Objective`` asks of a loaded model."""

    device = "cpu"

    def __init__(self, dtype: torch.dtype):
        self.dtype = dtype


def width(setup: Setup) -> int:
    """Tokens side by side in one row of the batch, as the engine lays them out."""
    return setup.seq if setup.engine == "trainer" else setup.tokens + -setup.tokens % ROUND


def _autocast(setup: Setup) -> Any:
    return torch.autocast("cpu", torch.bfloat16, enabled=setup.dtype != "float32")


def _stock(peft: Any, setup: Setup) -> Loss:
    ids = torch.zeros(setup.batch, setup.seq, dtype=torch.int64)

    @contextmanager
    def found() -> Iterator[Tensor]:
        with _autocast(setup):
            yield _stock_loss(peft, ids, setup)

    return found


def _stock_loss(peft: Any, ids: Tensor, setup: Setup) -> Tensor:
    if setup.loss == "full":
        return peft(input_ids=ids, labels=ids, use_cache=False).loss
    base = peft.get_base_model()
    hidden = base.base_model(input_ids=ids, use_cache=False).last_hidden_state.to(dtype(setup))
    if setup.loss == "inplace":
        return _InPlace.apply(base.get_output_embeddings()(hidden))
    # A fused kernel: this project's own chunks stand in for it.
    return loss_module.summed(hidden.flatten(0, 1), loss_module.head_of(base), ids.flatten())


class _InPlace(torch.autograd.Function):
    """What kernels keep that write the gradient over float32 logits; the model's output still holds its own."""

    @staticmethod
    def forward(context: Any, logits: Tensor) -> Tensor:
        context.logits, context.whole = logits, logits.float()
        return torch.zeros(())

    @staticmethod
    def backward(context: Any, upstream: Tensor) -> Tensor:
        whole, logits = context.whole, context.logits
        context.whole = context.logits = None
        return whole.to(logits.dtype)


def settle(setup: Setup) -> None:
    """Set aside what stands in the way of fake tensors; attention as the setup's device has it."""
    _patch()
    packed_attention.SHORT = _SHORT if setup.device == "cpu" else 0  # plain products are for CPUs
    packed_attention._shares_keys = lambda device: setup.shares_keys


_SHORT = packed_attention.SHORT


@cache
def _patch() -> None:
    import bitsandbytes.nn.modules as modules
    from peft.tuners import tuners_utils
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    _tables()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    tuners_utils.BaseTunerLayer._move_adapter_to_device_of_base_layer = lambda self, *args, **kwargs: None
    modules.fix_4bit_weight_quant_state_from_module = lambda module: None
    torch.nn.Module.to = lambda self, *args, **kwargs: self
    AttentionInterface.register(STOCK, _fused)
    AttentionMaskInterface.register(STOCK, lambda *args, **kwargs: None)


def _tables() -> None:
    """Made by reading values, which fake tensors have none of: so before, and once."""
    maps = {signed: bnb.functional.create_dynamic_map(signed=signed) for signed in (True, False)}
    bnb.functional.create_dynamic_map = lambda signed=True, *args, **kwargs: maps[signed]
    bnb.functional.name2qmap.update({"dynamic": maps[True], "udynamic": maps[False]})
    bnb.functional.get_4bit_type("nf4", device="cpu")


def _fused(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **_: Any) -> tuple[Any, None]:
    """Queries (batch, heads, tokens, width); what flash and memory-efficient attention save for their backward."""

    class Fused(torch.autograd.Function):
        @staticmethod
        def forward(context, query, key, value):
            out = torch.empty_like(query)
            sums = torch.empty(query.shape[:3], dtype=torch.float32)
            context.save_for_backward(query, key, value, out, sums)
            return out

        @staticmethod
        def backward(context, gradient):
            return tuple(torch.empty_like(tensor) for tensor in context.saved_tensors[:3])

    return Fused.apply(query, key, value).transpose(1, 2).contiguous(), None
