"""Cutting into packs and batches loses nothing, repeats nothing and keeps its limits."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbelief.measure.jobs import Answer, Question
from unbelief.measure.packs import Batch, Pack, batches_of, halves, packs_of


def question(prompt: int, *lengths: int, name: int = 0) -> Question:
    """A prompt of some length with answers of some lengths."""
    answers = tuple(Answer((i,) * n, (), True, False, "") for i, n in enumerate(lengths))
    return Question((name,) * prompt, (), answers)


SHAPES = st.lists(
    st.tuples(st.integers(0, 40), st.lists(st.integers(1, 30), min_size=1, max_size=9)), max_size=12
)


def contents(its: Any) -> Counter[Any]:
    return Counter((q.prompt_ids, id(a)) for q in its for a in q.answers)


@given(SHAPES, st.booleans(), st.one_of(st.none(), st.integers(1, 60)), st.integers(1, 300))
def test_every_answer_is_in_one_batch(
    shapes: Any, packed: bool, window: int | None, tokens: int
) -> None:
    questions = [question(p, *lengths, name=i) for i, (p, lengths) in enumerate(shapes)]
    batches = batches_of(questions, packed=packed, window=window, tokens=tokens)
    packs = [p for b in batches for p in b.packs]
    assert contents(packs) == contents(questions)
    for batch in batches:
        assert all((len(p.answers) > 1) is batch.packed for p in batch.packs)
        padded = len(batch.packs) * max(p.length for p in batch.packs)
        assert len(batch.packs) == 1 or (batch.tokens if batch.packed else padded) <= tokens
        assert batch.tokens == sum(p.length for p in batch.packs)
        lengths = [p.length for p in batch.packs]
        assert lengths == sorted(lengths, reverse=True)
    for pack in packs:
        rows = [len(pack.prompt_ids) + len(a.ids) for a in pack.answers]
        if len(rows) > 1:
            assert packed and pack.prompt_ids
            assert window is None or max(rows) <= window
    if not packed:
        assert all(len(p.answers) == 1 for p in packs)


def test_five_answers_share_a_prompt() -> None:
    # 65 prompt tokens and 7 answers of 45: 380 tokens instead of 770.
    (pack,) = packs_of(question(65, *[45] * 7), None)
    assert pack.length == 65 + 7 * 45 == 380
    rows = batches_of([question(65, *[45] * 7)], packed=False, window=None, tokens=1000)
    assert sum(b.tokens for b in rows) == 7 * (65 + 45) == 770


@pytest.mark.parametrize(
    ("prompt", "answers", "packed"),
    [
        (0, (5, 5), False),  # nothing is shared
        (1, (50, 50), False),  # 1 of 102 tokens saved
        (10, (20, 20), True),  # 10 of 60
        (30, (5,), False),  # one answer
    ],
)
def test_packing_must_save_a_tenth(prompt: int, answers: tuple[int, ...], packed: bool) -> None:
    assert (len(packs_of(question(prompt, *answers), None)) < len(answers)) is packed


def test_long_answers_are_spread_over_packs() -> None:
    # 500 + 3 · 250 > 1024, and twice the longest row is 1500 > 1250: two packs of 3 and one answer
    # would be 1250 each.
    packs = packs_of(question(500, *[250] * 5), None)
    assert [p.length for p in packs] == [1500, 750]
    # A prompt of any length shares: twice the longest row is 2 · 4010.
    (pack,) = packs_of(question(4000, *[10] * 4), None)
    assert pack.length == 4040


def test_answers_beyond_the_window_stand_alone() -> None:
    packs = packs_of(question(10, 5, 50, 6), 20)
    assert sorted(tuple(len(a.ids) for a in p.answers) for p in packs) == [(5, 6), (50,)]


def test_halving_ends_with_single_rows() -> None:
    def all_of(batch: Batch) -> list[Pack]:
        smaller = halves(batch)
        return [p for b in smaller for p in all_of(b)] if smaller else list(batch.packs)

    questions = [question(20, 5, 6, 7, name=i) for i in range(3)]
    (batch,) = batches_of(questions, packed=True, window=None, tokens=10_000)
    rows = all_of(batch)
    assert contents(rows) == contents(questions)
    assert all(len(p.answers) == 1 for p in rows)
