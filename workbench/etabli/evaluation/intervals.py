"""Means and paired differences with 95 % intervals, clustered where rows share a template or a conversation.

Rows from one template stand or fall together, so that n rows hold less than n rows' worth of news. Standard errors are
clustered (Miller, arXiv 2411.00640), with t quantiles. What counts for these is how many clusters
there are in effect (Kish): one large cluster among small ones is nearly all there is.
``benchmarks/coverage.py`` measures how often each of these intervals holds the truth, and where it does not.
"""

import math
from collections.abc import Sequence

from etabli.core.contracts import Difference, Estimate

CONFIDENCE = 0.95
TAIL = (1 + CONFIDENCE) / 2
CHANGED = 6  # clusters with a change, from which on a t interval is as good


def share_interval(hits: Sequence[float], clusters: Sequence[str]) -> Estimate:
    """Share of hits with a Wilson interval on the effective sample size.

    The effective size is the one at which independent rows would have the clustered standard error (Korn and
    Graubard's device, smaller where there are few clusters to read that error from). With no hits or only hits there
    is no error to read: then each effective cluster counts once.
    """
    value, error = clustered_mean(hits, clusters)
    return {"value": value, **_wilson(value, error, value * (1 - value), clusters), "n": len(hits)}


def mean_interval(
    values: Sequence[float], clusters: Sequence[str], weights: Sequence[float] | None = None, bounded: bool = False
) -> Estimate:
    """Mean, or ratio of two sums, with a t interval.

    Args:
        values: one number a row; clusters: which rows stand or fall together.
        weights: with ``values`` a row's loss a token and ``weights`` its tokens, this is the loss a token overall.
        bounded: the numbers lie between 0 and 1; if all are alike the interval is that of a share.

    Returns:
        Infinite bounds where nothing is known of the error: a single cluster, or numbers without bounds all alike.
    """
    value, error = clustered_mean(values, clusters, weights)
    if bounded and error == 0:
        return {"value": value, **_wilson(value, 0.0, 0.0, clusters), "n": len(values)}
    reach = _reach(error, effective_clusters(clusters, weights))
    low, high = value - reach, value + reach
    if bounded:
        low, high = max(0.0, low), min(1.0, high)
    return {"value": value, "low": low, "high": high, "n": len(values)}


def _wilson(value: float, error: float, variance: float, clusters: Sequence[str]) -> dict[str, float]:
    from statsmodels.stats.proportion import proportion_confint

    size = _size(error, variance, clusters, shrink=True)
    low, high = proportion_confint(value * size, size, alpha=1 - CONFIDENCE, method="wilson")
    return {"low": float(max(0.0, min(low, value))), "high": float(min(1.0, max(high, value)))}


def _size(error: float, variance: float, clusters: Sequence[str], shrink: bool) -> float:
    """So many independent rows would have this error; ``shrink`` where t quantiles are not used afterwards."""
    n, groups = len(clusters), effective_clusters(clusters)
    if len(set(clusters)) == n:
        return n
    if error == 0:
        return groups
    return min(n, variance / error**2 * (_fewer(n, groups) if shrink else 1.0))


def _fewer(n: int, groups: float) -> float:
    """The square of one t quantile over another: of n rows, and of the clusters there are in effect."""
    return float((_quantile(n - 1) / _quantile(groups - 1)) ** 2)


