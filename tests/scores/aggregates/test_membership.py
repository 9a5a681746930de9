import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from tests.scores.made import scores
from unbelief.scores.conventions import aggregate
from unbelief.scores.statistics import mean_statistic

some = st.lists(st.integers(0, 9), min_size=1, max_size=25)


def side(values, groups=None):
    return mean_statistic(scores(values, groups), unit="nats", draws=2)


def auc(forget, holdout):
    return aggregate("mia_auc").combine([side(forget), side(holdout)], None)


@pytest.mark.parametrize(
    ("forget", "holdout", "value"),
    [
        ([1, 2], [3, 4], 1.0),  # every forget item has the lower loss: fully exposed
        ([3, 4], [1, 2], 0.0),
        ([1, 1], [1, 1], 0.5),
        ([1, 3], [2, 2], 0.5),
        ([1, 2], [2, 3], 3.5 / 4),  # pairs: 1<2, 1<3, 2=2 (half), 2<3
    ],
)
def test_orientation(forget, holdout, value):
    assert auc(forget, holdout).value == pytest.approx(value)


@given(some, some)
@settings(max_examples=40)
def test_agrees_with_mann_whitney(forget, holdout):
    u = mannwhitneyu(holdout, forget, method="asymptotic").statistic if len(
        set(forget) | set(holdout)
    ) > 1 else len(forget) * len(holdout) / 2  # fmt: skip
    assert auc(forget, holdout).value == pytest.approx(u / (len(forget) * len(holdout)))


@given(some, some)
@settings(max_examples=25)
def test_sides_and_maps(forget, holdout):
    value = auc(forget, holdout).value
    assert auc(holdout, forget).value == pytest.approx(1 - value)
    cube = [float(x) ** 3 for x in forget], [float(x) ** 3 for x in holdout]
    assert auc(*cube).value == pytest.approx(value)
    assert auc(forget[::-1], holdout[::-1]).value == pytest.approx(value)


def test_the_interval_resamples_both_sides():
    rng = np.random.default_rng(0)
    forget, holdout = rng.normal(size=60), rng.normal(0.8, size=60)
    result = auc(forget.tolist(), holdout.tolist())
    # Hanley and McNeil's standard error, about 0.045 here.
    a = result.value
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    error = np.sqrt((a * (1 - a) + 59 * (q1 - a * a) + 59 * (q2 - a * a)) / 3600)
    assert result.draws.std() == pytest.approx(error, rel=0.15)
    # Both sides bear the same item names and are drawn independently all the same: a draw that
    # took the same items on both sides would always give the same AUC here.
    twin = auc(forget.tolist(), (forget + 1e-9).tolist())
    assert np.abs(twin.draws - twin.value).max() > 0.05


def test_complete_separation_is_certain_in_every_resample():
    rng = np.random.default_rng(2)
    result = auc(rng.random(57).tolist(), (2 + rng.random(43)).tolist())
    assert (result.draws <= 1).all()
    estimate = result.estimate("")
    assert estimate.low <= estimate.value == 1 and estimate.high == pytest.approx(1, abs=1e-12)


def test_draws_of_two_attacks_are_of_the_same_resamples():
    rng = np.random.default_rng(1)
    values = rng.normal(size=30).tolist(), rng.normal(0.5, size=30).tolist()
    one, two = auc(*values), auc([2 * v for v in values[0]], [2 * v for v in values[1]])
    np.testing.assert_array_equal(one.draws, two.draws)


def test_unscored_items_are_left_out_and_counted():
    result = auc([1, None], [2, 3])
    assert (result.value, result.n, result.n_unscored) == (1.0, 3, 1)
    assert result.reasons == {"it was not measured": 1}
    assert result.draws is None  # one scored forget item is no sample
    assert list(auc([None], [1]).reasons) == ["no forget item was scored"]
    assert list(auc([1], []).reasons) == ["no holdout item was scored"]


def tpr(forget, holdout, fpr=0.01, groups=None):
    one = aggregate("mia_tpr_at_fpr", options={"fpr": fpr})
    return one.combine([side(forget), side(holdout, groups)], None)


def test_true_positives_at_few_false_ones():
    holdout = [float(i) for i in range(100)]
    # One of 100 may be accused (0); the threshold is the second lowest, 1.
    assert tpr([0.5, 0.9, 1.0, 50.0], holdout).value == pytest.approx(2 / 4)
    # Five of 100 may be: the threshold is 5.
    assert tpr([0.5, 4.9, 5.0, 50.0], holdout, 0.05).value == pytest.approx(2 / 4)


def test_tied_holdout_items_are_not_accused_beyond_the_rate():
    # Accusing at 1 would accuse fifty: so the threshold stays at 1 and nothing at 1 counts.
    assert tpr([0.0, 1.0], [1.0] * 50 + [2.0] * 50).value == pytest.approx(1 / 2)


def test_too_few_holdout_items_cannot_resolve_one_per_cent():
    result = tpr([0.0], [1.0] * 99)
    assert list(result.reasons) == ["99 holdout items cannot resolve a false positive rate of 0.01"]
    assert tpr([0.0], [1.0] * 100).value == 1


@given(st.lists(st.floats(0, 5), min_size=1, max_size=15), st.integers(0, 5))
@settings(max_examples=30)
def test_against_a_plain_search(forget, seed):
    holdout = np.random.default_rng(seed).random(60) * 5
    best = max(
        np.mean(np.array(forget) < t) for t in holdout if np.mean(holdout < t) <= 0.05 + 1e-12
    )
    assert tpr(forget, holdout.tolist(), 0.05).value == pytest.approx(best)


def test_the_rate_has_an_interval():
    rng = np.random.default_rng(0)
    result = tpr(rng.normal(size=200).tolist(), rng.normal(1, size=200).tolist())
    estimate = result.estimate("")
    assert estimate.low < result.value < estimate.high
    assert "both sides" in estimate.interval
