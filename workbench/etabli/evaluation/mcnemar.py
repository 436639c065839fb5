"""Count the rows that changed sides (fixed, broken, right both times, wrong both times), and test the counts."""

from collections import Counter
from collections.abc import Sequence

from etabli.core.contracts import Flips

RESAMPLES = 9999


def count_flips(subject: Sequence[float], baseline: Sequence[float], clusters: Sequence[str]) -> Flips:
    """Count the rows by who was right, with p-values of such a split if neither is better.

    Args:
        subject, baseline: 1 for a right answer and 0 for a wrong one, the same rows in the same order.
        clusters: rows of one cluster are not independent, so their signs are swapped together.

    Returns:
        The counts, with ``mcnemar``: the exact test on rows (statsmodels); ``by_cluster``: a permutation test (scipy),
        exact where the clusters are few enough for all arrangements, with a fixed seed where they are not.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    counts = Counter((bool(hit), bool(baseline_hit)) for hit, baseline_hit in zip(subject, baseline))
    contingency = [[counts[True, True], counts[True, False]], [counts[False, True], counts[False, False]]]
    is_changed = counts[True, False] + counts[False, True] > 0
    return {
        "fixed": counts[True, False],
        "broken": counts[False, True],
        "both": counts[True, True],
        "neither": counts[False, False],
        "mcnemar": min(1.0, float(mcnemar(contingency, exact=True).pvalue)) if is_changed else 1.0,
        "by_cluster": None if len(set(clusters)) == len(subject) else _permute_clusters(subject, baseline, clusters),
    }


def _permute_clusters(subject: Sequence[float], baseline: Sequence[float], clusters: Sequence[str]) -> float:
    """The p-value of a permutation test that swaps the signs of whole clusters."""
    import numpy as np
    from scipy import stats

    labels = np.unique(clusters, return_inverse=True)[1]
    subject_sums, baseline_sums = (
        np.bincount(labels, weights=np.asarray(side, dtype=float)) for side in (subject, baseline)
    )
    changes = subject_sums != baseline_sums  # a cluster without a change has the same sum with either sign
    if changes.sum() < 2:
        return 1.0
    test = stats.permutation_test(
        (subject_sums[changes], baseline_sums[changes]),
        lambda first, second, axis: (first - second).sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, 2_000_000 // int(changes.sum())),
        random_state=np.random.default_rng(0),
    )
    return float(test.pvalue)
