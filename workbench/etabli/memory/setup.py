"""What decides how much memory a step takes."""

from dataclasses import asdict, dataclass
from typing import Any

from etabli.errors import BadInput

ENGINES = ("etabli", "trainer")
OPTIMIZERS = ("adamw", "adamw8bit")
LOSSES = ("full", "chunked")
ALL_LINEAR = "all-linear"


@dataclass(frozen=True)
class Setup:
    """One way to fine-tune.

    ``seq`` tokens a row, ``batch`` rows at once; ``rank`` of the adapters and ``lora``, the layers they are on
    (``all-linear``, or names with commas between); ``checkpointing``: ``none``, ``all``, or on how many of the layers;
    ``trained``: the share of tokens whose logits are needed. ``engine``: this project's, or ``trainer``, a stock
    transformers + PEFT loop with ``prepare_model_for_kbit_training``.
    """

    seq: int = 2048
    batch: int = 1
    rank: int = 16
    lora: str = ALL_LINEAR
    checkpointing: str = "none"
    optimizer: str = "adamw"
    loss: str = "full"
    engine: str = "etabli"
    trained: float = 1.0

    def __post_init__(self) -> None:
        for name, known in (("engine", ENGINES), ("optimizer", OPTIMIZERS), ("loss", LOSSES)):
            if getattr(self, name) not in known:
                raise BadInput(f"Unknown {name} {getattr(self, name)!r}; there are {', '.join(known)}.")
        for name in ("seq", "batch", "rank"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)}; it has to be 1 or more.")
        if self.checkpointing not in ("none", "all") and not self.checkpointing.isdigit():
            raise BadInput(f"checkpointing is {self.checkpointing!r}; it is none, all, or a number of layers.")
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

    def keys(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
