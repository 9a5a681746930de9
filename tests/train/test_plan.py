"""What every step consists of, whatever the processes and micro-batches it is cut into."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbelief.tokens import Encoded, Row
from unbelief.train.plan import Plan


def encoded(prefix: str, n: int, start: int = 0) -> list[Encoded]:
    """Records with 1 to 7 answer tokens."""
    return [Encoded(f"{prefix}{i}", (1, 2), tuple(range(3, 4 + (start + i) % 7))) for i in range(n)]


def plan(
    n_forget: int = 6,
    n_retain: int = 10,
    pairs: int = 4,
    *,
    epochs: float = 3,
    max_steps: int = -1,
    seed: int = 0,
    weight: float = 0.0,
    rows: int = 4,
    size: int = 1,
    rank: int = 0,
) -> Plan:
    return Plan(
        forget=encoded("f", n_forget),
        retain=encoded("r", n_retain, 3),
        pairs_per_step=pairs,
        epochs=epochs,
        max_steps=max_steps,
        seed=seed,
        belief_weight=weight,
        rows_per_forward=rows,
        world_size=size,
        rank=rank,
    )


def beliefs_about(n: int, samples: int) -> dict[str, list[tuple[int, ...]]]:
    return {f"f{i}": [(5,) * (1 + (i + j) % 4) for j in range(samples)] for i in range(n)}


sizes = st.integers(1, 13)


@given(n=sizes, pairs=sizes, seed=st.integers(0, 3))
def test_every_forget_record_comes_once_per_epoch(n: int, pairs: int, seed: int) -> None:
    p = plan(n, pairs=pairs, seed=seed)
    assert p.steps_per_epoch == math.ceil(n / pairs)
    for epoch in range(3):
        steps = range(epoch * p.steps_per_epoch, (epoch + 1) * p.steps_per_epoch)
        assert sorted(i for s in steps for i in p.pairs(s)) == list(range(n))


@given(n=sizes, n_retain=sizes, pairs=sizes)
def test_retain_records_come_again_only_when_all_have_come(
    n: int, n_retain: int, pairs: int
) -> None:
    p = plan(n, n_retain, pairs)
    drawn: list[int] = []
    for step in range(6 * p.steps_per_epoch):
        own = p.retain_indices(step)
        assert len(own) == len(p.pairs(step))
        drawn += own
    for start in range(0, len(drawn) - n_retain + 1, n_retain):
        assert sorted(drawn[start : start + n_retain]) == list(range(n_retain))


def test_orders_differ_between_epochs_and_seeds() -> None:
    p, other = plan(12, pairs=12), plan(12, pairs=12, seed=1)
    assert p.pairs(0) != p.pairs(1)
    assert p.pairs(0) != other.pairs(0)


def test_the_number_of_steps_follows_from_epochs_unless_steps_are_given() -> None:
    # 6 records, 4 a step: 2 steps an epoch.
    assert plan(epochs=3).total_steps == 6
    assert plan(epochs=0.5).total_steps == 1
    assert plan(epochs=0.01).total_steps == 1
    assert plan(max_steps=5).total_steps == 5


def working(rows: tuple[tuple[Row, ...], ...]) -> list[Row]:
    return [r for micro in rows for r in micro if r.weight > 0]


@settings(max_examples=60, deadline=None)
@given(
    n=sizes,
    n_retain=st.integers(0, 9),
    pairs=sizes,
    samples=st.integers(0, 3),
    rows=st.integers(1, 6),
    size=st.integers(1, 5),
    step=st.integers(0, 30),
)
def test_a_step_is_the_same_however_it_is_cut(
    n: int, n_retain: int, pairs: int, samples: int, rows: int, size: int, step: int
) -> None:
    beliefs = beliefs_about(n, samples) if samples else {}
    weight = 0.5 if samples else 0.0
    whole = plan(n, n_retain, pairs, weight=weight, rows=10**6).step(step, beliefs)
    (everything,) = whole.micro_batches
    parts = [
        plan(n, n_retain, pairs, weight=weight, rows=rows, size=size, rank=rank).step(step, beliefs)
        for rank in range(size)
    ]
    # Every row once, with its weight; the same counts everywhere.
    assert Counter(r for p in parts for r in working(p.micro_batches)) == Counter(everything)
    assert all(p.counts == whole.counts for p in parts)
    # The same number of micro-batches everywhere, none too long or empty.
    assert len({len(p.micro_batches) for p in parts}) == 1
    sides = {"forget", "retain"}
    for micros in zip(*(p.micro_batches for p in parts), strict=True):
        assert all(0 < sum(r.weight > 0 for r in m) <= rows or size > 1 for m in micros)
        assert all(sum(r.weight > 0 for r in m) <= rows for m in micros)
        # Lockstep: what one has, all have; what was added for that counts nothing.
        found = [{"retain" if r.kind == "retain" else "forget" for r in m} for m in micros]
        assert all(f == found[0] and f <= sides for f in found)


def test_idle_rows_weigh_nothing() -> None:
    # One pair without retain rows over three processes: two have nothing to do.
    parts = [plan(1, 0, 1, size=3, rank=rank).step(0, {}) for rank in range(3)]
    assert [[r.weight for r in p.micro_batches[0]] for p in parts] == [[1.0], [0.0], [0.0]]
    assert parts[0].counts["target"].pairs == 1


@given(samples=st.integers(1, 7), weight=st.floats(0, 1))
def test_weights_of_a_pair_sum_to_one(samples: int, weight: float) -> None:
    p = plan(weight=weight)
    rows = p.forget_rows(2, beliefs_about(6, samples))
    assert sum(r.weight for r in rows) == pytest.approx(1)
    assert rows[0].kind == "target" and rows[0].weight == 1 - weight
    assert all(r.weight == weight / samples for r in rows[1:])
    assert len({r.key for r in rows}) == 1 + samples


def test_beliefs_of_another_generation_have_other_keys() -> None:
    p, beliefs = plan(weight=0.5), beliefs_about(6, 2)
    keys = [{r.key for r in p.forget_rows(0, beliefs, g)} for g in (0, 1)]
    assert keys[0] & keys[1] == {"f0"}  # the target, whose reference stays


def test_counts_are_those_of_the_whole_step() -> None:
    # Pairs f0 and f1 have 1 and 2 answer tokens; two beliefs each of 1+(i+j)%4: 1, 2 and 2, 3.
    p = plan(2, 2, 2, weight=0.4, size=2)
    counts = p.step(0, beliefs_about(2, 2)).counts
    assert (counts["target"].pairs, counts["target"].tokens) == (2, 3)
    assert counts["target"].weight == pytest.approx(2 * 0.6)
    assert (counts["belief"].pairs, counts["belief"].tokens) == (2, 8)
    assert counts["belief"].weight == pytest.approx(2 * 0.4)
    # Retain records have 1 + (3 + i) % 7 tokens: 4 and 5.
    assert (counts["retain"].pairs, counts["retain"].tokens) == (2, 9)


def test_a_step_does_not_depend_on_the_steps_before() -> None:
    fresh, used = plan(), plan()
    for step in range(9):
        used.step(step, {})
    assert fresh.step(7, {}) == used.step(7, {})


def test_long_rows_come_first_and_lengths_are_dealt_evenly() -> None:
    parts = [plan(13, 13, 13, rows=100, size=2, rank=r).step(0, {}) for r in range(2)]
    lengths = [[r.length for r in p.micro_batches[0]] for p in parts]
    assert all(row == sorted(row, reverse=True) for row in lengths)
    # Dealt out in turns, the sums differ by no more than the longest row.
    assert abs(sum(lengths[0]) - sum(lengths[1])) <= max(lengths[0])


def test_loss_selection_counts_only_the_tokens_it_keeps():
    # Scored tokens 4 and 5, q = 0.5: int(2) + int(2.5) = 4 forget tokens; retain tokens all count.
    forget = [Encoded("a", (1,), (2, 3, 4, 5)), Encoded("b", (1,), (2, 3, 4, 5, 6))]
    retain = [Encoded("c", (1,), (2, 3, 4)), Encoded("d", (1,), (2, 3, 4))]
    plan = Plan(forget=forget, retain=retain, pairs_per_step=2, epochs=1, keep_fraction=0.5)
    counts = plan.step(0, {}).counts
    assert counts["target"].tokens == 4
    assert counts["retain"].tokens == 6
