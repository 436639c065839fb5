"""Models of fake tensors that can run a training step: the obstacles in the libraries removed.

The obstacles: ``Params4bit`` can't hold a fake tensor; bitsandbytes reads values to make its code tables; PEFT moves
adapters between devices. For the stock loop, an attention of our own replaces CUDA's fused kernels: it saves queries,
keys, values, the output and one number for each row, and no square matrix. This project's engine runs its own
attention.
"""

from functools import cache
from typing import TYPE_CHECKING, cast

import bitsandbytes as bnb
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from etabli.core.errors import BadInput
from etabli.memory.config import ALL_LINEAR, ModelConfig, Setup
from etabli.training import packed_attention
from etabli.training.autograd import Context

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

STOCK_ATTENTION = "etabli_stock"


def build_model(config: ModelConfig, setup: Setup, layers: int) -> "PeftModel":
    """Return the model with so many layers, 4-bit linear layers and adapters, as its engine prepares it for training.

    Raises:
        BadInput: the model has no linear layers, or lacks layers that the setup names.
    """
    base = _build_base(build_config(config), setup, layers).requires_grad_(False)
    _quantise(base, compute_dtype(setup))
    if setup.engine == "trainer" and setup.upcast:
        _upcast(base)
    targets = setup.lora if setup.lora == ALL_LINEAR else _find_targets(base, setup.lora)
    lora = LoraConfig(r=setup.rank, lora_alpha=setup.rank, target_modules=targets, task_type="CAUSAL_LM")
    model = get_peft_model(base, lora, autocast_adapter_dtype=True)
    if setup.checkpointing != "none" and setup.engine == "etabli":
        from etabli.training.lora_and_optimizer import checkpoint_layers

        checkpoint_layers(model, setup.checkpointed_layers(layers))
    elif setup.checkpointing != "none":
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    return model.train()


def _find_targets(base: "PreTrainedModel", names: str) -> list[str]:
    """The names of the layers with adapters; each must exist, since PEFT silently ignores a name that does not."""
    targets = [name.strip() for name in names.split(",")]
    layers = base.named_modules()
    linear_names = {name.rsplit(".", 1)[-1] for name, layer in layers if isinstance(layer, bnb.nn.Linear4bit)}
    if missing := [name for name in targets if name.rsplit(".", 1)[-1] not in linear_names]:
        raise BadInput(f"it has no {', '.join(missing)}; adapters can be on {', '.join(sorted(linear_names))}")
    return targets


def build_config(config: ModelConfig) -> "PretrainedConfig":
    """Return a transformers configuration from a ``config.json``."""
    from transformers import AutoConfig

    return AutoConfig.for_model(**{name: value for name, value in config.items() if name != "quantization_config"})


def _build_base(config: "PretrainedConfig", setup: Setup, layers: int) -> "PreTrainedModel":
    from transformers import AutoModelForCausalLM

    config.num_hidden_layers = layers
    if getattr(config, "mlp_only_layers", None):
        config.mlp_only_layers = []  # experts in every layer: somewhat too much, but without them far too little
    for name in ("layer_types", "no_rope_layers", "mlp_layer_types"):
        if getattr(config, name, None):
            setattr(config, name, getattr(config, name)[:layers])
    attentions = [*([STOCK_ATTENTION] if setup.engine == "trainer" else []), "sdpa"]
    for attention in attentions:  # SDPA has no caps, sinks and biases; Falcon takes only its own attention
        try:
            return _from_config(AutoModelForCausalLM, config, setup, attention)
        except (ValueError, KeyError):
            continue
    return _from_config(AutoModelForCausalLM, config, setup, "eager")


def _from_config(
    auto_class: "type[AutoModelForCausalLM]", config: "PretrainedConfig", setup: Setup, attention: str
) -> "PreTrainedModel":
    return auto_class.from_config(
        config, dtype=compute_dtype(setup), attn_implementation=attention, trust_remote_code=False
    )


def compute_dtype(setup: Setup) -> torch.dtype:
    """What the forward pass computes in; float16 needs as many bytes as bfloat16, which stands for it."""
    return torch.float32 if setup.dtype == "float32" else torch.bfloat16


