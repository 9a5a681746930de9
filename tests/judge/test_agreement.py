"""Kappa and alpha against published examples, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbelief.judge.agreement import Level, krippendorff_alpha, weighted_kappa

GRADES = st.lists(st.integers(0, 5), min_size=2, max_size=12)

# Two raters, three categories: (0,0) 46, (1,0) 4, (1,1) 40, (2,2) 10. The table is also in
# scikit-learn's tests of cohen_kappa_score, with the same three values.
FIRST = [0] * 46 + [1] * 44 + [2] * 10
SECOND = [0] * 50 + [1] * 40 + [2] * 10


def test_kappa_without_weights() -> None:
    """Agreement 96/100; by chance .46·.50 + .44·.40 + .10·.10 = .416; (.96 - .416)/.584."""
    found = weighted_kappa(FIRST, SECOND, weights="none")
    assert found.value == pytest.approx((0.96 - 0.416) / 0.584) == pytest.approx(0.9315, abs=5e-5)
    assert (found.n, found.n_unscored) == (100, 0)


def test_linear_kappa() -> None:
    """Observed 4·1/100 = .04. Expected: |0-1| .46·.40 + .44·.50 = .404, |1-2| .44·.10 + .10·.40
    = .084, |0-2| 2·(.46·.10 + .10·.50) = .192, together .68; 1 - .04/.68."""
    value = weighted_kappa(FIRST, SECOND, weights="linear").value
    assert value == pytest.approx(1 - 0.04 / 0.68) == pytest.approx(0.9412, abs=5e-5)


def test_quadratic_kappa() -> None:
    """As above with |0-2| counted 4 times: .404 + .084 + .384 = .872; 1 - .04/.872."""
    value = weighted_kappa(FIRST, SECOND, weights="quadratic").value
    assert value == pytest.approx(1 - 0.04 / 0.872) == pytest.approx(0.9541, abs=5e-5)


def test_kappa_of_two_categories_does_not_depend_on_weights() -> None:
    """20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: (.7 - .5)/(1 - .5) = .4."""
    first = [1] * 25 + [0] * 25
    second = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    for weights in ("none", "linear", "quadratic"):
        assert weighted_kappa(first, second, weights=weights).value == pytest.approx(0.4)


_ = None
# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), example C: four observers, twelve
# units, five categories, missing data. Unit 12 has one value and cannot be paired.
PUBLISHED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
]


@pytest.mark.parametrize(
    ("level", "expected"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_of_the_published_example(level: Level, expected: float) -> None:
    found = krippendorff_alpha(PUBLISHED, level=level)
    assert found.value == pytest.approx(expected, abs=5e-4)
    assert (found.n, found.n_unscored) == (11, 1)
    assert found.reasons == {"rated by fewer than two": 1}


def test_nominal_alpha_by_hand() -> None:
    """40 pairable values: margins 9, 13, 10, 5, 3. Σ o_cc: unit 1 gives 3 ones; unit 2 (2,2,3,2)
    3·2/3 = 2 twos; units 3, 4 give 4 threes each; 5: 4 twos; 6 (1,2,3,4): none; 7: 4 fours;
    8 (1,1,2,1): 2 ones; 9: 4 twos; 10: 3 fives; 11: 2 ones. Together 3+2+8+4+0+4+2+4+3+2 = 32.
    Σ n_c(n_c-1) = 72 + 156 + 90 + 20 + 6 = 344. α = (39·32 - 344)/(40·39 - 344) = 904/1216."""
    value = krippendorff_alpha(PUBLISHED, level="nominal").value
    assert value == pytest.approx(904 / 1216)


def test_ordinal_alpha_by_hand() -> None:
    """Two raters, units (1,1), (2,2), (1,3). Margins n_1 = 3, n_2 = 2, n_3 = 1, n = 6.
    Mid-ranks 1.5, 4, 5.5: δ²(1,2) = 6.25, δ²(1,3) = 16, δ²(2,3) = 2.25.
    Observed: o_13 = o_31 = 1, so 2·16 = 32. Expected 2·(3·2·6.25 + 3·1·16 + 2·1·2.25) = 180.
    α = 1 - 5·32/180 = 1/9."""
    value = krippendorff_alpha([[1, 2, 1], [1, 2, 3]], level="ordinal").value
    assert value == pytest.approx(1 / 9)


def test_interval_alpha_by_hand() -> None:
    """The same units: δ² = 1, 4, 1. Observed 2·4 = 8, expected 2·(6·1 + 3·4 + 2·1) = 40;
    α = 1 - 5·8/40 = 0."""
    value = krippendorff_alpha([[1, 2, 1], [1, 2, 3]], level="interval").value
    assert value == pytest.approx(0, abs=1e-12)


@settings(max_examples=30)
@given(GRADES, st.integers(0, 1000))
def test_perfect_agreement_is_one_and_order_does_not_matter(grades: list[int], seed: int) -> None:
    other = list(np.random.default_rng(seed).permutation(grades))
    mixed = list(np.random.default_rng(seed + 1).permutation(len(grades)))
    levels: tuple[Level, ...] = ("nominal", "ordinal", "interval")
    for level in levels:
        same = krippendorff_alpha([grades, grades], level=level)
        forth = krippendorff_alpha([grades, other], level=level)
        back = krippendorff_alpha(
            [[other[i] for i in mixed], [grades[i] for i in mixed]], level=level
        )
        if len(set(grades)) == 1:
            assert same.value is None and "chance agreement" in str(same.reasons)
        else:
            assert same.value == pytest.approx(1)
            assert forth.value == pytest.approx(back.value)
            assert weighted_kappa(grades, grades).value == pytest.approx(1)
            kappas = [weighted_kappa(grades, other).value, weighted_kappa(other, grades).value]
            assert kappas[0] == pytest.approx(kappas[1])


@settings(max_examples=30)
@given(GRADES)
def test_interval_alpha_does_not_see_scale_and_origin(grades: list[int]) -> None:
    other = [*grades[1:], grades[0]]
    plain = krippendorff_alpha([grades, other], level="interval").value
    moved = krippendorff_alpha(
        [[3 * g - 7 for g in row] for row in (grades, other)], level="interval"
    )
    assert moved.value == (None if plain is None else pytest.approx(plain))


def test_missing_ratings_are_counted_not_compared() -> None:
    found = weighted_kappa([0, 1, None, 3, 5], [0, 1, 2, None, 5])
    assert (found.value, found.n, found.n_unscored) == (1.0, 3, 2)
    nothing = weighted_kappa([None, 1], [2, None])
    assert nothing.value is None and nothing.reasons == {"not rated by both": 2}
    assert krippendorff_alpha([[None], [None]]).value is None
    assert krippendorff_alpha([[], []]).value is None


def test_interval_holds_the_value_and_is_reproducible() -> None:
    found = weighted_kappa(FIRST, SECOND, weights="linear").estimate("test")
    assert found.low is not None and found.high is not None
    assert found.low < 0.9412 < found.high <= 1
    assert found == weighted_kappa(FIRST, SECOND, weights="linear").estimate("test")


def test_bootstrap_is_that_of_whole_units() -> None:
    """Every resample's coefficient, computed the plain way from the units it drew."""
    from unbelief.scores.resampling import cluster_weights

    found = krippendorff_alpha(PUBLISHED, level="ordinal")
    names = sorted(f"group:{u}" for u in range(11))
    times = cluster_weights(names, stream="agreement", seed=0) * len(names)
    assert found.draws is not None
    for b in range(20):
        drawn = [
            int(n.removeprefix("group:"))
            for n, k in zip(names, times[b], strict=True)
            for _ in range(round(k))
        ]
        again = krippendorff_alpha([[row[u] for u in drawn] for row in PUBLISHED], level="ordinal")
        if again.value is None:
            assert np.isnan(found.draws[b])
        else:
            assert found.draws[b] == pytest.approx(again.value)


def test_clusters_widen_the_interval() -> None:
    """Ten copies of each unit are no more evidence than one when they come from one document."""
    rng = np.random.default_rng(0)
    base = [
        (a, min(5, max(0, a + int(d))))
        for a, d in zip(rng.integers(0, 6, 15), rng.integers(-1, 2, 15), strict=True)
    ]
    first, second = zip(*[pair for pair in base for _ in range(10)], strict=True)
    own = weighted_kappa(first, second).estimate("test")
    grouped = weighted_kappa(
        first, second, clusters=[str(i // 10) for i in range(len(first))]
    ).estimate("test")
    assert own.value == grouped.value
    assert own.low is not None and own.high is not None
    assert grouped.low is not None and grouped.high is not None
    assert grouped.high - grouped.low > 2 * (own.high - own.low)


@pytest.mark.parametrize("ratings", [[[1, 2]], [[1, 2], [1]], []])
def test_misshapen_ratings_are_refused(ratings: list[list[int | None]]) -> None:
    with pytest.raises(ValueError, match="two or more raters"):
        krippendorff_alpha(ratings)
    with pytest.raises(ValueError, match="against"):
        weighted_kappa([1], [1, 2])
