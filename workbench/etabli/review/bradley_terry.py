"""The strengths of three systems or more on one scale: the Bradley-Terry model, with bootstrap intervals."""

import itertools
import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from etabli.core.contracts import Strength, Vote

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

RESAMPLES = 400
MIN_ITEMS = 5  # below this, the bootstrap over items says nothing
PRIOR_VOTES = 0.5  # votes added to each side of every pair: the strengths stay finite when one system wins every vote


def fit_strengths(votes: Sequence[Vote], systems: list[str]) -> list[Strength]:
    """Return the strength of each system in log-odds (mean 0), with a 95 % bootstrap interval over items.

    A tie counts as half a win for each side (Bradley & Terry 1952; a binomial regression of statsmodels). Half a vote
    is added to each side of every pair. There is no interval for a ``separated`` system, which won or lost every vote,
    and none when fewer than five items have votes.

    Returns:
        An empty list without votes, or for two systems: their strengths would only repeat their shares of votes.
    """
    import numpy as np

    if len(systems) < 3 or not votes:
        return []
    by_item: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_item[vote["item"]].append(vote)
    wins_by_item = np.stack([_count_wins(item_votes, systems) for item_votes in by_item.values()])
    wins = wins_by_item.sum(axis=0)
    values, bounds = _fit(wins), _bootstrap_bounds(wins_by_item)
    strengths: list[Strength] = []
    for index, system in enumerate(systems):
        win_count, loss_count = float(wins[index].sum()), float(wins[:, index].sum())
        is_separated = bool(win_count) != bool(loss_count)
        low = high = None
        if bounds is not None and win_count and loss_count and bounds[1][index] - bounds[0][index] >= 1e-9:
            low, high = float(bounds[0][index]), float(bounds[1][index])
        strengths.append(
            {
                "arm": system,
                "votes": win_count + loss_count,
                "value": float(values[index]),
                "low": low,
                "high": high,
                "separated": is_separated,
            }
        )
    return strengths


def _bootstrap_bounds(wins_by_item: "Floats") -> "Floats | None":
    """The 2.5 % and 97.5 % quantiles over resampled items: float64 (2, systems). None if there are too few items."""
    import numpy as np

    n_items = len(wins_by_item)
    if n_items < MIN_ITEMS:
        return None
    rng = np.random.default_rng(0)
    resamples = [_fit(wins_by_item[rng.integers(n_items, size=n_items)].sum(axis=0)) for _ in range(RESAMPLES)]
    return np.quantile(resamples, [0.025, 0.975], axis=0)


def _count_wins(votes: Sequence[Vote], systems: list[str]) -> "Floats":
    """How often the system of a row beat the system of a column: float64 (systems, systems)."""
    import numpy as np

    wins = np.zeros((len(systems), len(systems)))
    for vote in votes:
        left, right = systems.index(vote["left"]), systems.index(vote["right"])
        left_points = {"left": 1.0, "right": 0.0}.get(vote["choice"], 0.5)
        wins[left, right] += left_points
        wins[right, left] += 1 - left_points
    return wins


def _fit(wins: "Floats") -> "Floats":
    """Strengths in log-odds with mean 0, from win counts (systems, systems): float64 (systems,)."""
    import numpy as np
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.generalized_linear_model import GLM
    from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

    pairs = list(itertools.combinations(range(len(wins)), 2))
    design = np.zeros((len(pairs), len(wins)))
    counts = np.empty((len(pairs), 2))
    for row, (first, second) in enumerate(pairs):
        design[row, first], design[row, second] = 1, -1
        counts[row] = wins[first, second] + PRIOR_VOTES, wins[second, first] + PRIOR_VOTES
    with warnings.catch_warnings():  # a perfect fit is expected here; PRIOR_VOTES keep it finite
        warnings.simplefilter("ignore", PerfectSeparationWarning)
        coefficients = GLM(counts, design[:, 1:], family=Binomial()).fit().params  # the first system's strength is 0
    strengths: Floats = np.concatenate([[0.0], coefficients])
    zero_mean_strengths: Floats = strengths - strengths.mean()
    return zero_mean_strengths
