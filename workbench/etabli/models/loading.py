"""Load a model in 4 bits, with or without an adapter, on CUDA and on CPU alike."""

import contextlib
import importlib.util
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etabli.core import machine, parsing, processes, storage
from etabli.core.contracts import MANIFEST
from etabli.core.errors import Damaged, MissingExtra, NoSpace, WrongAdapter
from etabli.core.progress import show_progress
from etabli.core.terminal import say
from etabli.models import adapter_loading, adapters, chat_templates, embedded, vocabulary
from etabli.models.adapters import BASE_FACTS as BASE_FACTS
from etabli.models.adapters import AdapterConfig
from etabli.models.adapters import adapter_hash as adapter_hash
from etabli.models.adapters import check_adapter as check_adapter
from etabli.models.quiet import quiet
from etabli.models.sources import DEFAULT, Source, resolve

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass
class LoadedModel:
    """One copy of the weights, whose adapter can be switched on and off."""

    model: "PreTrainedModel | PeftModel"
    tokenizer: "PreTrainedTokenizerBase"
    source: Source
    device: str
    dtype: "torch.dtype"
    adapter: Path | None = None
    # Further adapters; PEFT calls the first one "default". Each is loaded once, and then only switched.
    other_adapters: dict[Path, str] = field(default_factory=dict, repr=False)
    notes: list[str] = field(default_factory=list, repr=False)  # what a reader must know of the adapters
    # The switch is global to the model: no thread may switch the adapter while another generates an answer.
    _switch: Any = field(default_factory=threading.RLock, repr=False)

    @property
    def name(self) -> str:
        """The base model's name."""
        return self.source.name

    @contextlib.contextmanager
    def as_base(self, base: bool = True) -> Iterator[None]:
        """Switch the adapter off inside the block, if there is one; ``base=False`` changes nothing."""
        with self._switch:
            if base and self.adapter is not None:
                with self.model.disable_adapter():
                    yield
            else:
                yield

    @contextlib.contextmanager
    def using(self, adapter: Path | None, strength: float = 1.0) -> Iterator[None]:
        """Switch this adapter on inside the block, and load it if necessary.

        Args:
            adapter: its folder; None: the base alone.
            strength: the factor of the adapter's updates: 0 is the base, 1 as trained (WiSE-FT for adapters,
                arXiv 2109.01903).

        Raises:
            WrongAdapter: it was trained on another base.
            Damaged: it was altered since it was saved.
        """
        with self._switch:
            if adapter is None:
                with self.as_base():
                    yield
                return
            name = "default" if adapter == self.adapter else self._adapter_name(adapter)
            if name != "default":
                self.model.set_adapter(name)
            try:
                with self._scale(strength):  # after loading: an adapter loaded inside would not be scaled
                    yield
            finally:
                if name != "default":
                    self.model.set_adapter("default")

    @contextlib.contextmanager
    def _scale(self, strength: float) -> Iterator[None]:
        if strength == 1.0:
            yield
            return
        from peft.helpers import rescale_adapter_scale

        with rescale_adapter_scale(self.model, strength):
            yield

    def _adapter_name(self, adapter: Path) -> str:
        """Return PEFT's name of a further adapter, which is loaded if it is not yet."""
        if self.adapter is None:
            raise WrongAdapter(f"The model was loaded without an adapter: load it with one to switch to {adapter}.")
        if adapter not in self.other_adapters:
            config = check_adapter(adapter, self.source)
            chat_templates.require_same_template(self.adapter, adapter)
            name = f"other{len(self.other_adapters)}"
            with quiet():
                notes = adapter_loading.put_on(self.model, config, name)[1]
            say(*notes)
            self.notes += notes
            self.model.eval()
            self.other_adapters[adapter] = name
        return self.other_adapters[adapter]


ALONGSIDE = "\nOr load a second model beside it: --alongside (of chat, arena and token-diff), alongside=True in Python."


@show_progress("loading the model")
def load(
    name: str = DEFAULT,
    four_bit: bool = True,
    adapter: str | Path | None = None,
    alongside: bool = False,
    device: str | None = None,
    dtype: str = "auto",
    *,
    template: str | None = None,
    base_named: bool = False,
    keep_dequantized: bool = True,
) -> LoadedModel:
    """Load a model for inference, or as the frozen base of training.

    Args:
        name: Hub id, folder, or ``default``.
        four_bit: NF4 with double quantisation (QLoRA, arXiv 2305.14314); else in the compute dtype.
        adapter: folder of a LoRA adapter to put on top.
        alongside: load even while a run owns the device.
        device: ``cuda``, ``cuda:1`` or ``cpu``; by default CUDA if there is any.
        dtype: ``float32``, ``bfloat16``, ``float16``, or ``auto``: the fastest on this machine.
        template: the chat template of a base model (``chat_templates.NAMES``, or a template's text); an adapter that
            brings the template it was trained with needs none.
        base_named: a person named this model as the adapter's base.
        keep_dequantized: on a CPU, keep 4-bit matrices dequantised in half of the free memory: short batches are
            answered a quarter faster.

    Raises:
        DeviceBusy: a run owns the device.
        UnknownModel, GatedModel, Damaged: see ``sources.resolve``.
        WrongAdapter: the adapter was trained on another base.
        MissingExtra: bitsandbytes is not installed.
        BadInput: the device can't compute in that dtype.
    """
    if four_bit and importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtra("4-bit models need bitsandbytes, which is not installed: pip install bitsandbytes")
    if not alongside:
        processes.require_free_device(f"Loading {name} can't begin", advice=ALONGSIDE)
    source = resolve(name)
    device = device or machine.device()
    compute_dtype = machine.compute_dtype(dtype, hidden_size(source.folder))
    config = check_adapter(adapter, source, base_named) if adapter is not None else None
    with quiet():
        read = _read_four_bit if four_bit else _read_model
        model = read(source.folder, device, compute_dtype)
        keep_head_from_copying(model)
        model.name_or_path = adapters.public_name(source)  # PEFT writes it into adapters; the folder's path is private
        if four_bit and keep_dequantized and device == "cpu":
            from etabli.models import kept_matrices

            kept_matrices.keep_for_answers(model, compute_dtype)
        loaded = LoadedModel(model.eval(), load_tokenizer(source, template), source, device, compute_dtype)
        return add_adapter(loaded, config) if config is not None else loaded


