"""Which rows changed sides: fixed, broken, right both times, wrong both times."""

from collections.abc import Sequence

from etabli.core.contracts import Flips

RESAMPLES = 9999


def count_flips(of: Sequence[float], minus: Sequence[float], clusters: Sequence[str]) -> Flips:
    """Count the rows by who was right, and how likely such a split is if neither is better.

    Args:
        of, minus: 1 for a right answer and 0 for a wrong one, the same rows in the same order.
        clusters: rows of one cluster are no independent witnesses, so their signs are swapped together.

    Returns:
        ``mcnemar``: the exact test on rows (statsmodels); ``by_cluster``: a permutation test (scipy), exact where the
        clusters are few enough for all arrangements, with a fixed seed where they are not.
    """
    pairs = [(bool(a), bool(b)) for a, b in zip(of, minus)]
    fixed, broken = pairs.count((True, False)), pairs.count((False, True))
    both, neither = pairs.count((True, True)), pairs.count((False, False))
    return {
        "fixed": fixed, "broken": broken, "both": both, "neither": neither,
        "mcnemar": _mcnemar(fixed, broken, both, neither),
        "by_cluster": None if len(set(clusters)) == len(pairs) else _by_cluster(of, minus, clusters),
    }  # fmt: skip


def _mcnemar(fixed: int, broken: int, both: int, neither: int) -> float:
    from statsmodels.stats.contingency_tables import mcnemar

    return min(1.0, float(mcnemar([[both, fixed], [broken, neither]], exact=True).pvalue)) if fixed + broken else 1.0


def _by_cluster(of: Sequence[float], minus: Sequence[float], clusters: Sequence[str]) -> float:
    import numpy as np
    from scipy import stats

    labels = np.unique(clusters, return_inverse=True)[1]
    sums = [np.bincount(labels, weights=np.asarray(side, dtype=float)) for side in (of, minus)]
    changed = sums[0] != sums[1]  # a cluster without a change has the same sum however its sign is swapped
    if not changed.any():
        return 1.0
    one, other = sums[0][changed], sums[1][changed]
    if len(one) == 1:
        return 1.0
    found = stats.permutation_test(
        (one, other), lambda a, b, axis: (a - b).sum(axis=axis), permutation_type="samples", vectorized=True,
        n_resamples=RESAMPLES, batch=max(1, 2_000_000 // len(one)), random_state=np.random.default_rng(0),
    )  # fmt: skip
    return float(found.pvalue)
