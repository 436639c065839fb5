"""What a score is: a function with a name, a unit, and a hash of what it does."""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from etabli.core.contracts import Metric, Row
from etabli.core.errors import BadInput

# A share of yes and no; a mean of numbers from 0 to 1; a mean of any numbers; a loss; of one's own, told by its values.
SHARE, MEAN, NUMBER, LOSS, CUSTOM = "share", "mean", "number", "nats/token", "own"


@dataclass(frozen=True)
class Score:
    """A score of an answer against the truth.

    ``of(answer, truth, row)`` gives True or False (unit ``share``) or a number, and may raise: that row is then an
    error, and the rest go on. ``from_model`` scores are not made from an answer's text but read from the model's
    probabilities; ``of`` is then only for arms without a model. ``needs_truth``: a row without an answer has no score.
    """

    name: str
    of: Callable[[str, str, Row], Any]
    hash: str
    unit: str = SHARE
    better: str = "higher"
    from_model: bool = False
    needs_truth: bool = True
    spec: str = ""

    @property
    def metric(self) -> Metric:
        """What is written down of it."""
        return {
            "name": self.name, "spec": self.spec or self.name, "hash": self.hash, "unit": self.unit,
            "better": self.better,
        }  # fmt: skip


def digest(*parts: Any, code: Sequence[Any] = ()) -> str:
    """Hash of what a score does: its options, the source of its modules, the versions of its libraries."""
    said = json.dumps([*map(str, parts), *(inspect.getsource(part) for part in code)])
    return hashlib.sha256(said.encode()).hexdigest()


def digest_own(function: Callable) -> str:
    """Hash of a function of one's own: its source, its defaults, and the values it takes from around it.

    Raises:
        BadInput: its source can't be had.
    """
    try:
        around = inspect.getclosurevars(function)
        return digest({**around.nonlocals, **around.globals}, getattr(function, "__defaults__", None), code=[function])
    except (TypeError, OSError) as error:
        raise BadInput(
            f"The source of {function!r} can't be read, so it can't be hashed: write it as a plain function, or put it "
            "into a file and name mine.py:FUNCTION."
        ) from error


def unit_of(values: Iterable[Any]) -> str:
    """The unit that numbers have: yes and no, 0 to 1, or any."""
    given = [float(value) for value in values if value is not None]
    if all(value in (0.0, 1.0) for value in given):
        return SHARE
    return MEAN if all(0 <= value <= 1 for value in given) else NUMBER
