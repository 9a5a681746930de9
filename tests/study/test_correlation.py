from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbelief.study import correlation as c

ONE = np.ones((1, 4))


def test_pearson_slope_and_ranks_by_hand():
    # x = 1 2 3 4, y = 1 3 2 8, means 2.5 and 3.5:
    # Σ dx dy = (-1.5)(-2.5) + (-.5)(-.5) + (.5)(-1.5) + (1.5)(4.5) = 3.75 + .25 - .75 + 6.75 = 10
    # Σ dx² = 5, Σ dy² = 6.25 + .25 + 2.25 + 20.25 = 29; r = 10 / √145, slope 10 / 5 = 2.
    x, y = np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 8])
    assert c.pearson(x, y, ONE) == pytest.approx([10 / math.sqrt(145)])
    assert c.slope(x, y, ONE) == pytest.approx([2.0])
    # Ranks 1 2 3 4 and 1 3 2 4: Σ d² = 0 + 1 + 1 + 0 = 2, ρ = 1 - 6·2 / (4·15) = 0.8.
    assert c.spearman(x, y, ONE) == pytest.approx([0.8])
    # Six pairs, one of them (the middle) the other way round: τ = (5 - 1) / 6.
    assert c.kendall(x, y, ONE) == pytest.approx([4 / 6])


def test_ties_share_their_mean_rank():
    # 5 5 7 9: the two fives share places 0 and 1. Shifted by ½ throughout, which nothing notices.
    assert c.ranks(np.array([5.0, 9, 5, 7]), ONE)[0].tolist() == [1.0, 3.5, 1.0, 2.5]
    # τ_b: x = 1 1 2, y = 1 2 3. Pairs: (1,1) tied in x, two concordant.
    # τ_b = 2 / √(2 · 3).
    x, y = np.array([1.0, 1, 2]), np.array([1.0, 2, 3])
    assert c.kendall(x, y, np.ones((1, 3))) == pytest.approx([2 / math.sqrt(6)])


def test_a_resample_counts_as_copies():
    """Weights 2 0 1 3 give what the sample with copies gives."""
    x, y = np.array([1.0, 2, 3, 5]), np.array([2.0, 9, 1, 4])
    w = np.array([[2.0, 0, 1, 3]])
    copies = [0, 0, 2, 3, 3, 3]
    flat = np.ones((1, 6))
    for f in (c.pearson, c.slope, c.spearman, c.kendall):
        assert f(x, y, w) == pytest.approx(f(x[copies], y[copies], flat))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=5, max_size=12))
def test_agrees_with_scipy(pairs):
    from scipy import stats

    x, y = (np.array(side, float) for side in zip(*pairs, strict=True))
    if len(set(x)) < 2 or len(set(y)) < 2:
        assert np.isnan(c.pearson(x, y, np.ones((1, len(x))))[0])
        return
    w = np.ones((1, len(x)))
    assert c.pearson(x, y, w)[0] == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)
    assert c.spearman(x, y, w)[0] == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)
    assert c.kendall(x, y, w)[0] == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-9)
    assert c.slope(x, y, w)[0] == pytest.approx(stats.linregress(x, y).slope, abs=1e-9)


def test_within_takes_out_what_differs_between_groups():
    # Group b is above group a on both sides, inside each group x and y run in opposite directions.
    x = np.array([1.0, 2, 11, 12])
    y = np.array([2.0, 1, 12, 11])
    w = ONE
    assert c.spearman(x, y, w)[0] == pytest.approx(0.6)  # Σ d² = 4: 1 - 24 / 60
    rx, ry = c.ranks(x, w), c.ranks(y, w)
    assert c.within(rx, ry, ["a", "a", "b", "b"], w)[0] == pytest.approx(-1.0)


def test_partial_by_hand():
    # (.8 - .6·.5) / √((1 - .36)(1 - .25)) = .5 / √.48
    one = np.array([0.8]), np.array([0.6]), np.array([0.5])
    assert c.partial(*one) == pytest.approx([0.5 / math.sqrt(0.48)])
    # A metric that is the target itself says nothing beyond it.
    same = np.array([0.9]), np.array([1.0]), np.array([0.9])
    assert np.isnan(c.partial(*same)[0])


def test_clusters_are_resampled_whole_and_one_cluster_has_no_interval():
    w = c.resamples(["a", "a", "b", "c"], draws=50)
    assert w.shape == (51, 4) and (w[0] == 1).all()
    assert (w[:, 0] == w[:, 1]).all()
    # Three clusters are drawn each time: their counts sum to 3.
    assert (w[1:, 0] + w[1:, 2] + w[1:, 3]) == pytest.approx(np.full(50, 3.0))
    alone = c.resamples(["a"] * 4)
    assert alone.shape == (1, 4)
    stated = c.estimate(c.pearson(np.arange(4.0), np.arange(4.0), alone), 4, 0, "r", "methods")
    assert (stated.value, stated.low, stated.interval) == (1.0, None, "")


def test_what_does_not_vary_has_no_correlation_but_a_reason():
    value = c.pearson(np.full(4, 0.1), np.arange(4.0), ONE)
    stated = c.estimate(value, 4, 1, "r", "models")
    assert stated.value is None and stated.n_unscored == 1
    assert stated.reasons == {"a side does not vary over the models": 1}
