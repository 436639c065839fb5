"""What is forecast: a model's configuration, without its weights, and the settings of its training step."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeAlias, cast

from etabli.core import folders, machine, parsing
from etabli.core.contracts import MemorySetup
from etabli.core.errors import BadInput, GatedModel, UnknownModel
from etabli.models import embedded

ModelConfig: TypeAlias = Mapping[str, object]  # a config.json
AUTO = "auto"
CHOICES = {
    "engine": ("etabli", "trainer"),
    "optimizer": (AUTO, "adamw", "adamw8bit", "paged_adamw8bit"),
    "loss": (AUTO, "full", "inplace", "chunked"),
    "device": ("cuda", "cpu"),
    "dtype": ("bfloat16", "float16", "float32"),
}
ALL_LINEAR = "all-linear"
ROUND = 64  # tokens: the engine fills packs up to a multiple of it (training/packing.py)


@dataclass(frozen=True)
class Setup:
    """One way to fine-tune a model.

    Attributes:
        seq: tokens in a row.
        batch: rows that go through the model at once.
        rank: rank of the adapters.
        lora: the layers with adapters: ``all-linear``, or names with commas between them.
        checkpointing: ``none``, ``all``, or (engine ``etabli``) the number of layers that are run again in the
            backward pass.
        optimizer: see ``CHOICES``; ``auto`` is what the engine chooses.
        loss: which logits exist at once: ``full`` all of them; ``inplace`` all, but a kernel writes the gradient over
            them; ``chunked`` a part of them; ``auto`` is what the engine chooses.
        engine: ``etabli``, or ``trainer``: a stock transformers + PEFT loop.
        trained: the share of tokens whose logits are needed, above 0 and up to 1.
        upcast: (engine ``trainer``) cast what is not in 4 bits to float32 (``prepare_model_for_kbit_training``).
        device: ``cuda`` or ``cpu``.
        dtype: what the forward pass computes in.
        shares_keys: the GPU's fast attention kernel lets heads share keys (compute capability 8 and up).
    """

    seq: int = 2048
    batch: int = 1
    rank: int = 16
    lora: str = ALL_LINEAR
    checkpointing: str = "none"
    optimizer: str = AUTO
    loss: str = AUTO
    engine: str = "etabli"
    trained: float = 1.0
    upcast: bool = True
    device: str = "cuda"
    dtype: str = "bfloat16"
    shares_keys: bool = True

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise BadInput(f"Unknown {name} {getattr(self, name)!r}; choose from {', '.join(choices)}.")
        for name in ("seq", "batch", "rank"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)!r}; it must be a whole number from 1 on.")
        is_count = self.checkpointing.isdecimal() and self.checkpointing.isascii() and self.engine == "etabli"
        if self.checkpointing not in ("none", "all") and not is_count:
            raise BadInput(
                f"checkpointing is {self.checkpointing!r}; it must be none, all, or (engine etabli) a number of layers."
            )
        if not 0 < self.trained <= 1:
            raise BadInput(f"trained is {self.trained}; it must be a share above 0 and up to 1.")

    @property
    def tokens(self) -> int:
        """Tokens that go through the model at once."""
        return self.seq * self.batch

    @property
    def filled_tokens(self) -> int:
        """``tokens``, and what the engine fills the pack up with."""
        return self.tokens if self.engine == "trainer" else self.tokens + -self.tokens % ROUND

    def checkpointed_layers(self, layers: int) -> int:
        """Return how many of the model's layers are run again in the backward pass."""
        if self.checkpointing == "none":
            return 0
        return layers if self.checkpointing == "all" else min(layers, int(self.checkpointing))

    def resolve_auto(self) -> "Setup":
        """Return the setup with the engine's choice in place of every ``auto``."""
        is_own_engine = self.engine == "etabli"
        optimizer, loss = self.optimizer, self.loss
        if optimizer == AUTO:
            optimizer = "paged_adamw8bit" if is_own_engine and self.device == "cuda" else "adamw"
        if loss == AUTO:
            loss = "chunked" if is_own_engine else "full"
        return replace(self, optimizer=optimizer, loss=loss)

    def to_dict(self) -> MemorySetup:
        """Return the settings as plain values."""
        return cast(MemorySetup, asdict(self))


