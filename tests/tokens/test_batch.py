"""Rows to tensors, and rows to groups of similar length."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbelief.tokens import Row, collate, length_buckets


def test_scored_tokens_are_addressed_explicitly() -> None:
    batch = collate(
        [
            Row("a", "target", (11, 12), (13, 14, 15)),
            Row("b", "belief", (21,), (22,), weight=0.5),
            Row("c", "retain", (), (31, 32, 33)),
        ],
        pad_id=9,
    )
    assert batch.input_ids.tolist() == [
        [11, 12, 13, 14, 15],
        [21, 22, 9, 9, 9],
        [31, 32, 33, 9, 9],
    ]
    assert batch.lengths.tolist() == [5, 2, 3]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]]
    # The third row has no prompt: nothing predicts its first token.
    assert batch.row.tolist() == [0, 0, 0, 1, 2, 2]
    assert batch.position.tolist() == [2, 3, 4, 1, 1, 2]
    assert batch.target.tolist() == [13, 14, 15, 22, 32, 33]
    assert [r.n_scored for r in batch.rows] == [3, 1, 2]
    assert [r.weight for r in batch.rows] == [1.0, 0.5, 1.0]


def test_padding_that_looks_like_the_end_token_is_still_padding() -> None:
    batch = collate([Row("a", "target", (1,), (5, 2)), Row("b", "target", (1,), (2,))], pad_id=2)
    assert batch.input_ids.tolist() == [[1, 5, 2], [1, 2, 2]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.target.tolist() == [5, 2, 2]  # both answers' own end tokens, and no padding


def test_a_batch_moves_as_a_whole() -> None:
    batch = collate([Row("a", "target", (1,), (2, 3))], 0)
    moved = batch.to("cpu")
    assert moved.rows == batch.rows
    assert moved.input_ids.tolist() == batch.input_ids.tolist()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "at least one row"),
        ([Row("empty", "target", (1, 2), ())], "'empty' has no scored token"),
        ([Row("lone", "target", (), (1,))], "'lone' has no scored token"),
    ],
)
def test_batches_without_scored_tokens_are_refused(rows: list[Row], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        collate(rows, 0)


def test_buckets_by_hand() -> None:
    # One group of [10, 9, 3, 3] computes 40 tokens for 25 real ones; two compute 20 + 6 = 26.
    assert length_buckets([3, 10, 3, 9]) == [[1, 3], [0, 2]]
    # 30 tokens for 29 real ones: not worth a second forward.
    assert length_buckets([10, 10, 9]) == [[0, 1, 2]]
    assert length_buckets([]) == []
    assert length_buckets([7]) == [[0]]


LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=12)


def padded(lengths: list[int], groups: list[list[int]]) -> int:
    return sum(len(g) * max(lengths[i] for i in g) for g in groups)


def best(lengths: list[int], k: int) -> int:
    """Least padded size with k groups: the best split of the sorted lengths, by trying all."""
    ordered = sorted(lengths, reverse=True)
    ends = [(*cuts, len(ordered)) for cuts in combinations(range(1, len(ordered)), k - 1)]
    return min(
        sum((b - a) * ordered[a] for a, b in zip((0, *e[:-1]), e, strict=True)) for e in ends
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(lengths=LENGTHS, padding=st.sampled_from([0.0, 0.1, 0.5]), most=st.integers(1, 5))
def test_buckets_are_the_fewest_that_keep_padding_low(
    lengths: list[int], padding: float, most: int
) -> None:
    groups = length_buckets(lengths, max_padding=padding, max_buckets=most)
    assert sorted(i for g in groups for i in g) == list(range(len(lengths)))
    assert all(groups) and len(groups) <= most
    for group in groups:
        assert [lengths[i] for i in group] == sorted((lengths[i] for i in group), reverse=True)
    bound = (1 + padding) * sum(lengths)
    assert padded(lengths, groups) == best(lengths, len(groups))
    if len(groups) < min(most, len(lengths)):
        assert padded(lengths, groups) <= bound
    for fewer in range(1, len(groups)):
        assert best(lengths, fewer) > bound
