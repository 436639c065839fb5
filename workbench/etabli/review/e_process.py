"""Is one of two preferred? A test that may be looked at after every vote, and how many votes it still needs.

Looking at an ordinary test every five votes until it says yes finds a winner between two equals in a quarter of all
sessions. This one is an e-process: the likelihood of the votes under a Beta(5, 5) mixture of win rates, over that under
a fair coin. Between equals its expectation is 1 whenever one looks, so it reaches 20 in at most one session of twenty
(Ville's inequality; Ramdas et al., arXiv 2210.01948). ``benchmarks/arena.py`` measures it.
"""

import functools
import math
from typing import Any

PRIOR = 5.0  # Beta(PRIOR, PRIOR): looks for win rates between about 30 and 70 %
THRESHOLD = 20.0  # one false win in twenty
MOST = 2000  # votes looked ahead
PATHS = 1000


def evidence(wins: int, losses: int) -> float:
    """How many times likelier the votes are if one of the two is preferred than if neither is."""
    return math.exp(min(700.0, _log(wins, losses)))


def _log(wins: Any, losses: Any) -> Any:
    from scipy.special import betaln

    return betaln(PRIOR + wins, PRIOR + losses) - betaln(PRIOR, PRIOR) + (wins + losses) * math.log(2)


@functools.lru_cache
def boundary(threshold: float) -> Any:
    """For each number of votes, how many of them one side must have, int64 (MOST + 1,): more than all if none do."""
    import numpy as np

    votes = np.arange(MOST + 1)
    low, high = (votes + 1) // 2 - 1, votes + 1  # too few, enough: more wins of as many votes tell more
    while (high - low > 1).any():
        middle = (low + high) // 2
        enough = (middle > votes) | (_log(middle, np.maximum(0, votes - middle)) >= math.log(threshold))
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high


def needed(wins: int, losses: int, threshold: float = THRESHOLD, seed: int = 0) -> dict[str, int | None] | None:
    """About how many more votes with a winner it takes to tell, if it goes on as it went.

    Win rates are drawn from what the votes so far leave likely, and a session is played on with each.

    Won and lost are the same to it: a number that told them apart would tell a voter whose the last vote was.

    Returns:
        ``{"half": ..., "most": ...}``: so many are enough in half, and in nine of ten of the sessions; None for more
        than can be looked ahead. Nothing at all if it can be told already.
    """
    import numpy as np

    wins, losses = max(wins, losses), min(wins, losses)
    if evidence(wins, losses) >= threshold:
        return None
    ahead = MOST - wins - losses
    if ahead < 1:
        return {"half": None, "most": None}
    luck = np.random.default_rng([seed, wins, losses])
    rates = luck.beta(PRIOR + wins, PRIOR + losses, PATHS)[:, None]
    won = wins + (luck.random((PATHS, ahead), dtype=np.float32) < rates).cumsum(1, dtype=np.int32)
    votes = np.arange(wins + losses + 1, MOST + 1)
    told = np.maximum(won, votes - won) >= boundary(threshold)[wins + losses + 1 :]
    first = np.where(told.any(1), told.argmax(1) + 1, MOST + 1)
    return {name: _within(np.quantile(first, part, method="higher")) for name, part in (("half", 0.5), ("most", 0.9))}


def _within(votes: float) -> int | None:
    return None if votes > MOST else int(votes)


def times(needed: dict[str, int | None] | None, factor: float) -> dict[str, int | None] | None:
    """As many times as many: where only some of what is judged has a winner, or is on this pair."""
    if needed is None:
        return None
    return {name: None if count is None else max(1, round(count * factor)) for name, count in needed.items()}
