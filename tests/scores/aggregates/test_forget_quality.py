import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from tests.scores.made import scores
from unbelief.scores.aggregates.forget_quality import ks_lattice_log_p, ks_log_p
from unbelief.scores.conventions import aggregate
from unbelief.scores.statistics import mean_statistic


def statistic(values, prefix=""):
    return mean_statistic(scores(values, prefix=prefix), unit="ratio", draws=2)


def counted(n: int, h: int) -> float:
    """Share of the orders of n + n values in which the counts ever differ by h: by counting."""
    inside = {0: 1}
    for step in range(2 * n):
        after: dict[int, int] = {}
        for gap, ways in inside.items():
            for move in (gap - 1, gap + 1):
                # gap = ups - downs after step + 1 moves; neither may exceed n.
                if abs(move) < h and (step + 1 + abs(move)) / 2 <= n:
                    after[move] = after.get(move, 0) + ways
        inside = after
    return 1 - inside.get(0, 0) / math.comb(2 * n, n)


@given(st.integers(1, 30), st.data())
def test_agrees_with_counting(n, data):
    h = data.draw(st.integers(1, n))
    assert math.exp(ks_lattice_log_p(n, h)) == pytest.approx(counted(n, h), rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("n", [2, 7, 40, 200, 400])
def test_agrees_with_scipy(n):
    for h in {2, max(2, n // 10), max(2, n // 3), max(2, n // 2), n}:
        # n values against the same shifted past h of them: D = h / n.
        one, two = np.arange(n, dtype=float), np.arange(n, dtype=float) + h - 0.5
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scipy may fall back for tiny p
            expected = ks_2samp(one, two, method="exact").pvalue
        assert ks_log_p(one, two) == pytest.approx(math.log(expected), rel=1e-8, abs=1e-9)


def test_ties_count_on_both_sides():
    # At 0 the distributions are 3/4 and 1/4, at 1 both are 1: h = 2, as scipy says.
    one, two = np.array([0.0, 0, 0, 1]), np.array([0.0, 1, 1, 1])
    assert ks_log_p(one, two) == pytest.approx(math.log(counted(4, 2)))
    assert ks_2samp(one, two, method="exact").statistic == 0.5


@pytest.mark.parametrize("n", [40, 200, 300, 400, 5000])
def test_complete_separation_is_the_smallest_p(n):
    # 2 / C(2n, n); for n = 5000 that is 1e-3008, which is 0 as a floating-point number.
    smallest = math.log(2) - (math.lgamma(2 * n + 1) - 2 * math.lgamma(n + 1))
    assert ks_lattice_log_p(n, n) == pytest.approx(smallest, rel=1e-9)
    assert ks_lattice_log_p(n, 0) == 0


@pytest.mark.parametrize(
    ("n", "h", "ln_p"),
    [
        # Published values of forget quality as ln p, and the lattice points they are.
        (40, 9, -1.3254), (40, 16, -5.8031), (40, 18, -7.5930),
        (200, 20, -1.3076), (200, 24, -2.1867), (300, 48, -7.0070), (300, 50, -7.6651),
    ],
)  # fmt: skip
def test_published_values_are_lattice_points(n, h, ln_p):
    assert ks_lattice_log_p(n, h) == pytest.approx(ln_p, abs=5e-5)


def test_every_published_value_of_the_one_per_cent_block_is_on_the_lattice_of_40():
    """Truncated, not rounded, to two decimals in the G-effect table."""
    lattice = {math.trunc(100 * ks_lattice_log_p(40, h)) / 100 for h in range(41)}
    assert lattice >= {-0.08, -0.54, -1.32, -2.91, -4.24, -5.80, -7.59}
    assert len(lattice & {-0.10, -0.60, -1.40, -3.00, -4.50}) == 0


@pytest.mark.parametrize(("n", "p"), [(200, 1.94e-119), (400, 1.06e-239)])
def test_published_p_of_collapsed_models_are_complete_separation(n, p):
    one = statistic(np.zeros(n).tolist())
    two = statistic(np.ones(n).tolist())
    quality = aggregate("forget_quality", options={"scale": "log10"})
    assert quality.combine([one], [two]).value == pytest.approx(math.log10(p), abs=3e-3)


def test_scales():
    rng = np.random.default_rng(0)
    one, two = statistic(rng.random(40).tolist()), statistic((rng.random(40) + 0.3).tolist())
    found = {
        scale: aggregate("forget_quality", options={"scale": scale}).combine([one], [two])
        for scale in ("p", "ln", "log10")
    }
    p = found["p"].value
    assert 0 < p < 1
    assert found["ln"].value == pytest.approx(math.log(p))
    assert found["log10"].value == pytest.approx(math.log10(p))
    assert found["p"].unit == "probability" and found["ln"].unit == "ln probability"
    assert found["p"].estimate("x").low is None
    assert aggregate("forget_quality", "uwc").scale == "ln"


def test_the_model_itself_is_not_told_apart():
    one = statistic(np.random.default_rng(0).random(50).tolist())
    assert aggregate("forget_quality").combine([one], [one]).value == 1


def test_monotone_maps_change_nothing_and_folding_does():
    rng = np.random.default_rng(1)
    one, two = rng.lognormal(size=60), rng.lognormal(0.5, size=60)
    base = ks_log_p(one, two)
    assert ks_log_p(1 / one, 1 / two) == pytest.approx(base)
    assert ks_log_p(1 / (1 + one), 1 / (1 + two)) == pytest.approx(base)
    assert ks_log_p(np.minimum(one, 1 / one), np.minimum(two, 1 / two)) != pytest.approx(base)


def test_forty_items_are_not_tested_against_two_hundred():
    """A published table did: all its values are ln p of n = 40 against m = 200."""
    one, two = statistic(np.zeros(40).tolist()), statistic(np.ones(200).tolist())
    result = aggregate("forget_quality").combine([one], [two])
    assert result.value is None
    (reason,) = result.reasons
    assert reason == "the item sets differ: 40 items here, 200 of the other model, 40 in both"


def test_equal_numbers_of_other_items_are_refused():
    one, two = statistic([0.1, 0.2]), statistic([0.1, 0.2], prefix="holdout ")
    assert aggregate("forget_quality").combine([one], [two]).value is None


def test_without_a_retrained_model_there_is_no_value():
    result = aggregate("forget_quality").combine([statistic([0.1, 0.2])], None)
    assert result.value is None
    assert result.reasons == {"there is no retrained model to compare with": 1}


def test_items_unscored_on_one_side_are_left_out_on_both():
    one, two = statistic([0.1, None, 0.3]), statistic([0.1, 0.2, None])
    result = aggregate("forget_quality").combine([one], [two])
    assert (result.value, result.n, result.n_unscored) == (1.0, 1, 2)


def test_samples_of_different_size_are_a_bug():
    with pytest.raises(ValueError, match="equal, positive"):
        ks_log_p(np.zeros(2), np.zeros(3))


def test_the_order_of_items_does_not_matter():
    rng = np.random.default_rng(2)
    a, b = rng.random(30).tolist(), rng.random(30).tolist()
    forward = mean_statistic(scores(a), unit="ratio"), mean_statistic(scores(b), unit="ratio")
    backward = mean_statistic(scores(b)[::-1], unit="ratio")
    quality = aggregate("forget_quality")
    assert (
        quality.combine([forward[0]], [forward[1]]).value
        == quality.combine([forward[0]], [backward]).value
    )
