"""Numbers of a set: by hand, against plain code, and from measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.agreement import plain
from unbelief.scores.base import Statistic
from unbelief.scores.conventions import aggregate
from unbelief.scores.statistics import mean_statistic
from unbelief.types import Score

VALUES = st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.7, 1.5, 3.0]), min_size=2, max_size=9)
SHARES = st.floats(0.01, 1)


def statistic(values: Sequence[float], unit: str = "nats") -> Statistic:
    scores = [Score(float(v), None, str(i), f"g{i // 2}") for i, v in enumerate(values)]
    return mean_statistic(scores, unit=unit)


def ours(
    name: str, *inputs: Sequence[float] | float, against: Sequence[float] | float | None = None
) -> float:
    one = aggregate(name, "open-unlearning")
    found = one.combine(
        [_input(values) for values in inputs], None if against is None else [_input(against)]
    )
    assert found.value is not None, found.reasons
    return found.value


def _input(values: Sequence[float] | float) -> Statistic:
    return (
        Statistic(value=values, unit="probability", n=1)
        if isinstance(values, float)
        else statistic(values)
    )


# Membership: a low score marks a member


def test_auc_is_one_when_forget_items_are_all_more_likely() -> None:
    # Losses .1, .2 on forget, .3, .4 on holdout: every pair has forget below holdout.
    assert plain.auc(np.array([0.1, 0.2]), np.array([0.3, 0.4])) == 1.0
    assert ours("mia_auc", [0.1, 0.2], [0.3, 0.4]) == 1.0
    assert ours("mia_auc", [0.3, 0.4], [0.1, 0.2]) == 0.0


def test_auc_counts_ties_half() -> None:
    # Pairs (.1, .1) tie, (.1, .3) win, (.2, .1) lose, (.2, .3) win: (.5 + 1 + 0 + 1) / 4.
    assert ours("mia_auc", [0.1, 0.2], [0.1, 0.3]) == 0.625


@given(forget=VALUES, holdout=VALUES)
def test_auc(forget: list[float], holdout: list[float]) -> None:
    theirs = plain.auc(np.array(forget), np.array(holdout))
    assert ours("mia_auc", forget, holdout) == pytest.approx(theirs, abs=1e-12)
    # Mann-Whitney's U, with label 1 on the holdout, is what ROC curves integrate to.
    u = stats.mannwhitneyu(holdout, forget).statistic / (len(forget) * len(holdout))
    assert theirs == pytest.approx(u)


def test_privleak_by_hand() -> None:
    # a = 1 - .75 = .25 against a_ref = 1 - .5 = .5: (.25 - .5) / .5 = -50 %.
    assert ours("privleak", 0.75, against=0.5) == pytest.approx(-50)
    # Fully exposed (AUC 1) is -100 %, whatever the retrained model.
    assert ours("privleak", 1.0, against=0.38261) == pytest.approx(-100)


@given(value=SHARES, reference=st.floats(0, 0.99))
def test_privleak_and_relative_difference(value: float, reference: float) -> None:
    assert ours("privleak", value, against=reference) == pytest.approx(
        plain.privleak(value, reference), abs=1e-6
    )
    assert ours("relative_difference", value, against=reference + 0.01) == pytest.approx(
        plain.rel_diff(value, reference + 0.01), abs=1e-6
    )


# Truth ratios


def test_aggregators_by_hand() -> None:
    # Mean losses ln 2 (true), ln 4 and ln 4 (false): p = 1/2, geometric mean of the false 1/4,
    # r = .5; true_better 1 - .5, closer_to_1 .5, prob_mean .5 / .75.
    correct, wrong = np.log([2.0]), np.log([[4.0, 4.0]])
    ratios = plain.truth_ratios(correct, wrong)
    assert ratios == pytest.approx(0.5)
    assert plain.true_better(ratios) == pytest.approx(0.5)
    assert plain.closer_to_1_better(ratios) == pytest.approx(0.5)
    assert plain.prob_mean(correct, wrong) == pytest.approx(2 / 3)
    # A truth less likely than falsehoods, r = 2: 1/2, and nothing for true_better.
    assert plain.closer_to_1_better(np.array([2.0])) == pytest.approx(0.5)
    assert plain.true_better(np.array([2.0])) == 0
    # Geometric, not arithmetic: losses ln 2 and ln 8 have the mean ln 4.
    assert plain.truth_ratios(correct, np.log([[2.0, 8.0]])) == pytest.approx(0.5)


@given(
    own=st.lists(st.floats(0, 5), min_size=8, max_size=8),
    other=st.lists(st.floats(0, 5), min_size=8, max_size=8),
)
def test_forget_quality(own: list[float], other: list[float]) -> None:
    theirs = plain.forget_quality(np.array(own), np.array(other))
    assert ours("forget_quality", own, against=other) == pytest.approx(theirs, rel=1e-9)


def test_forget_quality_of_separated_samples_by_hand() -> None:
    # Four against four, all below: of the C(8, 4) = 70 orders two are that extreme.
    p = ours("forget_quality", [1.0, 2, 3, 4], against=[5.0, 6, 7, 8])
    assert p == pytest.approx(2 / math.comb(8, 4))


def test_forget_quality_counts_orders() -> None:
    # D = 3/4 in one order of eight values; p is the share of orders with a distance at least that.
    own, other = [1.0, 2, 3, 8], [4.0, 5, 6, 7]
    far = 0
    for chosen in combinations(range(8), 4):
        steps = np.cumsum([1 if i in chosen else -1 for i in range(8)])
        far += np.abs(steps).max() >= 3
    assert ours("forget_quality", own, against=other) == pytest.approx(far / math.comb(8, 4))


# Utility


@given(nine=st.lists(SHARES, min_size=9, max_size=9))
def test_model_utility(nine: list[float]) -> None:
    assert ours("model_utility", *nine) == pytest.approx(plain.model_utility(nine), rel=1e-9)


def test_model_utility_is_zero_when_one_part_is() -> None:
    nine = [0.5] * 8 + [0.0]
    assert ours("model_utility", *nine) == 0.0 == plain.model_utility(nine)
