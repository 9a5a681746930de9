"""The squeeze index on curves made by hand, and what it does not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.diagnose.common import series
from unbelief.diagnose.index import Resampled, index_of, squeeze, squeeze_index
from unbelief.diagnose.series import NO_HIGH, NOT_FINITE


def test_rise_then_fall_by_hand() -> None:
    # gradient ascent: the high band rises by 1.5 and 0.5, then falls; the target falls by 1, 3, 9.
    # min(rise, fall): 0, min(1.5, 1) = 1, min(0.5, 3) = 0.5, min(-4, 9) = -4 -> index 1 at point 1
    target, high = np.array([-1.0, -2.0, -4.0, -10.0]), np.array([-3.0, -1.5, -2.5, -7.0])
    np.testing.assert_allclose(squeeze(target, high), [0, 1, 0.5, -4])
    assert squeeze_index(target, high) == 1.0


@pytest.mark.parametrize(
    ("target", "high", "index"),
    [
        ([-1, -5, -9], [-2, -6, -9], 0.0),  # collapse: both fall
        ([-5, -3, -1], [-6, -5, -4], 0.0),  # learning: both rise
        ([-1, -9, -9], [-2, -2, -2], 0.0),  # the target alone
        ([-1, -1, -1], [-5, -3, -2], 0.0),  # the band alone
        ([-1, -2, -3], [-3, -2.5, -2], 1.0),  # both, to the end
    ],
)
def test_what_is_no_squeezing_gives_zero(
    target: list[float], high: list[float], index: float
) -> None:
    assert squeeze_index(np.array(target), np.array(high)) == index


CURVES = arrays(np.float64, (3, 4), elements=st.floats(-50, 0, allow_subnormal=False))


@given(CURVES, CURVES, st.floats(-10, 10), st.floats(-10, 10))
def test_only_changes_count(
    target: np.ndarray, high: np.ndarray, shift_target: float, shift_high: float
) -> None:
    index = squeeze_index(target, high)
    assert (index >= 0).all()
    moved = squeeze_index(target + shift_target, high + shift_high)
    np.testing.assert_allclose(moved, index, atol=1e-9)
    # A larger fall or rise never makes it smaller.
    assert (squeeze_index(target - np.array([0, 1, 1, 1]), high) >= index - 1e-12).all()
    assert (squeeze_index(target, high + np.array([0, 1, 1, 1])) >= index - 1e-12).all()


def test_the_index_of_a_set_is_that_of_the_mean_curves() -> None:
    # Two prompts squeeze by 2 at different points. Mean target 0, -1, -2; mean high 0, 1, 1:
    # squeeze 0, 1, 1. Their own indices: min(2, 2) at point 1 and min(2, 2) at point 2.
    made = series([[0, -2, -2], [0, 0, -2]], [[0, 2, 0], [0, 0, 2]])
    found = index_of(made)
    assert found.index.value == 1.0
    assert found.at == 1  # the first of equals
    np.testing.assert_allclose(found.prompts, [2.0, 2.0])
    assert found.mean_of_prompts.value == 2.0
    assert found.share.value == 1.0
    assert [e.value for e in found.rise] == [0, 1, 1]
    assert [e.value for e in found.fall] == [0, 1, 2]
    assert [e.value for e in found.gap] == [0, 2, 3]


def test_interval_by_hand() -> None:
    # Two clusters with indices 0 and 2 (the mean curve's is linear here): resamples give 0, 1, 2
    # with probabilities 1/4, 1/2, 1/4, so the 95 % interval is all of it.
    made = series([[0, 0], [0, -2]], [[0, 0], [0, 2]])
    estimate = index_of(made).index
    assert (estimate.value, estimate.low, estimate.high) == (1.0, 0.0, 2.0)
    assert (estimate.n, estimate.n_unscored, estimate.unit) == (2, 0, "nats per token")
    same = index_of(series([[0, -2], [0, -2]], [[0, 2], [0, 2]])).index
    assert (same.value, same.low, same.high) == (2.0, 2.0, 2.0)


def test_prompts_of_a_group_are_one_observation() -> None:
    curves = [[0.0, -2.0]] * 6, [[0.0, float(i)] for i in range(6)]
    alone = index_of(series(*curves)).index
    grouped = index_of(series(*curves, groups=list("aaabbb"))).index
    one = index_of(series(*curves, groups=list("aaaaaa"))).index
    assert alone.value == pytest.approx(2.0) == grouped.value == one.value
    assert None not in (alone.low, grouped.low)
    assert (one.low, one.high, one.interval) == (None, None, "")


@settings(max_examples=20)
@given(st.permutations(range(5)))
def test_order_of_prompts_does_not_matter(order: list[int]) -> None:
    target = [[0, -1 - i, -2] for i in range(5)]
    high = [[0, i / 2, -i] for i in range(5)]
    groups = ["a", None, "a", "b", None]
    ids = [f"f{i}" for i in range(5)]
    straight = index_of(series(target, high, groups))
    mixed = index_of(
        series(
            [target[i] for i in order],
            [high[i] for i in order],
            [groups[i] for i in order],
            record_ids=tuple(ids[i] for i in order),
        )
    )
    for name in ("index", "mean_of_prompts", "share"):
        a, b = getattr(straight, name), getattr(mixed, name)
        np.testing.assert_allclose([a.value, a.low, a.high], [b.value, b.low, b.high])
    assert mixed.at == straight.at
    np.testing.assert_allclose(mixed.prompts, straight.prompts[order])


def test_prompts_without_score_are_counted_not_averaged() -> None:
    nan = float("nan")
    made = series([[0, -2], [0, nan], [0, -2]], [[0, 2], [0, 9], [nan, nan]])
    found = index_of(made)
    assert (found.index.value, found.index.n, found.index.n_unscored) == (2.0, 1, 2)
    assert made.unscored() == {NO_HIGH: 1, NOT_FINITE: 1}
    assert np.isnan(found.prompts[1:]).all()


def test_own_parts_have_an_index_of_their_own() -> None:
    high = np.array([[0.0, 3.0]])
    made = series([[0, -2]], [[0, -1]], own={"high": high, "mid": high, "low": high})
    assert (index_of(made).index.value, index_of(made, "own").index.value) == (0.0, 2.0)


def test_in_probability() -> None:
    # the target loses 0.4 and the band gains 0.3: 0.3 changed hands
    masses = {b: np.array([[0.1, 0.4]]) for b in ("high", "mid", "low")}
    made = series([[0, -2]], [[0, -1]], target_mass=np.array([[0.6, 0.2]]), band_masses=masses)
    found = index_of(made, "probability").index
    assert (found.value, found.unit) == (pytest.approx(0.3), "probability")


def test_nothing_scored() -> None:
    nan = float("nan")
    found = index_of(series([[0, -1]], [[nan, nan]]))
    assert (found.index.value, found.index.low, found.index.n) == (None, None, 0)
    assert found.at == 0


def test_means_weigh_clusters_by_their_size() -> None:
    # weights (2/2, 0): cluster a twice; its mean of 1 and 3 is 2
    resampled = Resampled(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, 0, 1]))
    means = resampled.means(np.array([[1.0], [3.0], [8.0]]))
    np.testing.assert_allclose(means, [[4.0], [2.0]])
