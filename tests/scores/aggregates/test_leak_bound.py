import pytest

from tests.scores.made import scores
from unbelief.scores.conventions import aggregate
from unbelief.scores.statistics import mean_statistic


def bound(values, groups=None, over="items"):
    rates = mean_statistic(scores(values, groups), unit="share", draws=2)
    return aggregate("leak_bound", options={"over": over}).combine([rates], None)


def test_a_prompt_leaks_when_any_response_does():
    result = bound([0.0, 0.125, 1.0, 0.0])
    assert result.value == 0.5
    # One-sided: P(X <= 2 | n = 4, p) = 0.05 at p = 0.9024.
    assert result.bounds == pytest.approx((0, 0.9024), abs=1e-4)
    assert result.interval == "exact binomial 95 % upper bound over items, any response leaking"


def test_no_leak_seen_is_not_no_leak():
    result = bound([0.0] * 400)
    assert result.value == 0
    assert result.bounds[1] == pytest.approx(1 - 0.05 ** (1 / 400))
    assert result.estimate("").high == pytest.approx(0.00746, abs=1e-5)


def test_authors_can_be_counted_instead():
    values, groups = [0.0, 0.5, 0.0, 0.0], ["a", "a", "b", "b"]
    result = bound(values, groups, "clusters")
    assert (result.value, result.n) == (0.5, 2)
    # An unscored prompt leaves open whether its author leaks, unless another prompt did.
    result = bound([None, 0.5, None, 0.0], groups, "clusters")
    assert (result.value, result.n, result.n_unscored) == (1.0, 1, 1)


def test_unscored_prompts_are_not_counted_as_safe():
    result = bound([0.0, None])
    assert (result.n, result.n_unscored) == (1, 1)
    nothing = bound([None])
    assert nothing.value is None and nothing.reasons == {"it was not measured": 1}
