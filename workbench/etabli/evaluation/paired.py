"""Means and paired differences with 95 % intervals, clustered where rows share a template.

Rows from one template stand or fall together, so that n rows hold less than n rows' worth of news. Standard errors are
clustered (Miller, arXiv 2411.00640), by statsmodels; with few clusters t quantiles stand in for normal ones.
"""

import warnings
from typing import Any

from etabli.contracts import Difference, Estimate

CONFIDENCE = 0.95


def share(hits: list[bool], clusters: list[str]) -> Estimate:
    """Share of hits with a Wilson interval on the effective sample size.

    The effective size is the one at which independent rows would have the clustered standard error (Korn and
    Graubard's device). With no hits or only hits there is no error to read it from: then each cluster counts once.
    """
    from statsmodels.stats.proportion import proportion_confint

    n, groups = len(hits), len(set(clusters))
    value = sum(hits) / n
    error = _clustered([float(hit) for hit in hits], clusters)[1]
    size = min(n, value * (1 - value) / error**2) if error > 0 else groups
    low, high = proportion_confint(value * size, size, alpha=1 - CONFIDENCE, method="wilson")
    return {"value": value, "low": float(max(0.0, low)), "high": float(min(1.0, high))}


def difference(of: str, minus: str, hits: dict[str, list[bool]], clusters: list[str]) -> Difference:
    """Mean of ``of`` minus mean of ``minus`` over the same rows, by clustered paired differences."""
    from scipy import stats

    apart = [float(a) - float(b) for a, b in zip(hits[of], hits[minus])]
    value, error = _clustered(apart, clusters)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, max(1, len(set(clusters)) - 1))) * error
    if error == 0:  # every row alike: no more is known than that n clusters agreed
        reach = 3 / len(set(clusters))
    return {"of": of, "minus": minus, "value": value, "low": max(-1.0, value - reach), "high": min(1.0, value + reach)}


def _clustered(values: list[float], clusters: list[str]) -> tuple[float, float]:
    """Mean and its cluster-robust standard error."""
    import numpy as np
    import statsmodels.api as sm

    mean = float(np.mean(values))
    labels = np.unique(clusters, return_inverse=True)[1]
    if labels.max(initial=0) == 0 or np.ptp(values) == 0:
        return mean, 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit: Any = sm.OLS(np.asarray(values), np.ones(len(values))).fit(cov_type="cluster", cov_kwds={"groups": labels})
    return mean, float(fit.bse[0])
