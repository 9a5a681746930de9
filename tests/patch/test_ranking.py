from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbelief.patch.ranking import best_k, by_score, harmonic, ranks


def test_the_highest_is_first_and_ties_share_the_mean_of_their_ranks():
    assert ranks([0.2, 0.9, 0.5]) == [3, 1, 2]
    # 0.5 twice takes places 2 and 3: 2.5 each.
    assert ranks([0.5, 0.9, 0.5, 0.1]) == [2.5, 1, 2.5, 4]
    assert ranks([1.0, 1.0, 1.0]) == [2, 2, 2]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_ranks_add_up_to_those_without_ties(values):
    n = len(values)
    assert sum(ranks(values)) == n * (n + 1) / 2


def test_parts_by_the_sum_of_their_ranks_shallow_first_among_equals():
    # utility ranks 1 2 3 4, forgetting ranks 4 1 3 2: sums 5 3 6 6. The last two are equal.
    found = by_score(["a", "b", "c", "d"], [0.9, 0.8, 0.7, 0.6], [0.1, 0.9, 0.3, 0.5])
    assert [r.part for r in found] == ["b", "a", "c", "d"]
    assert [r.score for r in found] == [3, 5, 6, 6]
    assert (found[0].utility_rank, found[0].forgetting_rank) == (2, 1)


@pytest.mark.parametrize(
    ("shares", "mean"),
    [
        ((1.0, 0.5), 2 / 3),  # 2 * 0.5 / 1.5
        ((1.3, 0.5), 2 / 3),  # more than the original's utility counts as 1
        ((0.8, -0.2), 0.0),  # leaks more than before
        ((0.0, 0.0), 0.0),
    ],
)
def test_harmonic_mean_of_shares(shares, mean):
    assert harmonic(*shares) == pytest.approx(mean)


def test_of_equally_good_numbers_of_parts_the_smallest():
    assert best_k([0.2, 0.7, 0.7, 0.1]) == 2
    assert best_k([0.0]) == 1
