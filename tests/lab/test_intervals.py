from __future__ import annotations

import numpy as np
import pytest

from unbelief.lab.intervals import bootstrap_weights, clustered_mean, seed_mean


def test_bootstrap_weights_are_shares_of_resamples():
    weights = bootstrap_weights(5, draws=50)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(weights * 5, np.round(weights * 5))


def test_one_cluster_has_no_interval():
    one = clustered_mean([0.2, 0.4], ["a", "a"])
    assert one.value == pytest.approx(0.3)
    assert one.low is None and one.high is None and one.interval.startswith("none")


def test_interval_narrows_with_more_clusters():
    rng = np.random.default_rng(0)
    few = clustered_mean(rng.normal(size=8).tolist(), [str(i) for i in range(8)])
    many = clustered_mean(rng.normal(size=200).tolist(), [str(i) for i in range(200)])
    assert many.high - many.low < few.high - few.low


def test_seed_interval_is_students_t():
    # Values 1, 2, 3: mean 2, s = 1, t(.975, 2) = 4.303, half width 4.303 / sqrt(3) = 2.484.
    mean = seed_mean([1.0, 2.0, 3.0])
    assert mean.value == pytest.approx(2.0)
    assert mean.high - mean.value == pytest.approx(2.484, abs=1e-3)


def test_empty_input_is_an_error_not_a_zero():
    with pytest.raises(ValueError, match="0 values"):
        clustered_mean([], [])
    with pytest.raises(ValueError, match="at least two"):
        seed_mean([1.0])
