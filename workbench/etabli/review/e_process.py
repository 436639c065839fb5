"""Is one of two systems preferred? A test that is valid after every vote, and a forecast of the votes it still needs.

An ordinary test that is repeated every five votes until it says yes finds a winner between two equal systems in a
quarter of all sessions. This test is an e-process: the likelihood of the votes under a Beta(5, 5) mixture of win rates,
divided by their likelihood under a fair coin. Between equal systems its expected value is always 1, so it reaches 20
in at most one session of twenty (Ville's inequality; Ramdas et al., arXiv 2210.01948). ``benchmarks/arena.py``
measures this.
"""

import functools
import math
from typing import TYPE_CHECKING, TypeAlias

from etabli.core.contracts import NeededItems

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints: TypeAlias = NDArray[np.int64]
    Floats: TypeAlias = NDArray[np.float64]

PRIOR = 5.0  # Beta(PRIOR, PRIOR): most of its weight is on win rates between 30 and 70 %
THRESHOLD = 20.0  # at most one false winner in twenty sessions
HORIZON = 2000  # votes in the longest session that is simulated
SIMULATIONS = 1000


def evidence(wins: int, losses: int) -> float:
    """Return the likelihood ratio of the votes: one system is preferred, against neither is."""
    return math.exp(min(700.0, float(_log_evidence(wins, losses))))


def _log_evidence(wins: "int | Ints", losses: "int | Ints") -> "Floats":
    """The logarithm of ``evidence`` for one pair of counts (a scalar) or for arrays of counts."""
    import numpy as np
    from scipy.special import betaln

    log_ratio: Floats = betaln(PRIOR + wins, PRIOR + losses) - betaln(PRIOR, PRIOR)
    return np.add(log_ratio, np.multiply(wins + losses, math.log(2)))


@functools.lru_cache
def boundary(threshold: float) -> "Ints":
    """Return the wins at which the evidence reaches ``threshold``, for 0 to HORIZON votes: int64 (HORIZON + 1,).

    Where no number of wins is enough, the entry is larger than the number of votes.
    """
    import numpy as np

    votes = np.arange(HORIZON + 1)
    low, high = (votes + 1) // 2 - 1, votes + 1  # bisection: low is too few, high is enough
    while (high - low > 1).any():
        middle = (low + high) // 2
        enough = (middle > votes) | (_log_evidence(middle, np.maximum(0, votes - middle)) >= math.log(threshold))
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high


def votes_needed(wins: int, losses: int, threshold: float = THRESHOLD, seed: int = 0) -> NeededItems | None:
    """Forecast how many more votes with a winner the test needs.

    The function draws win rates from their posterior and simulates the rest of a session with each. Wins and losses
    are interchangeable: otherwise the forecast would tell a voter which system the last vote was for.

    Returns:
        ``{"half": n, "most": n}``: n votes are enough in half, and in nine of ten simulated sessions; None instead of
        n if HORIZON votes are not enough. None alone if the evidence is already at the threshold.
    """
    import numpy as np

    wins, losses = max(wins, losses), min(wins, losses)
    if evidence(wins, losses) >= threshold:
        return None
    more_votes = HORIZON - wins - losses
    if more_votes < 1:
        return {"half": None, "most": None}
    rng = np.random.default_rng([seed, wins, losses])
    rates = rng.beta(PRIOR + wins, PRIOR + losses, SIMULATIONS)[:, None]
    win_counts = wins + (rng.random((SIMULATIONS, more_votes), dtype=np.float32) < rates).cumsum(1, dtype=np.int32)
    votes = np.arange(wins + losses + 1, HORIZON + 1)
    enough = np.maximum(win_counts, votes - win_counts) >= boundary(threshold)[wins + losses + 1 :]
    first_enough = np.where(enough.any(1), enough.argmax(1) + 1, HORIZON + 1)
    half, most = (int(count) for count in np.quantile(first_enough, (0.5, 0.9), method="higher"))
    return {"half": None if half > HORIZON else half, "most": None if most > HORIZON else most}


def scale_votes(counts: NeededItems | None, factor: float) -> NeededItems | None:
    """Multiply the vote counts by ``factor``: not every vote has a winner, and not every vote is on this pair."""
    if counts is None:
        return None
    half, most = (
        None if count is None else max(1, round(count * factor)) for count in (counts["half"], counts["most"])
    )
    return {"half": half, "most": most}
