"""Which data are meant too, from what ascent did to them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbelief.vision.identify import by_class, by_sample, compare

GROUPS = np.array([1, 1, 2, 2, 3, 3])
ALL = np.ones(6, bool)


def test_the_class_that_fell_most() -> None:
    after = np.array([1, 0, 0, 0, 1, 1], bool)  # drops: class 1 by 1/2, class 2 by 1, class 3 by 0
    taken = by_class(GROUPS, ALL, after, np.zeros(6), 1)
    assert list(taken) == [False, False, True, True, False, False]
    assert list(by_class(GROUPS, ALL, after, np.zeros(6), 2)) == [True] * 4 + [False] * 2
    assert not by_class(GROUPS, ALL, after, np.zeros(6), 0).any()


def test_equal_drops_are_ordered_by_loss() -> None:
    change = np.array([0.1, 0.1, 0.0, 0.1, 0.5, 0.2])  # class 3 rose most
    assert list(by_class(GROUPS, ALL, ALL, change, 1)) == [False] * 4 + [True] * 2


def test_no_more_classes_than_there_are() -> None:
    with pytest.raises(ValueError, match="4 of 3 classes"):
        by_class(GROUPS, ALL, ALL, np.zeros(6), 4)


def test_the_samples_that_moved_most() -> None:
    change = np.array([0.0, -5.0, 1.0, 2.0, 3.0])
    # sizes 0 5 1 2 3; the 0.6 quantile (linear) lies at position 2.4: 2 + 0.4 * (3 - 2) = 2.4
    assert list(by_sample(change, 0.4)) == [False, True, False, False, True]


def test_what_did_not_move_is_not_taken() -> None:
    assert not by_sample(np.zeros(5), 0.5).any()
    with pytest.raises(ValueError, match="share"):
        by_sample(np.zeros(5), 1.0)


def test_precision_and_recall() -> None:
    found = compare(np.array([1, 2, 3, 4]), np.array([3, 4, 5]))
    assert (found.precision, found.recall) == (0.5, 2 / 3)
    nothing = compare(np.array([], int), np.array([], int))
    assert nothing.precision is None and nothing.recall is None


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), min_size=1, max_size=30),
    st.integers(0, 4),
)
def test_exactly_as_many_classes_as_are_meant(
    rows: list[tuple[int, bool, bool]], beyond: int
) -> None:
    groups, before, after = (np.array(column) for column in zip(*rows, strict=True))
    beyond = min(beyond, len(np.unique(groups)))
    taken = by_class(groups, before, after, np.zeros(len(rows)), beyond)
    assert len(np.unique(groups[taken])) == beyond
