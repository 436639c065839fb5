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
    got = intervals.share(hits, [str(i) for i in range(50)])
    n, p, z = 50, 0.6, 1.959964
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    assert got["low"] == pytest.approx(centre - half, abs=0.005)
    assert got["high"] == pytest.approx(centre + half, abs=0.005)


def test_difference_equals_the_sandwich_formula():
    rng = np.random.default_rng(0)
    clusters = [f"t{i}" for i in rng.integers(0, 20, 100)]
    hits = {"tuned": list(rng.random(100) < 0.7), "base": list(rng.random(100) < 0.4)}
    got = intervals.difference("tuned", "base", hits, clusters)
    apart = np.array(hits["tuned"], float) - np.array(hits["base"], float)
    groups = len(set(clusters))
    sums = [sum((a - apart.mean()) for a, c in zip(apart, clusters) if c == name) for name in set(clusters)]
    error = np.sqrt(sum(s * s for s in sums)) / 100 * np.sqrt(groups / (groups - 1))
    assert got["value"] == pytest.approx(apart.mean())
    from scipy import stats

    assert got["high"] - got["value"] == pytest.approx(stats.t.ppf(0.975, groups - 1) * error, rel=1e-3)


@pytest.mark.parametrize("kind", ["share", "difference"])
def test_coverage_on_clustered_data(kind):
    """600 simulated data sets with a strong template effect: about 95 % of the intervals hold the truth."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(600):
        level = np.repeat(rng.beta(2, 2, 40), 3)  # 40 templates, 3 rows each, mean 0.5
        clusters = [str(i // 3) for i in range(120)]
        a, b = rng.random(120) < level, rng.random(120) < level * 0.6
        if kind == "share":
            got, truth = intervals.share(list(a), clusters), 0.5
        else:
            got, truth = intervals.difference("a", "b", {"a": list(a), "b": list(b)}, clusters), 0.2
        held += got["low"] <= truth <= got["high"]
    assert 0.92 <= held / 600 <= 0.98


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.data())
def test_intervals_hold_their_value_and_stay_in_range(hits, data):
    clusters = data.draw(st.lists(st.sampled_from("abcdef"), min_size=len(hits), max_size=len(hits)))
    got = intervals.share(hits, clusters)
    assert 0 <= got["low"] <= got["value"] + 1e-9 and got["value"] - 1e-9 <= got["high"] <= 1
    if all(hits) or not any(hits):
        assert got["high"] - got["low"] > 0.1, "no certainty from a perfect score"
    gap = intervals.difference("x", "y", {"x": hits, "y": hits}, clusters)
    assert gap["value"] == 0 and gap["low"] < 0 < gap["high"]


def test_more_rows():
    assert more_rows(0.1, 0.2, 50) == 150  # half the reach takes four times the rows
    assert more_rows(0.0, 0.2, 50) is None
