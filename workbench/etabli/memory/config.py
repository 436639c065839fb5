"""The settings of a training step that decide how much memory it takes."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from etabli.core.errors import BadInput

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

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return asdict(self)


def build_setup(setup: Setup | None = None, **keys: Any) -> Setup:
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
    if isinstance(keys.get("lora"), list | tuple):
        keys["lora"] = ",".join(keys["lora"])
    return Setup(**keys)
