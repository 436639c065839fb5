"""Load a model in 4 bits, with or without an adapter, on CUDA and on CPU alike."""

import contextlib
import importlib.util
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etabli.core import folders, machine, parsing, processes, storage
from etabli.core.errors import Damaged, MissingExtra, WrongAdapter
from etabli.models import adapter_files, embedded, headers
from etabli.models.quiet import quiet
from etabli.models.sources import DEFAULT, Source, resolve

BASE_FACTS = "base.json"  # beside an adapter: which base it was trained on


@dataclass
class Loaded:
    """One copy of the weights, and how to see it without its adapter."""

    model: Any
    tokenizer: Any
    source: Source
    device: str
    dtype: Any
    adapter: Path | None = None
    # Adapters beside the first, which PEFT calls "default": what is on is switched, nothing is loaded twice.
    others: dict[Path, str] = field(default_factory=dict, repr=False)
    # The adapter is on or off for everybody: an answer being streamed must not have it switched under its feet.
    _switch: Any = field(default_factory=threading.RLock, repr=False)

    @property
    def name(self) -> str:
        """The base's name."""
        return self.source.name

    @contextlib.contextmanager
    def as_base(self, base: bool = True) -> Iterator[None]:
        """The base alone: the adapter, if there is one, is off inside."""
        with self._switch:
            if base and self.adapter is not None:
                with self.model.disable_adapter():
                    yield
            else:
                yield

    @contextlib.contextmanager
    def using(self, adapter: Path | None, strength: float = 1.0) -> Iterator[None]:
        """The base with this adapter on, loaded if it is not yet; None: the base alone.

        Args:
            strength: what the adapter's updates are multiplied by: 0 is the base, 1 as trained (WiSE-FT for adapters,
                arXiv 2109.01903).

        Raises:
            WrongAdapter: it was trained on another base; Damaged: altered since it was saved.
        """
        with self._switch:
            if adapter is None:
                with self.as_base():
                    yield
                return
            name = "default" if adapter == self.adapter else self._named(adapter)
            if name != "default":
                self.model.set_adapter(name)
            try:
                with self._scaled(strength):  # only now: what is loaded meanwhile would not be scaled, and then lost
                    yield
            finally:
                if name != "default":
                    self.model.set_adapter("default")

    def _scaled(self, strength: float) -> contextlib.AbstractContextManager:
        if strength == 1.0:
            return contextlib.nullcontext()
        from peft.helpers import rescale_adapter_scale

        return rescale_adapter_scale(self.model, strength)

    def _named(self, adapter: Path) -> str:
        if self.adapter is None:
            raise WrongAdapter(f"The model was loaded without an adapter: load it with one to switch to {adapter}.")
        if adapter not in self.others:
            check_adapter(adapter, self.source)
            name = f"other{len(self.others)}"
            with quiet():
                self.model.load_adapter(str(adapter), adapter_name=name, is_trainable=False)
            self.model.eval()
            self.others[adapter] = name
        return self.others[adapter]


def load(
    name: str = DEFAULT,
    four_bit: bool = True,
    adapter: str | Path | None = None,
    alongside: bool = False,
    device: str | None = None,
    dtype: str = "auto",
) -> Loaded:
    """Load a model for inference, or as the frozen base of training.

    Args:
        name: Hub id, folder, or ``default``.
        four_bit: NF4 with double quantisation (QLoRA, arXiv 2305.14314); else in the compute dtype.
        adapter: folder of a LoRA adapter to put on top.
        alongside: load even while a run owns the device.
        device: ``cuda``, ``cuda:1`` or ``cpu``; by default what is there.
        dtype: ``float32``, ``bfloat16``, ``float16``, or ``auto``: what this machine computes in fastest.

    Raises:
        DeviceBusy: a run owns the device; UnknownModel, GatedModel, Damaged: see ``sources.resolve``;
        WrongAdapter: the adapter was trained on another base; MissingExtra: bitsandbytes is not installed; BadInput:
        a dtype that the device can't compute in.
    """
    if four_bit and importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtra("4-bit models need bitsandbytes, which is not installed: pip install bitsandbytes")
    if not alongside:
        processes.refuse_if_owned(f"Loading {name} can't begin")
    source = resolve(name)
    device = device or machine.device()
    computed = machine.compute_dtype(dtype, hidden_size(source.folder))
    if adapter is not None:
        check_adapter(adapter, source)
    with quiet():
        model = _four_bit(source, device, computed) if four_bit else _read(source.folder, device, computed)
        loaded = Loaded(model.eval(), tokenizer(source), source, device, computed)
        return with_adapter(loaded, adapter) if adapter is not None else loaded


def hidden_size(folder: Path) -> int:
    """Return the width of a model's layers, as its ``config.json`` says; 0 if it does not."""
    try:
        config = parsing.read_json(folder / "config.json", parsing.LARGEST_CONFIG, lenient=True)
        return width(config.get("text_config") or config)
    except (OSError, ValueError, AttributeError):
        return 0


def width(config: dict[str, Any]) -> int:
    """Return the width of the layers that a configuration describes, under whichever name; 0 if it says none."""
    sizes = (config.get(name) for name in ("hidden_size", "n_embd", "d_model"))
    return next((size for size in sizes if isinstance(size, int)), 0)