def paired_difference(
    of: str, minus: str, values: dict[str, Sequence[float]], clusters: Sequence[str],
    weights: Sequence[float] | None = None, bounded: bool = True,
) -> Difference:  # fmt: skip
    """Mean of ``of`` minus mean of ``minus`` over the same rows, by clustered paired differences.

    Args:
        of, minus: names of arms in ``values``.
        values: for every arm one number a row, in the same order; clusters, weights: as for ``mean``.
        bounded: the numbers lie between 0 and 1. Yes and no, where fewer than six clusters changed, get Bonett and
            Price's interval (2012); other numbers, if every row agrees, get what so many clusters can exclude.
    """
    apart = [float(a) - float(b) for a, b in zip(values[of], values[minus])]
    value, error = clustered_mean(apart, clusters, weights)
    if {*values[of], *values[minus]} <= {0, 1} and len({c for c, change in zip(clusters, apart) if change}) < CHANGED:
        low, high = _bonett_price(apart, error, clusters)
    else:
        groups = effective_clusters(clusters, weights)
        agreed = (1 + abs(value)) * (1 - (1 - TAIL) ** (1 / groups))
        reach = agreed if bounded and error == 0 else _reach(error, groups)
        low, high = value - reach, value + reach
    if bounded:
        low, high = max(-1.0, low), min(1.0, high)
    return {
        "of": of, "minus": minus, "n": len(apart), "clusters": len(set(clusters)),
        "effective": effective_clusters(clusters, weights), "value": value, "low": low, "high": high, "flips": None,
    }  # fmt: skip


def _bonett_price(apart: Sequence[float], error: float, clusters: Sequence[str]) -> tuple[float, float]:
    """One row more of either kind, on the effective size; t quantiles where there are clusters."""
    n = len(apart)
    fixed, broken = apart.count(1.0) / n, apart.count(-1.0) / n
    size = _size(error, fixed + broken - (fixed - broken) ** 2, clusters, shrink=False)
    up, down = ((share * size + 1) / (size + 2) for share in (fixed, broken))
    spread = math.sqrt((up + down - (up - down) ** 2) / (size + 2))
    reach = spread * _quantile(effective_clusters(clusters) - 1)
    return min(up - down - reach, fixed - broken), max(up - down + reach, fixed - broken)


def _reach(error: float, groups: float) -> float:
    return math.inf if groups < 2 or error == 0 else _quantile(groups - 1) * error


def _quantile(freedom: float) -> float:
    from scipy import stats

    return float(stats.t.ppf(TAIL, max(0.25, freedom)))


def effective_clusters(clusters: Sequence[str], weights: Sequence[float] | None = None) -> float:
    """How many clusters of one size tell as much (Kish): fewer than there are where some are much larger."""
    sizes: dict[str, float] = {}
    for cluster, weight in zip(clusters, weights or [1.0] * len(clusters)):
        sizes[cluster] = sizes.get(cluster, 0.0) + weight
    return sum(sizes.values()) ** 2 / sum(size**2 for size in sizes.values())


def clustered_mean(
    values: Sequence[float], clusters: Sequence[str], weights: Sequence[float] | None = None
) -> tuple[float, float]:
    """Mean, weighted if there are weights, and its standard error: a jackknife that leaves out a cluster at a time.

    With clusters of one size this is statsmodels' clustered error; with uneven ones, where that is too small, it is
    not (CR3: MacKinnon, Nielsen and Webb, arXiv 2301.04527). Exact sums, so that every processor gives the same.

    Returns:
        An error of 0 where there is nothing to read it from: values all alike, or one cluster.
    """
    weigh = list(weights or [1.0] * len(values))
    sums: dict[str, list[list[float]]] = {}
    for value, weight, cluster in zip(values, weigh, clusters):
        held = sums.setdefault(cluster, [[], []])
        held[0].append(value * weight)
        held[1].append(weight)
    tops, bottoms = ([math.fsum(held[part]) for held in sums.values()] for part in (0, 1))
    top, bottom, groups = math.fsum(tops), math.fsum(bottoms), len(sums)
    if groups == 1 or max(values) - min(values) <= 1e-9 * max(1.0, *map(abs, values)):
        return top / bottom, 0.0
    without = [(top - one) / (bottom - other) for one, other in zip(tops, bottoms)]
    error = math.sqrt((groups - 1) / groups * math.fsum((one - top / bottom) ** 2 for one in without))
    return top / bottom, error or _of_rows(values, weigh)


def _of_rows(values: Sequence[float], weights: Sequence[float]) -> float:
    """The error of independent rows, where clusters cancel each other exactly."""
    return clustered_mean(values, list(map(str, range(len(values)))), weights)[1]
