"""Ratios and correlations by hand, and against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from unbelief.diagnose.agreement import pooled_ratio, rank_correlation, share


def test_ratio_by_hand() -> None:
    # (1 + 2) / (2 + 2); a cluster alone gives 1/2 or 1, so the interval ends there
    found = pooled_ratio(np.array([1.0, 2.0]), np.array([2.0, 2.0]), ["a", "b"])
    assert (found.value, found.low, found.high, found.n) == (0.75, 0.5, 1.0, 2)


def test_share_of_one_cluster_has_no_interval() -> None:
    found = share(np.array([True, True, False, True]), ["a"] * 4)
    assert (found.value, found.low, found.high, found.interval) == (0.75, None, None, "")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_correlation_is_spearmans(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, float).T
    if len(set(x)) < 2 or len(set(y)) < 2:
        return
    found = rank_correlation(x, y, ["a"] * len(x))
    assert found.value == pytest.approx(float(spearmanr(x, y).statistic))
    assert rank_correlation(np.exp(x), -y, ["a"] * len(x)).value == pytest.approx(-found.value)


def test_a_perfect_correlation_stays_perfect_in_every_resample() -> None:
    x = np.arange(12.0)
    found = rank_correlation(x, x**3, [str(i // 3) for i in range(12)])
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))
