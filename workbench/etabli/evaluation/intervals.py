"""Means and paired differences with 95 % intervals, clustered where rows share a template or a conversation.

Rows from one template stand or fall together, so that n rows hold less than n rows' worth of news. Standard errors are
clustered (Miller, arXiv 2411.00640), by statsmodels; with few clusters t quantiles stand in for normal ones.
``benchmarks/coverage.py`` measures how often each of these intervals holds the truth.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any

from etabli.contracts import Difference, Estimate

CONFIDENCE = 0.95


def share(hits: Sequence[float], clusters: Sequence[str]) -> Estimate:
    """Share of hits with a Wilson interval on the effective sample size.

    The effective size is the one at which independent rows would have the clustered standard error (Korn and
    Graubard's device); as they do, it is made smaller where there are few clusters to read that error from. With no
    hits or only hits there is no error to read: then each cluster counts once.
    """
    from statsmodels.stats.proportion import proportion_confint

    value, error = clustered([float(hit) for hit in hits], clusters)
    n, groups = len(hits), len(set(clusters))
    size = min(n, value * (1 - value) / error**2 * _fewer(n, groups)) if error > 0 else groups
    low, high = proportion_confint(value * size, size, alpha=1 - CONFIDENCE, method="wilson")
    return {"value": value, "low": float(max(0.0, low)), "high": float(min(1.0, high))}


def _fewer(n: int, groups: int) -> float:
    """The normal quantile's square over the t quantile's: 1 where every row is a cluster of its own."""
    from scipy import stats

    tail = (1 + CONFIDENCE) / 2
    return 1.0 if groups == n else float((stats.t.ppf(tail, n - 1) / stats.t.ppf(tail, max(1, groups - 1))) ** 2)


def mean(values: Sequence[float], clusters: Sequence[str], weights: Sequence[float] | None = None) -> Estimate:
    """Mean, or ratio of two sums, with a t interval.

    Args:
        values: one number a row; clusters: which rows stand or fall together.
        weights: with ``values`` a row's loss a token and ``weights`` its tokens, this is the loss a token overall.

    Returns:
        With a single cluster nothing is known of the error: the interval is then infinite.
    """
    value, error = clustered(values, clusters, weights)
    reach = _reach(error, len(set(clusters)))
    return {"value": value, "low": value - reach, "high": value + reach}


def difference(
    of: str, minus: str, values: dict[str, Sequence[float]], clusters: Sequence[str],
    weights: Sequence[float] | None = None, bounded: bool = True,
) -> Difference:  # fmt: skip
    """Mean of ``of`` minus mean of ``minus`` over the same rows, by clustered paired differences.

    Args:
        of, minus: names of arms in ``values``.
        values: for every arm one number a row, in the same order; clusters, weights: as for ``mean``.
        bounded: the numbers lie between 0 and 1. Then if every row agrees, no more is known than that so many clusters
            did: the rule of three. Without bounds the interval is a point.
    """
    apart = [float(a) - float(b) for a, b in zip(values[of], values[minus])]
    value, error = clustered(apart, clusters, weights)
    groups = len(set(clusters))
    reach = 3 / groups if bounded and error == 0 else _reach(error, groups)
    if not any(apart) and not bounded:
        reach = 0.0
    low, high = value - reach, value + reach
    if bounded:
        low, high = max(-1.0, low), min(1.0, high)
    return {"of": of, "minus": minus, "value": value, "low": low, "high": high, "flips": None}


def _reach(error: float, groups: int) -> float:
    from scipy import stats

    return math.inf if groups < 2 else float(stats.t.ppf((1 + CONFIDENCE) / 2, groups - 1)) * error


def clustered(
    values: Sequence[float], clusters: Sequence[str], weights: Sequence[float] | None = None
) -> tuple[float, float]:
    """Mean, weighted if there are weights, and its cluster-robust standard error (0 if all values are alike)."""
    import numpy as np
    import statsmodels.api as sm

    held = np.asarray(values, dtype=float)
    weigh = np.ones(len(held)) if weights is None else np.asarray(weights, dtype=float)
    middle = float(np.average(held, weights=weigh))
    labels = np.unique(clusters, return_inverse=True)[1]
    if labels.max(initial=0) == 0 or np.ptp(held) == 0:
        return middle, 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: Any = sm.WLS(held, np.ones(len(held)), weights=weigh)
        fit = model.fit(cov_type="cluster", cov_kwds={"groups": labels})
    return middle, float(fit.bse[0])
