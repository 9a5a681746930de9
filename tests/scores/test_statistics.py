import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.scores.made import RECORD, answer, scores, with_answers, with_texts
from unbelief.scores.base import Statistic
from unbelief.scores.conventions import metric
from unbelief.scores.resampling import (
    bootstrap_weights,
    cluster_index,
    cluster_means,
    cluster_weights,
    percentiles,
)
from unbelief.scores.statistics import (
    clopper_pearson,
    combined,
    difference,
    mean_statistic,
    missing,
    of_metric,
    rate_statistic,
)


def mean(values, groups=None, **options) -> Statistic:
    return mean_statistic(scores(values, groups), unit="share", **options)


def test_items_are_averaged_not_clusters():
    # Cluster a has 3 items of 1, cluster b one of 0: items 3/4, clusters would be 1/2.
    one = mean([1, 1, 1, 0], ["a", "a", "a", "b"])
    assert one.value == pytest.approx(3 / 4)
    # A resample has a twice (mean 1), b twice (0) or each once (3/4).
    assert set(np.round(one.draws, 12)) == {0.0, 0.75, 1.0}


def test_draws_are_ratios_of_resampled_sums():
    values, groups = [1.0, 2.0, None, 4.0, 8.0], ["a", "b", "b", "c", "c"]
    one = mean(values, groups)
    names, index = cluster_index(one.scores)
    weights = cluster_weights(names)
    for weight, draw in zip(weights[:50], one.draws[:50], strict=True):
        kept = [(weight[c], v) for c, v in zip(index, values, strict=True) if v is not None]
        total = sum(w for w, _ in kept)
        assert draw == pytest.approx(sum(w * v for w, v in kept) / total)


def test_unscored_items_are_counted_and_not_averaged():
    one = mean([0.5, None, 1.0, None])
    assert (one.value, one.n, one.n_unscored) == (0.75, 2, 2)
    assert one.reasons == {"it was not measured": 2}


@pytest.mark.parametrize("values", [[], [None, None]])
def test_nothing_to_average_is_no_zero(values):
    one = mean(values)
    assert one.value is None and one.draws is None and one.reasons
    estimate = one.estimate("unbelief")
    assert (estimate.value, estimate.low, estimate.high, estimate.interval) == (None,) * 3 + ("",)


@pytest.mark.parametrize("groups", [["a", "a"], ["a", "b"]])
def test_a_single_scored_cluster_has_no_interval(groups):
    one = mean([0.5, None] if groups == ["a", "b"] else [0.5, 0.7], groups)
    assert one.value is not None and one.draws is None
    assert one.estimate("unbelief").low is None


def test_resamples_depend_on_names_stream_and_seed_alone():
    groups = ["a", "b", "c", "c"]
    base = mean([1, 2, 3, 4], groups).draws
    np.testing.assert_array_equal(base, mean([1, 2, 3, 4], groups).draws)
    # Another metric of the same items: its draws are of the same resamples.
    np.testing.assert_allclose(mean([2, 4, 6, 8], groups).draws, 2 * base)
    # The same resamples where an item is unscored.
    assert np.isclose(mean([1, 2, None, None], groups).draws, base).any()
    for other in ({"seed": 1}, {"stream": "retain"}):
        assert (mean([1, 2, 3, 4], groups, **other).draws != base).any()
    assert (mean([1, 2, 3, 4], ["a", "b", "d", "d"]).draws != base).any()


def test_groups_and_items_of_the_same_name_are_different_clusters():
    names, _ = cluster_index([*scores([1.0], ["0"]), *scores([1.0])])
    assert len(names) == 2


@given(st.lists(st.tuples(st.floats(-10, 10), st.sampled_from("abcd")), min_size=1, max_size=12))
@settings(max_examples=40)
def test_draws_lie_between_the_extremes(pairs):
    values, groups = zip(*pairs, strict=True)
    one = mean(values, list(groups), draws=50)
    assert one.value == pytest.approx(np.mean(values), abs=1e-12)
    if one.draws is not None:
        known = one.draws[~np.isnan(one.draws)]
        assert (known >= min(values) - 1e-9).all() and (known <= max(values) + 1e-9).all()


