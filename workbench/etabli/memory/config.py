"""What decides how much memory a step takes."""

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
ROUND = 64  # tokens: the engine fills packs up to a multiple (training/packing.py)


@dataclass(frozen=True)
class Setup:
    """One way to fine-tune.

    ``seq`` tokens a row, ``batch`` rows at once; ``rank`` of the adapters and ``lora``, the layers they are on
    (``all-linear``, or names with commas between); ``checkpointing``: ``none``, ``all``, or on how many of the layers;
    ``trained``: the share of tokens whose logits are needed.

    ``engine``: this project's, or ``trainer``, a stock transformers + PEFT loop, which makes all logits (``loss:
    full``) unless a kernel writes their gradient over them (``inplace``) or takes them in chunks, and, with
    ``upcast``, casts what is not in 4 bits to float32 (``prepare_model_for_kbit_training``). ``optimizer`` and
    ``loss``: ``auto`` is what the engine does by itself. ``shares_keys``: can the card's fast attention kernel let
    heads share keys (compute capability 8 and up)?
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
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise BadInput(f"Unknown {name} {getattr(self, name)!r}; there are {', '.join(known)}.")
        for name in ("seq", "batch", "rank"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)!r}; it has to be a whole number from 1 on.")
        some = self.checkpointing.isdecimal() and self.checkpointing.isascii() and self.engine == "etabli"
        if self.checkpointing not in ("none", "all") and not some:
            raise BadInput(
                f"checkpointing is {self.checkpointing!r}; it is none, all, or (engine etabli) a number of layers."
            )
        if not 0 < self.trained <= 1:
            raise BadInput(f"trained is {self.trained}; it is a share between 0 and 1.")

    @property
    def tokens(self) -> int:
        """Tokens that go through the model at once."""
        return self.seq * self.batch

    def checkpointed(self, layers: int) -> int:
        """How many layers are run a second time in the backward pass."""
        named = {"none": 0, "all": layers}
        return named[self.checkpointing] if self.checkpointing in named else min(layers, int(self.checkpointing))

    def settled(self) -> "Setup":
        """With nothing left to ``auto``."""
        ours = self.engine == "etabli"
        auto = {
            "optimizer": "paged_adamw8bit" if ours and self.device == "cuda" else "adamw",
            "loss": "chunked" if ours else "full",
        }
        return replace(self, **{name: value for name, value in auto.items() if getattr(self, name) == AUTO})

    def keys(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
