"""Three arms or more on one scale: Bradley-Terry, with intervals from items drawn again."""

import itertools
import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from etabli.core.contracts import Vote

DRAWS = 400
FEW = 5  # items, below which drawing them again tells nothing
HALF = 0.5  # votes that every pair is given beforehand, to each side: a clean sweep stays finite


def of(votes: Sequence[Vote], arms: list[str]) -> list[dict[str, Any]]:
    """Each arm's strength in log-odds, their mean 0, with a 95 % interval: percentiles over items drawn again.

    A tie is half a win for each (Bradley & Terry 1952; a binomial regression of statsmodels). Every pair gets half a
    vote a side beforehand. ``separated`` is an arm that won or lost every vote: how far it is off can't be told, and so
    it has no interval; nor has any below five items.

    Returns:
        Nothing for two arms, whose strengths are their share of votes said again, or without votes.
    """
    if len(arms) < 3 or not votes:
        return []
    by_item: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_item[vote["item"]].append(vote)
    groups = [_wins(held, arms) for held in by_item.values()]
    total = sum(groups)
    middle, bounds = _fit(total), _bounds(groups)
    return [_one(arm, at, middle, bounds, total) for at, arm in enumerate(arms)]


def _one(arm: str, at: int, middle: Any, bounds: Any, total: Any) -> dict[str, Any]:
    won, lost = float(total[at].sum()), float(total[:, at].sum())
    swept = bool(won + lost) and not (won and lost)
    low, high = (None, None) if bounds is None else (float(bounds[0][at]), float(bounds[1][at]))
    if low is None or high - low < 1e-9 or swept or not won + lost:  # all draws alike: nothing to tell a width from
        low = high = None
    return {"arm": arm, "votes": won + lost, "value": float(middle[at]), "low": low, "high": high, "separated": swept}


def _bounds(groups: list[Any]) -> Any:
    """Percentiles over items drawn again: float64 (2, arms); None of too few items."""
    import numpy as np

    if len(groups) < FEW:
        return None
    luck = np.random.default_rng(0)
    drawn = [_fit(sum(groups[at] for at in luck.integers(len(groups), size=len(groups)))) for _ in range(DRAWS)]
    return np.quantile(drawn, [0.025, 0.975], axis=0)


def _wins(votes: Sequence[Vote], arms: list[str]) -> Any:
    """How often the arm of a row beat the arm of a column: float64 (arms, arms)."""
    import numpy as np

    made = np.zeros((len(arms), len(arms)))
    for vote in votes:
        left, right = arms.index(vote["left"]), arms.index(vote["right"])
        won = {"left": 1.0, "right": 0.0}.get(vote["choice"], 0.5)
        made[left, right] += won
        made[right, left] += 1 - won
    return made


def _fit(wins: Any) -> Any:
    import numpy as np
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.generalized_linear_model import GLM
    from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

    size = len(wins)
    pairs = list(itertools.combinations(range(size), 2))
    design = np.zeros((len(pairs), size))
    for row, (one, other) in enumerate(pairs):
        design[row, one], design[row, other] = 1, -1
    counts = np.array([[wins[one, other] + HALF, wins[other, one] + HALF] for one, other in pairs])
    with warnings.catch_warnings():  # of a fit without a rest: what keeps it finite are the half votes
        warnings.simplefilter("ignore", PerfectSeparationWarning)
        found = GLM(counts, design[:, 1:], family=Binomial()).fit().params  # the first arm's strength is 0
    strengths = np.concatenate([[0.0], found])
    return strengths - strengths.mean()
