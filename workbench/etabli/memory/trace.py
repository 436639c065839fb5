"""The bytes that a real training step holds, without its weights and without a GPU.

transformers, PEFT and bitsandbytes run two steps on fake tensors, which have shapes and no contents, while every
storage is counted from its making to its end, in blocks of 512 bytes as CUDA's allocator gives them. Attention stands
in for the fused kernels: it keeps queries, keys, values, the output and one number a row, and no square. A few layers
are traced; the rest follows, since every phase grows linearly with them.

    python -m etabli.memory.trace < request.json      # {"config": {...}, "asked": [[setup, layers], ...]} -> [...]

It runs in a process of its own, because it replaces parts of those libraries.
"""

import contextlib
import json
import sys
import weakref
from functools import cache
from typing import Any

BLOCK = 512
ATTENTION = "etabli_fused"


def main() -> None:
    """Trace what stdin asks for."""
    asked = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        made = [traced(asked["config"], setup, layers) for setup, layers in asked["asked"]]
    print(json.dumps(made))


def traced(config: dict[str, Any], setup: dict[str, Any], layers: int) -> dict[str, Any]:
    """Peak bytes of forward, backward and optimiser step, and what stays: weights, adapters, states."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from etabli.memory.setup import Setup

    wanted, counted = Setup(**setup), _Storages()
    _patch()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cpu"):
        model = _model(config, wanted, layers)
        parts = _parts(model, counted)
        phases = _steps(model, wanted, counted, parts)
    return {"phases": phases, "parts": parts}


class _Storages:
    """Live storages: each counted once, whichever tensors look at it."""

    def __init__(self) -> None:
        self.now = self.peak = 0
        self.sizes: dict[int, int] = {}

    def add(self, tensor: Any) -> int:
        """Count a tensor's storage if it is new; its size."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.sizes:
            return 0
        size = -(-storage.nbytes() // BLOCK) * BLOCK
        self.sizes[key] = size
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key)
        return size

    def _gone(self, key: int) -> None:
        self.now -= self.sizes.pop(key, 0)

    def take_peak(self) -> int:
        """The peak since the last time."""
        peak, self.peak = self.peak, self.now
        return peak

    def watching(self) -> Any:
        """A mode that counts what every operation makes."""
        import torch
        from torch.utils._python_dispatch import TorchDispatchMode
        from torch.utils._pytree import tree_iter

        storages = self

        class Watching(TorchDispatchMode):
            def __torch_dispatch__(self, function, types, args=(), kwargs=None):
                out = function(*args, **(kwargs or {}))
                for leaf in tree_iter(out):
                    if isinstance(leaf, torch.Tensor):
                        storages.add(leaf)
                return out

        return Watching()


def _model(config: dict[str, Any], setup: Any, layers: int) -> Any:
    """The model with that many layers, 4-bit linears, adapters; ready to train as the engine makes it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = AutoConfig.for_model(**config)
    shape.num_hidden_layers = layers
    if getattr(shape, "layer_types", None):
        shape.layer_types = shape.layer_types[:layers]
    shape._attn_implementation = ATTENTION
    torch.set_default_dtype(torch.bfloat16)
    base = AutoModelForCausalLM.from_config(shape)
    torch.set_default_dtype(torch.float32)
    base.requires_grad_(False)
    _quantise(base)
    if setup.engine == "trainer":
        _upcast(base)
    targets = setup.lora if setup.lora == "all-linear" else setup.lora.split(",")
    targets = _linears(base) if targets == "all-linear" else targets
    model = get_peft_model(
        base, LoraConfig(r=setup.rank, lora_alpha=setup.rank, target_modules=targets, task_type="CAUSAL_LM")
    )
    if setup.checkpointing == "all":
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    return model.train()


def _linears(base: Any) -> list[str]:
    import bitsandbytes as bnb

    return sorted(
        {name.rsplit(".", 1)[-1] for name, part in base.named_modules() if isinstance(part, bnb.nn.Linear4bit)}
    )


def _quantise(base: Any) -> None:
    """Every linear layer but the head as NF4 with double quantisation."""
    import torch

    head = base.get_output_embeddings()
    for part in list(base.modules()):
        for name, child in list(part.named_children()):
            if type(child) is torch.nn.Linear and child is not head:
                setattr(part, name, _four_bit(child))


def _four_bit(linear: Any) -> Any:
    """A Linear4bit around fake bytes: ``Params4bit`` can't hold a fake tensor, a plain parameter can."""
    import bitsandbytes as bnb
    import torch

    made = bnb.nn.Linear4bit.__new__(bnb.nn.Linear4bit)
    torch.nn.Module.__init__(made)
    data, state = bnb.functional.quantize_4bit(linear.weight.data, quant_type="nf4", compress_statistics=True)
    weight = torch.nn.Parameter(data, requires_grad=False)
    facts = {"compress_statistics": True, "quant_type": "nf4", "blocksize": 64, "bnb_quantized": True, "module": made}
    for name, value in {**facts, "quant_state": state, "quant_storage": torch.uint8}.items():
        setattr(weight, name, value)
    made.in_features, made.out_features = linear.in_features, linear.out_features
    made.weight, made.quant_state, made.bias = weight, state, linear.bias
    made.compute_dtype, made.compute_type_is_set, made.quant_storage = torch.bfloat16, True, torch.uint8
    made.support_avx512bf16_for_cpu = False
    made.register_buffer("_absmax", state.absmax, persistent=False)  # where the parameters are counted
    made.register_buffer("_absmax_of_absmax", state.state2.absmax, persistent=False)
    return made