def tokenizer(source: Source) -> Any:
    """The model's tokenizer, padding on the left, as generation needs."""
    from transformers import AutoTokenizer

    read = AutoTokenizer.from_pretrained(source.folder, padding_side="left", trust_remote_code=False)
    if read.pad_token is None:
        read.pad_token = read.eos_token
    return read


def _read(folder: Path, device: str, dtype: Any, **more: Any) -> Any:
    from transformers import AutoModelForCausalLM

    given = {"dtype": dtype, "device_map": {"": device}, "use_safetensors": True, **more}
    try:
        return AutoModelForCausalLM.from_pretrained(
            folder, attn_implementation="sdpa", trust_remote_code=False, **given
        )
    except ValueError as error:  # Gemma 2 caps its attention, which SDPA can't
        if "scaled_dot_product_attention" not in str(error):
            raise
        return AutoModelForCausalLM.from_pretrained(
            folder, attn_implementation="eager", trust_remote_code=False, **given
        )


def _four_bit(source: Source, device: str, dtype: Any) -> Any:
    kept = source.folder.with_name(f"{source.folder.name}-nf4-{str(dtype).removeprefix('torch.')}")
    ours = source.folder == embedded.folder()
    if ours and (kept / storage.MANIFEST).is_file():
        model = _read_kept(kept, device, dtype)
        if model is not None:
            return settle(model)
    model = _read(source.folder, device, dtype, quantization_config=nf4(dtype))
    if ours:  # a cache: to fail to write it is no reason to fail
        with contextlib.suppress(OSError, storage.NoSpace), storage.whole(kept) as folder:
            model.save_pretrained(folder)
    return settle(model)


def _read_kept(kept: Path, device: str, dtype: Any) -> Any | None:
    try:
        storage.verify(kept)
    except Damaged:
        shutil.rmtree(kept, ignore_errors=True)
        return None
    return _read(kept, device, dtype)


def nf4(dtype: Any) -> Any:
    """NF4 with double quantisation. The compute dtype must be said: the default is float32, without a warning."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def settle(model: Any) -> Any:
    """Keep bitsandbytes from repacking its weights.

    On an AVX512-BF16 processor the first forward pass in eval mode repacks them; back in training the packed path has
    no gradient, and the lower layers' adapters silently learn from wrong ones (bitsandbytes 0.50.2).
    """
    import bitsandbytes as bnb

    for module in model.modules():
        if isinstance(module, bnb.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False
    return model


def with_adapter(loaded: Loaded, adapter: str | Path) -> Loaded:
    """Put an adapter on a loaded base."""
    from peft import PeftModel

    model = PeftModel.from_pretrained(loaded.model, str(adapter), is_trainable=False)
    return Loaded(model.eval(), loaded.tokenizer, loaded.source, loaded.device, loaded.dtype, Path(adapter))


def check_adapter(adapter: str | Path, source: Source) -> None:
    """Is this an adapter, whole, and for this base?

    Raises:
        WrongAdapter: no adapter, pickles alone, or one for another base; Damaged: altered since it was saved, or not
        finite; OutsideFolder: a link in it leads outside.
    """
    adapter = Path(adapter)
    if not (adapter / "adapter_config.json").is_file():
        raise WrongAdapter(f"{adapter} holds no adapter: it has no adapter_config.json.")
    folders.files_of(adapter)
    if (adapter / storage.MANIFEST).is_file():
        storage.verify(adapter)
    _refuse_imports(adapter)
    headers.require_sane(adapter)
    name, digest = _base(adapter)
    if (digest or source.hash) != source.hash or (not digest and name not in (None, source.name, str(source.folder))):
        known = f" ({digest[:12]}…)" if digest else ""
        raise WrongAdapter(
            f"{adapter} was trained on {name}{known}, not on {source.name} ({source.hash[:12]}…). "
            f"Load it with models.load({name!r}, adapter=...)."
        )
    adapter_files.check_files(adapter)


def _refuse_imports(adapter: Path) -> None:
    """PEFT imports the module that an adapter's ``megatron_core`` names: such an adapter is not loaded."""
    with contextlib.suppress(OSError, ValueError):
        said = parsing.read_json(adapter / "adapter_config.json", parsing.LARGEST_CONFIG, lenient=True)
        if isinstance(said, dict) and said.get("megatron_config"):
            raise WrongAdapter(
                f"{adapter} asks PEFT to import {said.get('megatron_core')!r} (megatron_config), which is never done: "
                "remove megatron_config from its adapter_config.json, or take another adapter."
            )


def adapter_hash(adapter: Path) -> str:
    """Which weights an adapter has: the beginning of their sha256.

    Raises:
        WrongAdapter: there are none; Damaged: they are not finite.
    """
    return adapter_files.weights_hash(adapter)[:16]


def _base(adapter: Path) -> tuple[str | None, str | None]:
    """Name and hash of an adapter's base: ours says both, PEFT's own configuration the name at most."""
    said: dict[str, Any] = {}
    for file in ("adapter_config.json", BASE_FACTS):
        with contextlib.suppress(OSError, ValueError, TypeError):
            said |= parsing.read_json(adapter / file, parsing.LARGEST_CONFIG, lenient=True)
    return said.get("name") or said.get("base_model_name_or_path"), said.get("hash")
