"""Means and paired differences with 95 % intervals, clustered where rows share a template or a conversation.

Answers to rows of one template are correlated, so n rows hold less information than n independent rows. Standard errors
are clustered (Miller, arXiv 2411.00640), with t quantiles on the effective number of clusters (Kish): one large cluster
among small ones counts for nearly all.
``benchmarks/coverage.py`` measures how often each of these intervals holds the true value, and where it does not.
"""

import math
from collections.abc import Mapping, Sequence

from etabli.core.contracts import Difference, Estimate

CONFIDENCE = 0.95
TAIL = (1 + CONFIDENCE) / 2
MIN_CHANGES = 6  # clusters with a change, from which a t interval is as good as Bonett and Price's


def share_interval(hits: Sequence[float], clusters: Sequence[str]) -> Estimate:
    """Share of hits with a Wilson interval on the effective sample size.

    The effective size is the number of independent rows that would have the clustered standard error (Korn and
    Graubard's device, smaller where few clusters make that error uncertain). With no hits or only hits the error
    can't be estimated: then each effective cluster counts once.
    """
    value, error = clustered_mean(hits, clusters)
    low, high = _wilson(value, error, value * (1 - value), clusters)
    return {"value": value, "low": low, "high": high, "n": len(hits)}


def mean_interval(
    values: Sequence[float], clusters: Sequence[str], weights: Sequence[float] | None = None, bounded: bool = False
) -> Estimate:
    """Mean, or ratio of two sums, with a t interval.

    Args:
        values: one number a row; clusters: the cluster of each row.
        weights: with ``values`` the loss per token of each row and ``weights`` its tokens, the mean is the loss per
            token over all rows.
        bounded: the numbers lie between 0 and 1; if all are equal the interval is that of a share.

    Returns:
        Infinite bounds if the error is unknown: a single cluster, or equal numbers without bounds.
    """
    value, error = clustered_mean(values, clusters, weights)
    if bounded and error == 0:
        low, high = _wilson(value, 0.0, 0.0, clusters)
    else:
        reach = _reach(error, effective_clusters(clusters, weights))
        low, high = value - reach, value + reach
    if bounded:
        low, high = max(0.0, low), min(1.0, high)
    return {"value": value, "low": low, "high": high, "n": len(values)}


def _wilson(value: float, error: float, variance: float, clusters: Sequence[str]) -> tuple[float, float]:
    """Wilson's bounds of a share on the effective sample size."""
    from statsmodels.stats.proportion import proportion_confint

    size = _effective_size(error, variance, clusters, shrink=True)
    low, high = proportion_confint(value * size, size, alpha=1 - CONFIDENCE, method="wilson")
    return float(max(0.0, min(low, value))), float(min(1.0, max(high, value)))


def _effective_size(error: float, variance: float, clusters: Sequence[str], shrink: bool) -> float:
    """The number of independent rows with this error; ``shrink`` it if t quantiles are not used afterwards."""
    n, groups = len(clusters), effective_clusters(clusters)
    if len(set(clusters)) == n:
        return n
    if error == 0:
        return groups
    # The factor is the squared ratio of the t quantiles for n rows and for the effective clusters.
    factor = (_t_quantile(n - 1) / _t_quantile(groups - 1)) ** 2 if shrink else 1.0
    return min(n, variance / error**2 * factor)


def paired_difference(
    subject: str,
    baseline: str,
    values: Mapping[str, Sequence[float]],
    clusters: Sequence[str],
    weights: Sequence[float] | None = None,
    bounded: bool = True,
) -> Difference:
    """Mean of ``subject`` minus mean of ``baseline`` over the same rows, by clustered paired differences.

    Args:
        subject, baseline: names of systems in ``values``.
        values: for every system one number a row, in the same order; clusters, weights: as for ``mean_interval``.
        bounded: the numbers lie between 0 and 1. If they are all 0 or 1 and fewer than six clusters changed, the
            interval is Bonett and Price's (2012); for other numbers with equal differences it is what the number of
            clusters can exclude.
    """
    pairs = zip(values[subject], values[baseline])
    gaps = [float(value) - float(baseline_value) for value, baseline_value in pairs]
    value, error = clustered_mean(gaps, clusters, weights)
    groups = effective_clusters(clusters, weights)
    changes = {cluster for cluster, gap in zip(clusters, gaps) if gap}
    if {*values[subject], *values[baseline]} <= {0, 1} and len(changes) < MIN_CHANGES:
        low, high = _bonett_price(gaps, error, clusters)
    elif bounded and error == 0:
        reach = (1 + abs(value)) * (1 - (1 - TAIL) ** (1 / groups))
        low, high = value - reach, value + reach
    else:
        reach = _reach(error, groups)
        low, high = value - reach, value + reach
    if bounded:
        low, high = max(-1.0, low), min(1.0, high)
    return {
        "of": subject,
        "minus": baseline,
        "n": len(gaps),
        "clusters": len(set(clusters)),
        "effective": groups,
        "value": value,
        "low": low,
        "high": high,
        "flips": None,
    }


