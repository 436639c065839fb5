"""What a score is: a function with a name, a unit, and a hash of what it does."""

import hashlib
import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from etabli.contracts import Metric, Row

# A share of yes and no; a mean of numbers from 0 to 1; a mean of any numbers; a loss; of one's own, told by its values.
SHARE, MEAN, NUMBER, LOSS, OWN = "share", "mean", "number", "nats/token", "own"


@dataclass(frozen=True)
class Score:
    """A score of an answer against the truth.

    ``of(answer, truth, row)`` gives True or False (unit ``share``) or a number from 0 to 1 (``mean``), and may raise:
    that row is then an error, and the rest go on. ``from_model`` scores are not made from an answer's text but read
    from the model's probabilities; ``of`` is then only for arms without a model.
    """

    name: str
    of: Callable[[str, str, Row], Any]
    hash: str
    unit: str = SHARE
    better: str = "higher"
    from_model: bool = False

    @property
    def metric(self) -> Metric:
        """What is written down of it."""
        return {"name": self.name, "hash": self.hash, "unit": self.unit, "better": self.better}


def digest(*parts: Any, code: Sequence[Any] = ()) -> str:
    """Hash of what a score does: its options, the source of its functions, the versions of its libraries."""
    said = json.dumps([*map(str, parts), *(inspect.getsource(part) for part in code)])
    return hashlib.sha256(said.encode()).hexdigest()
