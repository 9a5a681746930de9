"""Bands: cut at 20 and 60 %, rounded as written down, none empty from three candidates on."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbelief.diagnose.bands import band_of_rank, band_sizes, spread_out

# 0.2 n and 0.6 n with halves upwards, high at least 1:
# n=4: 0.8 -> 1, 2.4 -> 2; n=7: 1.4 -> 1, 4.2 -> 4; n=8: 1.6 -> 2, 4.8 -> 5;
# n=12: 2.4 -> 2, 7.2 -> 7; n=13: 2.6 -> 3, 7.8 -> 8.
BY_HAND = {
    0: (0, 0, 0),
    1: (1, 0, 0),
    2: (1, 0, 1),
    3: (1, 1, 1),
    4: (1, 1, 2),
    5: (1, 2, 2),
    7: (1, 3, 3),
    8: (2, 3, 3),
    10: (2, 4, 4),
    12: (2, 5, 5),
    13: (3, 5, 5),
    20: (4, 8, 8),
    100: (20, 40, 40),
}


@pytest.mark.parametrize(("n", "sizes"), BY_HAND.items())
def test_sizes_by_hand(n: int, sizes: tuple[int, int, int]) -> None:
    assert band_sizes(n) == sizes


@given(st.integers(0, 5000))
def test_every_candidate_is_in_one_band(n: int) -> None:
    sizes = band_sizes(n)
    assert sum(sizes) == n
    assert min(sizes) >= (1 if n >= 3 else 0)
    assert abs(sizes[0] - 0.2 * n) <= 0.8  # 0.5 of rounding, more only for the guaranteed one
    assert band_of_rank(n) == ("high",) * sizes[0] + ("mid",) * sizes[1] + ("low",) * sizes[2]


@given(st.integers(0, 300))
def test_bands_only_grow_with_n(n: int) -> None:
    assert all(a <= b for a, b in zip(band_sizes(n), band_sizes(n + 5), strict=True))


def test_no_negative_number() -> None:
    with pytest.raises(ValueError):
        band_sizes(-1)


def test_spread_out_by_hand() -> None:
    # halves of [0 1 2 3] have their lower middles at 0 and 2; thirds of 0..8 at 1, 4, 7
    assert spread_out(4, 2) == (0, 2)
    assert spread_out(9, 3) == (1, 4, 7)
    assert spread_out(5, 1) == (2,)
    assert spread_out(3, 8) == (0, 1, 2)


@given(st.integers(0, 200), st.integers(1, 50))
def test_spread_out_takes_different_places_evenly(n: int, wanted: int) -> None:
    places = spread_out(n, wanted)
    assert len(places) == min(n, wanted)
    assert list(places) == sorted(set(places))
    assert all(0 <= p < n for p in places)
    gaps = {b - a for a, b in pairwise(places)}
    assert not gaps or max(gaps) - min(gaps) <= 1
