"""The class of scores: a function with a name, a unit, and a hash of what it does."""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from etabli.core.contracts import Metric, Row
from etabli.core.errors import BadInput

# A share of yes and no; a mean of numbers from 0 to 1; a mean of any numbers; a loss; custom: known from the values.
SHARE, MEAN, NUMBER, LOSS, CUSTOM = "share", "mean", "number", "nats/token", "own"
BOUNDED_UNITS = (SHARE, MEAN)  # their values lie between 0 and 1

# A score of your own: (answer, truth) or (answer, truth, row) to True, False, a number or None.
ScoreFunction = Callable[..., object]


@dataclass(frozen=True)
class Score:
    """A score of an answer against the truth.

    ``compute(answer, truth, row)`` returns True or False (unit ``share``) or a number. It may raise: that row is then
    an error, and the other rows are scored. With ``from_model`` the score is computed from the model's probabilities
    and ``compute`` is used only for systems without a model. ``needs_truth``: a row without an answer has no score.
    With ``from_calls`` the first argument of ``compute`` is the list of the answer's tool calls, not its text;
    None stands for each call that can't be parsed.
    """

    name: str
    compute: Callable[[Any, str, Row], object]
    hash: str
    unit: str = SHARE
    better: str = "higher"
    from_model: bool = False
    needs_truth: bool = True
    from_calls: bool = False
    spec: str = ""

    @property
    def metric(self) -> Metric:
        """The record of the score in the results."""
        return {
            "name": self.name,
            "spec": self.spec or self.name,
            "hash": self.hash,
            "unit": self.unit,
            "better": self.better,
        }


def digest(*parts: object, code: Sequence[ModuleType | ScoreFunction] = ()) -> str:
    """Hash of what a score does: its options, the source of its modules, the versions of its libraries."""
    sources = [inspect.getsource(part) for part in code]
    return hashlib.sha256(json.dumps([*map(str, parts), *sources]).encode()).hexdigest()


def digest_custom(function: ScoreFunction) -> str:
    """Hash of a custom function: its source, its defaults, and the values of its closure and its globals.

    Raises:
        BadInput: its source can't be read.
    """
    try:
        variables = inspect.getclosurevars(function)
        values = {**variables.nonlocals, **variables.globals}
        return digest(values, getattr(function, "__defaults__", None), code=[function])
    except (TypeError, OSError) as error:
        raise BadInput(
            f"The source of {function!r} can't be read, so it can't be hashed: write it as a plain function, or put it "
            "into a file and name mine.py:FUNCTION."
        ) from error


def unit_of(values: Iterable[float | None]) -> str:
    """The unit of these numbers: a share (all 0 or 1), a mean (all from 0 to 1), or any number."""
    numbers = [float(value) for value in values if value is not None]
    if all(value in (0.0, 1.0) for value in numbers):
        return SHARE
    return MEAN if all(0 <= value <= 1 for value in numbers) else NUMBER