def test_the_clustered_interval_covers_and_the_plain_one_does_not():
    """40 authors of 10 items that mostly share their author's value: true mean 0."""
    rng = np.random.default_rng(0)
    covered = {True: 0, False: 0}
    groups = [str(i // 10) for i in range(400)]
    for _ in range(100):
        values = np.repeat(rng.normal(size=40), 10) + 0.3 * rng.normal(size=400)
        for clustered in covered:
            one = mean(values.tolist(), groups if clustered else None, draws=300)
            estimate = one.estimate("")
            covered[clustered] += estimate.low <= 0 <= estimate.high
    assert covered[True] >= 88
    assert covered[False] <= 65


def test_many_resamples_without_value_give_no_interval():
    # One scored cluster of forty, and another: about 37 % of the resamples lack each of them.
    values = [0.0, 1.0, *[None] * 38]
    one = mean(values)
    assert np.isnan(one.draws).mean() > 0.05
    assert one.estimate("").low is None


def test_rates_have_exact_intervals():
    # 5 of 10: the textbook interval (0.1871, 0.8129).
    one = rate_statistic(scores([1.0] * 5 + [0.0] * 5))
    assert one.value == 0.5
    assert one.bounds == pytest.approx((0.1871, 0.8129), abs=5e-5)
    assert one.draws is not None  # for differences
    assert one.estimate("").interval == "exact binomial 95 % over items"
    # None of 400: at most 1 - 0.05^(1/400) = 0.746 %.
    none = rate_statistic(scores([0.0] * 400), side="upper")
    assert none.bounds == pytest.approx((0, 1 - 0.05 ** (1 / 400)))


def test_a_rate_of_fractions_is_refused():
    with pytest.raises(ValueError, match=r"not of 0\.5"):
        rate_statistic(scores([1.0, 0.5]))


@given(st.integers(1, 60), st.data())
@settings(max_examples=60)
def test_clopper_pearson_inverts_the_binomial(n, data):
    hits = data.draw(st.integers(0, n))
    low, high = clopper_pearson(hits, n)
    assert 0 <= low <= hits / n <= high <= 1
    if hits > 0:  # P(X >= hits) at the lower end
        assert stats.binom.sf(hits - 1, n, low) == pytest.approx(0.025, abs=1e-9)
    if hits < n:
        assert stats.binom.cdf(hits, n, high) == pytest.approx(0.025, abs=1e-9)
        _, bound = clopper_pearson(hits, n, side="upper")
        assert stats.binom.cdf(hits, n, bound) == pytest.approx(0.05, abs=1e-9)


def test_differences_are_paired():
    own = mean([0.1, 0.9, 0.5, 0.7])
    other = mean([0.0, 0.8, 0.4, 0.6])
    gap = difference(own, other)
    assert gap.value == pytest.approx(0.1)
    # Every item differs by the same: no uncertainty, however much the items vary.
    np.testing.assert_allclose(gap.draws, 0.1)
    assert own.draws.std() > 0.1


@pytest.mark.parametrize(
    ("own", "other", "reason"),
    [
        ([None], [0.5], "this model has no value"),
        ([0.5], [None], "the other model has no value"),
        ([0.5, 0.5], [0.5], "the two models were measured on different items"),
    ],
)
def test_differences_that_cannot_be(own, other, reason):
    gap = difference(mean(own), mean(other))
    assert gap.value is None and gap.reasons == {reason: 1}


def test_a_difference_counts_items_scored_for_one_model_only():
    gap = difference(mean([0.5, None, 0.25]), mean([0.5, 0.5, None]))
    assert (gap.n, gap.n_unscored) == (1, 2)
    assert gap.reasons == {"not scored for both models": 2}


def test_combinations_apply_the_formula_draw_by_draw():
    one, two = mean([0.1, 0.9]), mean([0.2, 0.4], stream="other")
    total = combined([one, two], lambda x: x.sum(axis=-1), unit="share")
    assert total.value == pytest.approx(0.8)
    np.testing.assert_allclose(total.draws, one.draws + two.draws)
    assert total.n == 4
    lost = combined([one, missing("the disk was full", unit="share")], np.sum, unit="share")
    assert lost.value is None
    assert list(lost.reasons) == ["input 2 of 2 has no value: the disk was full"]


def test_results_without_number_are_reasons():
    one = mean([0.0, 0.0])
    bad = combined([one], lambda x: np.full(x.shape[:-1], math.inf), unit="share")
    assert bad.value is None and bad.reasons == {"the result is inf": 1}


def test_metrics_choose_their_interval():
    examples = [with_answers(answer([-1.0], [hit])) for hit in (True, False)]
    one = of_metric(metric("extraction_strength"), examples)
    assert one.bounds is None and one.value == 0.5
    # A rate of nothing among two is not certainly nothing: 1 - 0.025^(1/2).
    once = metric("collapse_rate")
    records = [replace(RECORD, id=str(i)) for i in range(2)]
    spoken = [with_texts(once, "She writes in English.", record=r) for r in records]
    assert of_metric(once, spoken).bounds == pytest.approx((0, 0.8419), abs=1e-4)
    thrice = metric("collapse_rate", options={"samples": 3, "temperature": 1})
    assert once.binary and not thrice.binary
    assert metric("key_fact_recall", options={"count": "any"}).binary
    assert not metric("key_fact_recall").binary


def test_equal_values_have_an_interval_of_no_width():
    one = mean([0.1, 0.1, 0.1], ["a", "b", "b"])
    assert (one.draws == 0.1).all()


def test_shares_of_resamples():
    weights = bootstrap_weights(5, draws=50)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(weights * 5, np.round(weights * 5))
    np.testing.assert_array_equal(cluster_means([1.0, 2.0, 6.0], ["b", "a", "b"]), [3.5, 2.0])
    assert percentiles(np.arange(1001) / 1000) == pytest.approx((0.025, 0.975))


def test_equal_values_are_no_certainty():
    # 20 items in 10 clusters, all of them 0 of at most 1: with 97.5 % confidence no more than
    # u = 1 - 0.025^(1/10) = 0.3085 of all clusters have something else, as for a rate (0 of 10).
    rouge = metric("rougeL_recall")
    records = [replace(RECORD, id=str(i), group=str(i // 2)) for i in range(20)]
    found = of_metric(rouge, [with_texts(rouge, "zzz", record=r) for r in records])
    assert found.value == 0 and found.bounds is not None
    assert found.bounds == pytest.approx((0, 1 - 0.025**0.1))
    assert found.bounds[1] == pytest.approx(clopper_pearson(0, 10)[1])
    assert found.interval == "exact 95 % of equal values over clusters"