def _quantise(base: "PreTrainedModel", compute_dtype: torch.dtype) -> None:
    """Turn every linear layer but the head into NF4 with double quantisation, as transformers does."""
    head = base.get_output_embeddings()
    linear_layers = [
        (parent, name, child)
        for parent in base.modules()
        for name, child in parent.named_children()
        if child is not head and isinstance(child, torch.nn.Linear | Conv1D)
    ]
    if not linear_layers:
        raise BadInput("it has no linear layers, which 4 bits and adapters need")
    for parent, name, child in linear_layers:
        setattr(parent, name, _to_four_bit(child, compute_dtype))
    base.is_loaded_in_4bit = True  # PEFT asks for it


def _to_four_bit(linear: torch.nn.Module, compute_dtype: torch.dtype) -> bnb.nn.Linear4bit:
    """A Linear4bit around fake bytes, which are in an ordinary parameter."""
    layer = bnb.nn.Linear4bit.__new__(bnb.nn.Linear4bit)
    torch.nn.Module.__init__(layer)
    weight = cast(Tensor, linear.weight).data
    weight = weight if isinstance(linear, torch.nn.Linear) else weight.T.contiguous()
    data, state = bnb.functional.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    parameter = torch.nn.Parameter(data, requires_grad=False)
    attributes = {
        "compress_statistics": True,
        "quant_type": "nf4",
        "blocksize": 64,
        "bnb_quantized": True,
        "module": layer,
        "quant_state": state,
        "quant_storage": torch.uint8,
    }
    for name, value in attributes.items():
        setattr(parameter, name, value)
    layer.out_features, layer.in_features = weight.shape
    layer.weight, layer.quant_state, layer.bias = parameter, state, linear.bias
    layer.compute_dtype, layer.compute_type_is_set, layer.quant_storage = compute_dtype, True, torch.uint8
    layer.support_avx512bf16_for_cpu = False
    return layer


def _upcast(base: "PreTrainedModel") -> None:
    """Turn everything that is not quantised into float32, as ``prepare_model_for_kbit_training`` does."""
    for module in base.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and parameter.dtype == torch.bfloat16:
                module._parameters[name] = torch.nn.Parameter(parameter.data.float(), requires_grad=False)
    base.tie_weights()


def patch_libraries(setup: Setup) -> None:
    """Remove the obstacles for fake tensors, and choose the attention of the setup's device."""
    _patch_once()
    packed_attention._is_faster_by_products = lambda device: setup.device == "cpu"
    packed_attention._shares_keys = lambda device: setup.shares_keys


@cache
def _patch_once() -> None:
    import bitsandbytes.nn.modules as modules
    from peft.tuners import tuners_utils
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    # bitsandbytes reads values to make its tables, and fake tensors have none: make the tables before.
    maps = {is_signed: bnb.functional.create_dynamic_map(signed=is_signed) for is_signed in (True, False)}
    bnb.functional.create_dynamic_map = lambda signed=True, *args, **kwargs: maps[signed]
    bnb.functional.name2qmap.update({"dynamic": maps[True], "udynamic": maps[False]})
    bnb.functional.get_4bit_type("nf4", device="cpu")
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    tuners_utils.BaseTunerLayer._move_adapter_to_device_of_base_layer = lambda self, *args, **kwargs: None
    modules.fix_4bit_weight_quant_state_from_module = lambda module: None
    torch.nn.Module.to = lambda self, *args, **kwargs: self  # type: ignore[method-assign]  # fake tensors stay
    AttentionInterface.register(STOCK_ATTENTION, _stock_attention)
    AttentionMaskInterface.register(STOCK_ATTENTION, lambda *args, **kwargs: None)


def _stock_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: object
) -> tuple[Tensor, None]:
    """Fake attention; query: (batch, heads, tokens, width). Returns (batch, tokens, heads, width)."""
    output = _FusedAttention.apply(query, key, value)  # type: ignore[no-untyped-call]  # torch does not annotate it
    return output.transpose(1, 2).contiguous(), None


class _FusedAttention(torch.autograd.Function):
    """Saves what flash attention and memory-efficient attention save for their backward pass."""

    @staticmethod
    def forward(context: Context, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = torch.empty_like(query)
        sums = torch.empty(query.shape[:3], dtype=torch.float32)
        context.save_for_backward(query, key, value, output, sums)
        return output

    @staticmethod
    def backward(context: Context, gradient: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(tensor) for tensor in context.saved_tensors[:3])