def build_setup(setup: Setup | None = None, **keys: object) -> Setup:
    """Return the setup, or make one of its keys; ``checkpointing`` may be a number, ``lora`` a list.

    Raises:
        BadInput: there is no such key, or a setup and keys are given.
    """
    if setup and keys:
        raise BadInput(f"A setup and the keys {', '.join(keys)} are given. Give a setup or keys, not both.")
    if setup:
        return setup
    if unknown := set(keys) - set(Setup.__dataclass_fields__):
        names = ", ".join(Setup.__dataclass_fields__)
        raise BadInput(f"Unknown {', '.join(sorted(unknown))}; a setup has {names}.")
    if "checkpointing" in keys:
        keys["checkpointing"] = str(keys["checkpointing"])
    if isinstance(layers := keys.get("lora"), list | tuple):
        keys["lora"] = ",".join(layers)
    return Setup(**cast(MemorySetup, keys))


_SIZE_NAMES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
_LLAMA3 = {"model_type": "llama", "vocab_size": 128256, "rms_norm_eps": 1e-5, "max_position_embeddings": 131072}
# The sizes in the models' own config.json, for machines that can't reach the Hub.
KNOWN_CONFIGS: dict[str, ModelConfig] = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": {
        "model_type": "llama",
        "vocab_size": 49152,
        **dict(zip(_SIZE_NAMES, (576, 1536, 30, 9, 3))),
        "head_dim": 64,
        "tie_word_embeddings": True,
    },
    "meta-llama/Llama-3.2-1B": {
        **_LLAMA3,
        **dict(zip(_SIZE_NAMES, (2048, 8192, 16, 32, 8))),
        "head_dim": 64,
        "tie_word_embeddings": True,
    },
    "meta-llama/Llama-3.1-8B": {**_LLAMA3, **dict(zip(_SIZE_NAMES, (4096, 14336, 32, 32, 8)))},
    "mistralai/Mistral-7B-v0.1": {
        "model_type": "mistral",
        "vocab_size": 32000,
        **dict(zip(_SIZE_NAMES, (4096, 14336, 32, 32, 8))),
    },
}


def load_config(name: str) -> ModelConfig:
    """Return the configuration of ``default``, a folder, a ``config.json``, a known model or a Hub model.

    Raises:
        UnknownModel: there is no configuration of a causal language model.
        GatedModel: the Hub asks for a licence to be accepted first.
    """
    if name in ("default", embedded.NAME):
        return KNOWN_CONFIGS[embedded.HUB_ID]
    path = Path(name).expanduser()
    path = folders.resolve_inside(path, "config.json") if path.is_dir() else path
    if path.is_file():
        return _read_config(path)
    for known_name in (name, name.removesuffix("-Instruct")):
        if known_name in KNOWN_CONFIGS:
            return KNOWN_CONFIGS[known_name]
    return _read_config(_download_config(name))


def _read_config(path: Path) -> ModelConfig:
    try:
        config = parsing.read_json(path, parsing.LARGEST_CONFIG, lenient=True)
    except (OSError, ValueError) as error:
        raise UnknownModel(f"{path} can't be read as a configuration: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise UnknownModel(f"{path} is no configuration of a model: it has no model_type. Name a model's config.json.")
    text_config = config.get("text_config")
    if text_config is None:
        return config
    if not isinstance(text_config, dict) or not isinstance(text_config.get("model_type"), str):
        raise UnknownModel(f"{path} has a text_config without a model_type. Name a model's config.json.")
    return text_config or config


def _download_config(name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError

    if not machine.hub_reachable():
        raise UnknownModel(
            f"{name!r} is no folder or config.json, and the Hub can't be reached. Known without the Hub: "
            f"{', '.join(KNOWN_CONFIGS)}."
        )
    try:
        return Path(hf_hub_download(name, "config.json", token=machine.hub_token()))
    except GatedRepoError as error:
        raise GatedModel(f"{name} asks you to accept its licence first: https://huggingface.co/{name}") from error
    except Exception as error:
        raise UnknownModel(f"The Hub did not give the configuration of {name!r}: {error}") from error