def _bonett_price(gaps: Sequence[float], error: float, clusters: Sequence[str]) -> tuple[float, float]:
    """Bonett and Price's bounds: one row more of either change, on the effective size, with t quantiles."""
    n = len(gaps)
    gain_share, loss_share = gaps.count(1.0) / n, gaps.count(-1.0) / n
    size = _effective_size(error, gain_share + loss_share - (gain_share - loss_share) ** 2, clusters, shrink=False)
    gain, loss = ((part * size + 1) / (size + 2) for part in (gain_share, loss_share))
    error_of_change = math.sqrt((gain + loss - (gain - loss) ** 2) / (size + 2))
    reach = error_of_change * _t_quantile(effective_clusters(clusters) - 1)
    return min(gain - loss - reach, gain_share - loss_share), max(gain - loss + reach, gain_share - loss_share)


def _reach(error: float, groups: float) -> float:
    return math.inf if groups < 2 or error == 0 else _t_quantile(groups - 1) * error


def _t_quantile(freedom: float) -> float:
    from scipy import stats

    return float(stats.t.ppf(TAIL, max(0.25, freedom)))


def effective_clusters(clusters: Sequence[str], weights: Sequence[float] | None = None) -> float:
    """The number of equal clusters with the same information (Kish): fewer than there are if some are much larger."""
    sizes: dict[str, float] = {}
    for cluster, weight in zip(clusters, weights or [1.0] * len(clusters)):
        sizes[cluster] = sizes.get(cluster, 0.0) + weight
    return sum(sizes.values()) ** 2 / sum(size**2 for size in sizes.values())


def clustered_mean(
    values: Sequence[float], clusters: Sequence[str], weights: Sequence[float] | None = None
) -> tuple[float, float]:
    """The mean, weighted if there are weights, and its standard error by a jackknife over clusters.

    With clusters of equal size this is statsmodels' clustered error; with unequal ones, where that error is too small,
    this one is larger (CR3: MacKinnon, Nielsen and Webb, arXiv 2301.04527). The sums are exact, so that every processor
    gives the same.

    Returns:
        An error of 0 if it can't be estimated: equal values, or one cluster.
    """
    weights = list(weights or [1.0] * len(values))
    products_by_cluster: dict[str, list[float]] = {}
    weights_by_cluster: dict[str, list[float]] = {}
    for value, weight, cluster in zip(values, weights, clusters):
        products_by_cluster.setdefault(cluster, []).append(value * weight)
        weights_by_cluster.setdefault(cluster, []).append(weight)
    cluster_sums = [math.fsum(products) for products in products_by_cluster.values()]
    cluster_weights = [math.fsum(cluster) for cluster in weights_by_cluster.values()]
    total, total_weight, groups = math.fsum(cluster_sums), math.fsum(cluster_weights), len(cluster_sums)
    mean = total / total_weight
    if groups == 1 or max(values) - min(values) <= 1e-9 * max(1.0, *map(abs, values)):
        return mean, 0.0
    jackknife = [
        (total - cluster_sum) / (total_weight - cluster_weight)
        for cluster_sum, cluster_weight in zip(cluster_sums, cluster_weights)
    ]
    error = math.sqrt((groups - 1) / groups * math.fsum((estimate - mean) ** 2 for estimate in jackknife))
    if error == 0:  # clusters cancel each other exactly: use the error of independent rows
        row_clusters = [str(index) for index in range(len(values))]
        error = clustered_mean(values, row_clusters, weights)[1] if groups < len(values) else 0.0
    return mean, error