def _upcast(base: Any) -> None:
    """What ``prepare_model_for_kbit_training`` does: everything that is not quantised becomes float32."""
    import torch

    for part in base.modules():
        for name, held in list(part._parameters.items()):
            if held is not None and held.dtype == torch.bfloat16:
                part._parameters[name] = torch.nn.Parameter(held.data.float(), requires_grad=False)
    base.tie_weights()


def _parts(model: Any, counted: _Storages) -> dict[str, int]:
    """Bytes of what is there before the first step."""
    import bitsandbytes as bnb

    parts = {"quantised": 0, "adapters": 0, "unquantised": 0}
    for held in (part for part in model.modules() if isinstance(part, bnb.nn.Linear4bit)):
        tensors = [held.weight, held._absmax, held._absmax_of_absmax]
        parts["quantised"] += sum(counted.add(tensor) for tensor in tensors)
    for held in [*model.parameters(), *model.buffers()]:
        parts["adapters" if held.requires_grad else "unquantised"] += counted.add(held)
    return parts


def _steps(model: Any, setup: Any, counted: _Storages, parts: dict[str, int]) -> dict[str, int]:
    """Two steps; the second has the optimiser's states, so its peaks are those of the run."""
    import torch

    trained = [held for held in model.parameters() if held.requires_grad]
    optimizer = _optimizer(trained, setup.optimizer)
    packed = setup.engine == "etabli"
    shape = (1, setup.tokens) if packed else (setup.batch, setup.seq)
    ids = torch.zeros(shape, dtype=torch.int64)
    positions = torch.arange(shape[1])[None].expand(shape)
    phases: dict[str, int] = {}
    with counted.watching():
        for _ in range(2):
            counted.take_peak()
            before = counted.now
            loss = _loss(model, setup, ids, positions)
            phases["forward"] = counted.take_peak()
            loss.backward()
            del loss
            phases["backward"] = counted.take_peak()
            parts["gradients"] = sum(held.grad.untyped_storage().nbytes() for held in trained if held.grad is not None)
            optimizer.step()
            phases["optimizer"] = counted.take_peak()
            optimizer.zero_grad(set_to_none=True)
            parts["states"] = counted.now - before or parts.get("states", 0)
        with torch.no_grad():
            model.eval()
            _loss(model, setup, ids, positions)
            phases["evaluation"] = counted.take_peak()
    return phases


def _loss(model: Any, setup: Any, ids: Any, positions: Any) -> Any:
    import torch
    import torch.nn.functional as F

    with torch.autocast("cpu", torch.bfloat16):
        if setup.loss == "chunked":  # the logits never exist whole: they are left out here and added by formula
            out = model(input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=1)
            return out.logits.float().mean()
        if setup.engine == "trainer":
            return model(input_ids=ids, labels=ids, position_ids=positions, use_cache=False).loss
        keep = torch.arange(max(1, round(setup.tokens * setup.trained)))
        logits = model(input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=keep).logits[0]
    return F.cross_entropy(logits.float(), ids[0, : len(keep)], reduction="sum")


def _optimizer(trained: list, name: str) -> Any:
    import bitsandbytes as bnb
    import torch

    if name == "adamw":
        return torch.optim.AdamW(trained, foreach=False)
    return bnb.optim.AdamW8bit(trained)


@cache
def _patch() -> None:
    """What stands in the way of fake tensors, set aside; and an attention that keeps what the fused kernels keep."""
    import bitsandbytes as bnb
    import bitsandbytes.nn.modules as modules
    import torch
    from peft.tuners import tuners_utils
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    # Made by reading values, which fake tensors have none of: so before, and once.
    maps = {signed: bnb.functional.create_dynamic_map(signed=signed) for signed in (True, False)}
    bnb.functional.create_dynamic_map = lambda signed=True, *args, **kwargs: maps[signed]
    bnb.functional.name2qmap.update({"dynamic": maps[True], "udynamic": maps[False]})
    bnb.functional.get_4bit_type("nf4", device="cpu")
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    tuners_utils.BaseTunerLayer._move_adapter_to_device_of_base_layer = lambda self, *args, **kwargs: None
    modules.fix_4bit_weight_quant_state_from_module = lambda module: None
    torch.nn.Module.to = lambda self, *args, **kwargs: self
    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, lambda *args, **kwargs: None)


def _attention(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **_: Any) -> tuple[Any, None]:
    """Queries (batch, heads, tokens, width); what flash and memory-efficient attention save for their backward."""
    import torch

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


if __name__ == "__main__":
    main()
