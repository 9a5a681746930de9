"""Answers and their alternatives on the way through the trainer: never apart, counted as one."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import tiny_model
from tests.train import flat_twin
from tests.train.common import FORGET, largest_difference, loaded, unlearner, weights
from unbelief.beliefs.alternatives import drawn_refusals
from unbelief.errors import RequestError
from unbelief.models.runner import AnswerModel
from unbelief.objectives import DPO, FLAT, NLL, PO, ForgetTerm, Objective
from unbelief.tokens import Encoded, Encoder
from unbelief.tokens.batch import grouped
from unbelief.train.plan import Plan
from unbelief.train.reference import ReferenceCache
from unbelief.train.step import StepLoss, Tally


def plan(n: int, pairs: int, **options: Any) -> Plan:
    def encoded(name: str, count: int) -> list[Encoded]:
        return [Encoded(f"{name}{i}", (1,) * (i % 3 + 1), (2,) * (i % 5 + 1)) for i in range(count)]

    others = {f"f{i}": [(3,) * (i % 4 + 1), (4,) * (i % 7 + 1)] for i in range(n)}
    return Plan(
        forget=encoded("f", n),
        retain=encoded("r", 9),
        pairs_per_step=pairs,
        epochs=4,
        answers="pairs",
        alternatives=others,
        **options,
    )


@given(
    n=st.integers(2, 12), pairs=st.integers(1, 8), size=st.integers(1, 3), rows=st.integers(2, 9)
)
def test_pairs_are_never_taken_apart(n: int, pairs: int, size: int, rows: int) -> None:
    kept = []
    lengths = set()
    for rank in range(size):
        p = plan(n, pairs, rows_per_forward=rows, world_size=size, rank=rank)
        step = p.step(0, {})
        lengths.add(len(step.micro_batches))
        assert step.counts["target"].pairs == step.counts["target"].weight == len(p.pairs(0))
        for micro_batch in step.micro_batches:
            assert sum(r.weight > 0 for r in micro_batch) <= rows
            for unit in grouped(micro_batch):
                kinds = [r.kind for r in unit]
                assert kinds in (["target", "alternative"], ["retain"])
            kept += [r.key for r in micro_batch if r.weight > 0]
    assert len(lengths) == 1
    assert sorted(kept) == sorted(r.key for r in plan(n, pairs).rows(0, {}))


def test_alternatives_come_in_turn_one_per_epoch() -> None:
    p = plan(4, 4)
    each = [{r.key for r in p.rows(step, {}) if r.kind == "alternative"} for step in range(4)]
    assert each[0] == each[2] == {f"f{i}+0" for i in range(4)}
    assert each[1] == each[3] == {f"f{i}+1" for i in range(4)}
    assert [r.key for r in p.forget_rows(2, {})] == ["f2", "f2+0", "f2+1"]


def refusal_plan(objective: Objective, rows_per_forward: int = 100) -> Plan:
    encoder = Encoder(loaded().tokenizer)
    return Plan(
        forget=[encoder.encode(r) for r in FORGET],
        retain=[],
        pairs_per_step=6,
        epochs=1,
        answers=objective.forget.answers,
        alternatives=drawn_refusals(encoder, FORGET, 1, seed=0),
        rows_per_forward=rows_per_forward,
    )


@pytest.mark.parametrize("chunk_bytes", [None, 4 * 120 * 16])
def test_the_loss_is_that_of_full_logits(
    chunk_bytes: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DPO of six pairs, each from plain log-probabilities; also where chunks hold one pair."""
    if chunk_bytes is not None:
        monkeypatch.setattr("unbelief.models.head.CHUNK_BYTES", chunk_bytes)
    objective = Objective(DPO(beta=0.5))
    p = refusal_plan(objective)
    step, model, original = p.step(0, {}), tiny_model(seed=0), tiny_model(seed=1)
    cache = ReferenceCache(objective.forget.needs)
    (rows,) = step.micro_batches
    cache.fill(AnswerModel(original), rows)
    tally = Tally()
    loss = StepLoss(AnswerModel(model), objective, cache, None, tally)
    got, reverse = (float(loss(r, step.counts).detach()) for r in (rows, rows[::-1]))

    def gain(prompt: Any, ids: Any) -> float:
        each = (flat_twin.token_log_probs(m, (list(prompt), list(ids))) for m in (model, original))
        own, other = (t.sum().item() for t in each)
        return own - other

    expected = []
    with torch.no_grad():
        for e in p.forget:
            (other,) = p.alternatives[e.record_id]
            margin = gain(e.prompt_ids, other) - gain(e.prompt_ids, e.answer_ids)
            expected.append(2 / 0.5 * math.log1p(math.exp(-0.5 * margin)))
    assert got == pytest.approx(sum(expected) / 6, rel=1e-5)
    assert reverse == pytest.approx(got, rel=1e-6)
    assert {"target_logp", "alternative_logp", "preference_margin"} <= tally.take().keys()


@pytest.mark.parametrize("forget", [PO(samples=2), DPO(samples=2), FLAT(samples=2)], ids=str)
def test_micro_batches_do_not_change_a_step(forget: ForgetTerm) -> None:
    runs = [
        unlearner(
            forget + NLL(),
            optim="sgd",
            learning_rate=0.1,
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=parts,
        ).fit()
        for rows, parts in ((6, 1), (1, 6))
    ]
    assert [e["loss"] for e in runs[0].log] == pytest.approx(
        [e["loss"] for e in runs[1].log], rel=2e-6
    )
    one, other = (weights(run.model.model) for run in runs)
    assert largest_difference(one, other) < 2e-6


def test_alternatives_become_likelier_than_before() -> None:
    log = unlearner(Objective(PO(samples=1)), learning_rate=3e-3).fit().log
    assert log[-1]["alternative_logp"] > log[0]["alternative_logp"] + 0.1


def test_altpo_keeps_the_answers_it_asked_for() -> None:
    term = DPO(alternatives="model", samples=2, max_new_tokens=5)
    result = unlearner(term + NLL(), max_steps=2).fit()
    assert result.beliefs is not None
    assert result.beliefs.stats().n == 12
    assert result.beliefs.meta.decoding.max_new_tokens == 5


def test_loss_selection_of_pairs_is_refused() -> None:
    with pytest.raises(RequestError, match="no meaning for the pairs of dpo"):
        unlearner(Objective(DPO(), keep_fraction=0.5)).fit()
