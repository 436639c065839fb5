"""Intervals and flips against independent references and by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etabli.evaluation import intervals
from etabli.evaluation.verdict import more_rows


def test_unclustered_share_is_wilson():
    """With one row a cluster the clustered error is the ordinary one, and Wilson's formula written out again."""
    hits = [True] * 30 + [False] * 20
    got = intervals.share_interval(hits, [str(i) for i in range(50)])
    n, p, z = 50, 0.6, 1.959964
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    assert got["low"] == pytest.approx(centre - half, rel=1e-6)
    assert got["high"] == pytest.approx(centre + half, rel=1e-6)


def test_the_error_leaves_out_a_cluster_at_a_time():
    """Against the jackknife done by hand, and against statsmodels where clusters are of one size."""
    import statsmodels.api as sm

    rng = np.random.default_rng(0)
    for _ in range(50):
        even = np.repeat(np.arange(12), 4)
        uneven = rng.integers(0, 12, 48)
        values, weights = rng.normal(size=48), rng.integers(1, 9, 48).astype(float)
        fit = sm.OLS(values, np.ones(48)).fit(cov_type="cluster", cov_kwds={"groups": even})
        got = intervals.clustered_mean(list(values), list(map(str, even)))
        assert got == pytest.approx((values.mean(), fit.bse[0]))
        names = sorted(set(uneven))
        left = [np.average(values[uneven != name], weights=weights[uneven != name]) for name in names]
        middle = np.average(values, weights=weights)
        by_hand = np.sqrt((len(names) - 1) / len(names) * sum((one - middle) ** 2 for one in left))
        assert intervals.clustered_mean(list(values), list(map(str, uneven)), list(weights)) == pytest.approx(
            (middle, by_hand)
        )


def test_effective_clusters():
    assert intervals.effective_clusters(list("aabbcc")) == 3
    assert intervals.effective_clusters(["big"] * 100 + [str(at) for at in range(10)]) < 1.3
    assert intervals.effective_clusters(["a", "b"], [9.0, 1.0]) == pytest.approx(100 / 82)


def test_few_changes_are_no_certainty():
    """Four of four fixed, or five of a hundred with none broken: the exact test is not convinced, nor are these."""
    for fixed, total in ((4, 4), (5, 100), (4, 100), (1, 100)):
        values = {"a": [1.0] * total, "b": [0.0] * fixed + [1.0] * (total - fixed)}
        gap = intervals.paired_difference("a", "b", values, list(map(str, range(total))))
        assert gap["low"] <= 0 < gap["value"] <= gap["high"]
    for values in ([1.0] * 10, [0.0] * 10, [0.5] * 10):
        got = intervals.mean_interval(values, list(map(str, range(10))), bounded=True)
        assert got["high"] - got["low"] > 0.2 and got["low"] <= values[0] <= got["high"]
    same = intervals.paired_difference(
        "a", "b", {"a": [2.5] * 9, "b": [1.0] * 9}, list(map(str, range(9))), bounded=False
    )
    assert same["low"] == -np.inf and same["high"] == np.inf


def test_clusters_that_cancel_are_no_certainty():
    values = [0.0, 1.0] * 10
    got = intervals.mean_interval(values, [str(at // 2) for at in range(20)], bounded=True)
    assert got["high"] - got["low"] > 0.3


@pytest.mark.parametrize("kind", ["share", "difference"])
def test_coverage_on_clustered_data(kind):
    """600 simulated data sets with a strong template effect: about 95 % of the intervals hold the truth."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(600):
        level = np.repeat(rng.beta(2, 2, 40), 3)  # 40 templates, 3 rows each, mean 0.5
        clusters = [str(i // 3) for i in range(120)]
        a, b = (rng.random(120) < level).astype(float), (rng.random(120) < level * 0.6).astype(float)
        if kind == "share":
            got, truth = intervals.share_interval(list(a), clusters), 0.5
        else:
            got, truth = intervals.paired_difference("a", "b", {"a": list(a), "b": list(b)}, clusters), 0.2
        held += got["low"] <= truth <= got["high"]
    assert 0.92 <= held / 600 <= 0.98


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.data())
def test_intervals_hold_their_value_and_stay_in_range(hits, data):
    clusters = data.draw(st.lists(st.sampled_from("abcdef"), min_size=len(hits), max_size=len(hits)))
    got = intervals.share_interval(hits, clusters)
    assert 0 <= got["low"] <= got["value"] + 1e-9 and got["value"] - 1e-9 <= got["high"] <= 1
    if all(hits) or not any(hits):
        assert got["high"] - got["low"] > 0.1, "no certainty from a perfect score"
    gap = intervals.paired_difference("x", "y", {"x": hits, "y": hits}, clusters)
    assert gap["value"] == 0 and gap["low"] < 0 < gap["high"]


def test_more_rows_is_the_power_of_a_t_test():
    """With so many rows in all, four simulated evaluations in five tell."""
    rng = np.random.default_rng(0)
    values = {"a": list(rng.normal(0.05, 1, 80)), "b": [0.0] * 80}
    gap = intervals.paired_difference("a", "b", values, list(map(str, range(80))), bounded=False)
    more = more_rows(gap)
    spread = np.std(values["a"], ddof=1)
    told = rng.normal(gap["value"], spread, (4000, 80 + more))
    t = told.mean(1) / (told.std(1, ddof=1) / np.sqrt(80 + more))
    assert 0.77 < (t > 1.96).mean() < 0.83
    assert more_rows({**gap, "value": 0.0}) is None and more_rows({**gap, "effective": 1.0}) is None
    assert more_rows({**gap, "value": 1e-5}) is None, "more than a million"
