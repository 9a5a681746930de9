import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scores.made import scores
from unbelief.scores.base import Statistic
from unbelief.scores.conventions import aggregate
from unbelief.scores.statistics import mean_statistic, missing

NAMES = ("distance_to_retrained", "privleak", "relative_difference", "mia_closeness")


def number(value: float) -> Statistic:
    return Statistic(value=value, n=1, unit="share")


def of(name: str, own: float, other: float, **options: object) -> float | None:
    one = aggregate(name, options=options)
    return one.combine([number(own)], [number(other)]).value


def test_published_privleak():
    # Official logs, 1B forget10, Min-K: AUC .9967 (rounded) against .38261 -> -99.457.
    assert of("privleak", 0.9967, 0.38261) == pytest.approx(-99.457, abs=0.02)
    assert of("privleak", 0.38261, 0.38261) == 0
    assert of("privleak", 1.0, 0.4) == -100


def test_by_hand():
    assert of("relative_difference", 0.6, 0.4) == pytest.approx(50)
    assert of("distance_to_retrained", 0.2, 0.5) == pytest.approx(0.3)
    # d = .2, r = .4: range 1 - .2/.6, share 1 - .2/.4, ratio .4/.6.
    found = [of("mia_closeness", 0.6, 0.4, scale=s) for s in ("range", "share", "ratio")]
    assert found == pytest.approx([2 / 3, 1 / 2, 2 / 3])


@given(st.floats(0, 1), st.floats(0.01, 0.99))
@settings(max_examples=30)
def test_limits(own, other):
    for name in NAMES:
        one = aggregate(name)
        value = of(name, own, other)
        assert one.limits[0] - 1e-9 <= value <= one.limits[1]
    for scale in ("range", "share", "ratio"):
        assert 0 <= of("mia_closeness", own, other, scale=scale) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_the_retrained_model_matches_itself(name):
    expected = 1 if name == "mia_closeness" else 0
    assert of(name, 0.37, 0.37) == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
def test_no_reference_is_assumed(name):
    result = aggregate(name).combine([number(0.5)], None)
    assert result.value is None
    assert result.reasons == {"there is no retrained model to compare with": 1}
    lost = aggregate(name).combine([number(0.5)], [missing("it was lost", unit="share")])
    assert lost.value is None and lost.reasons


def test_no_ratio_to_zero():
    for name, other in (("relative_difference", 0.0), ("privleak", 1.0)):
        result = aggregate(name).combine([number(0.5)], [number(other)])
        assert list(result.reasons) == ["the retrained model's value is 0: there is no ratio"]
    assert of("relative_difference", 0.0, 0.0, epsilon=1e-10) == 0


def mean(values):
    return mean_statistic(scores(values), unit="share")


def test_the_distance_has_the_paired_interval_folded_at_zero():
    rng = np.random.default_rng(0)
    base = rng.random(80)
    noise = 0.1 * rng.normal(size=80)
    distance = aggregate("distance_to_retrained")
    far = distance.combine([mean((base + 0.2 + noise).tolist())], [mean(base.tolist())])
    estimate = far.estimate("")
    assert 0.15 < estimate.low < far.value < estimate.high < 0.25
    below = distance.combine([mean(base.tolist())], [mean((base + 0.2 + noise).tolist())])
    assert below.value == pytest.approx(far.value)
    assert below.bounds == pytest.approx(far.bounds)
    centred = noise - noise.mean()
    near = distance.combine([mean((base + centred).tolist())], [mean(base.tolist())])
    low, high = near.bounds
    assert low == 0 and near.value == pytest.approx(0, abs=1e-12) and high > 0


def test_other_items_have_no_distance():
    result = aggregate("distance_to_retrained").combine([mean([0.1, 0.2])], [mean([0.1])])
    assert list(result.reasons) == ["the two models were measured on different items"]