def hidden_size(folder: Path) -> int:
    """Return the width of a model's layers, as its ``config.json`` says; 0 if it does not."""
    try:
        config = parsing.read_json(folder / "config.json", parsing.LARGEST_CONFIG, lenient=True)
        return layer_width(config.get("text_config") or config)
    except (OSError, ValueError, AttributeError):
        return 0


def layer_width(config: Mapping[str, object]) -> int:
    """Return the width of the layers that a configuration describes, under whichever name; 0 if it says none."""
    sizes = (config.get(name) for name in ("hidden_size", "n_embd", "d_model"))
    return next((size for size in sizes if isinstance(size, int)), 0)


@show_progress("loading the tokenizer")
def load_tokenizer(source: Source, template: str | None = None) -> "PreTrainedTokenizerBase":
    """Return the model's tokenizer with padding on the left, as generation needs.

    Args:
        template: as for ``load``.

    Raises:
        BadInput: the model's embedding has no row for some tokens, or the template does not suit the vocabulary.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.folder, padding_side="left", trust_remote_code=False)
    vocabulary.require_embeddings(tokenizer.get_vocab(), source.folder, source.name)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if template is not None:
        chat_templates.set_template(tokenizer, template)
    return tokenizer


def _read_model(
    folder: Path, device: str, dtype: "torch.dtype", quantization_config: "BitsAndBytesConfig | None" = None
) -> "PreTrainedModel":
    from transformers import AutoModelForCausalLM

    def read(attention: str) -> "PreTrainedModel":
        quantisation = {} if quantization_config is None else {"quantization_config": quantization_config}
        return AutoModelForCausalLM.from_pretrained(
            folder,
            attn_implementation=attention,
            dtype=dtype,
            device_map={"": device},
            use_safetensors=True,
            trust_remote_code=False,
            **quantisation,
        )

    try:
        return read("sdpa")
    except ValueError as error:  # Gemma 2 caps its attention, which SDPA can't
        if "scaled_dot_product_attention" not in str(error):
            raise
        return read("eager")


def _read_four_bit(folder: Path, device: str, dtype: "torch.dtype") -> "PreTrainedModel":
    """Read a model in NF4; the embedded model's NF4 form is cached beside it."""
    cache = folder.with_name(f"{folder.name}-nf4-{str(dtype).removeprefix('torch.')}")
    is_embedded = folder == embedded.model_folder()
    if is_embedded and (cache / MANIFEST).is_file():
        try:
            storage.verify(cache)
        except Damaged:
            shutil.rmtree(cache, ignore_errors=True)
        else:
            return disable_weight_repacking(_read_model(cache, device, dtype))
    model = _read_model(folder, device, dtype, nf4_config(dtype))
    if is_embedded:  # loading goes on if the cache can't be written
        with contextlib.suppress(OSError, NoSpace), storage.write_folder(cache) as target:
            model.save_pretrained(target)
    return disable_weight_repacking(model)


def nf4_config(dtype: "torch.dtype") -> "BitsAndBytesConfig":
    """Return NF4 with double quantisation that computes in ``dtype``; the library's default would be float32."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def disable_weight_repacking(model: "PreTrainedModel") -> "PreTrainedModel":
    """Keep bitsandbytes from repacking its weights, and return the model.

    On an AVX512-BF16 processor the first forward pass in eval mode repacks them. The packed code has no gradient, so
    in later training the lower layers' adapters silently get wrong gradients (bitsandbytes 0.50.2).
    """
    import bitsandbytes as bnb

    for module in model.modules():
        if isinstance(module, bnb.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False
    return model


def keep_head_from_copying(model: "PreTrainedModel") -> None:
    """Give the output layer its input as one piece, so that PyTorch does not copy its weights once for each row.

    A forward pass that needs the last token's logits slices the hidden states. With weights that are not trained, as
    below an adapter, PyTorch takes such a view for a batch of products and repeats the weights for every row
    (github.com/pytorch/pytorch/issues/186148). In bfloat16 on a CPU that was 40 percent of the time of 24 short answers
    by the embedded model, and 1.3 GB.
    """
    head = model.get_output_embeddings()
    if head is not None:
        head.register_forward_pre_hook(_contiguous_input)


def _contiguous_input(module: "torch.nn.Module", inputs: tuple["torch.Tensor", ...]) -> tuple["torch.Tensor", ...]:
    return (inputs[0].contiguous(), *inputs[1:])


def add_adapter(loaded: LoadedModel, adapter: str | Path | AdapterConfig) -> LoadedModel:
    """Return a loaded base with an adapter on it, and with the chat template that the adapter was trained with."""
    config = adapter if isinstance(adapter, AdapterConfig) else adapters.read_config(adapter)
    model, notes = adapter_loading.put_on(loaded.model, config)
    chat_templates.use_stored_template(loaded.tokenizer, config.folder)
    say(*notes)
    return LoadedModel(
        model.eval(), loaded.tokenizer, loaded.source, loaded.device, loaded.dtype, config.folder, notes=notes
    )
