"""Gradient norms are those of an ordinary backward through full logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.helpers import tiny_model
from tests.measure.common import NORM, answer_model, encoder, record, records
from unbelief.measure.gradients import gradient_norm
from unbelief.measure.plan import Plan
from unbelief.measure.prepare import prepare
from unbelief.measure.run import measure_examples
from unbelief.measure.tables import GradientNeed
from unbelief.models.adapters import LoraOptions, add_lora
from unbelief.models.runner import AnswerModel
from unbelief.types import Record


def by_definition(model: Any, r: Record, order: float, *, drop: int = 0) -> float:
    e = encoder().encode(r)
    answer = e.answer_ids[: len(e.answer_ids) - drop]
    ids = torch.tensor([e.prompt_ids + answer])
    logp = model(ids).logits[0, :-1].log_softmax(-1)
    target = ids[0, 1:]
    picked = logp.gather(1, target[:, None])[len(e.prompt_ids) - 1 :]
    model.zero_grad()
    (-picked.mean()).backward()
    norms = [p.grad.norm(order) for p in model.parameters() if p.grad is not None]
    return float(torch.stack(norms).mean())


@pytest.mark.parametrize("order", [1.0, 2.0, float("inf")])
@pytest.mark.parametrize("family", ["llama", "llama-tied", "gemma2", "gpt2"])
def test_norms_are_those_of_a_plain_backward(family: str, order: float) -> None:
    need, last = GradientNeed(order), GradientNeed(order, drop_last=True)
    plan = Plan({"s": records(2)}, {"s": (need, last)})
    for example in measure_examples(answer_model(family), encoder(), plan)["s"]:
        want = by_definition(tiny_model(family), example.record, order)
        assert example.gradients[need] == pytest.approx(want, rel=1e-4)
        want = by_definition(tiny_model(family), example.record, order, drop=1)
        assert example.gradients[last] == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("path", ["head", "logits"])
def test_the_model_is_left_as_it_was(path: Any) -> None:
    inner = tiny_model().requires_grad_(False).train()
    inner.lm_head.weight.requires_grad_(True)
    inner.lm_head.weight.grad = torch.ones_like(inner.lm_head.weight)
    model = AnswerModel(inner, head_path=path)
    work = prepare(Plan({"s": [record(0)]}, {"s": (NORM,)}), encoder(), None)
    norm = gradient_norm(model, work.gradients[0][0], 2.0)
    assert norm == pytest.approx(by_definition(tiny_model(), record(0), 2.0), rel=1e-4)
    for name, parameter in inner.named_parameters():
        assert parameter.requires_grad is (name == "lm_head.weight"), name
    assert inner.lm_head.weight.grad is not None and (inner.lm_head.weight.grad == 1).all()
    assert inner.training


def test_frozen_parameters_under_an_adapter_count() -> None:
    wrapped = add_lora(tiny_model(), LoraOptions(r=2, alpha=2))
    plan = Plan({"s": [record(0)]}, {"s": (NORM,)})
    (example,) = measure_examples(AnswerModel(wrapped), encoder(), plan)["s"]
    base = by_definition(tiny_model(), record(0), 2.0)
    # B is 0: the adapter changes nothing, A gets no gradient, and B's tensors are some more.
    n = len(list(tiny_model().parameters()))
    more = sum(1 for _ in wrapped.parameters()) - n
    assert base * n / (n + more) < example.gradients[NORM] < base * 2


def test_nan_is_stored() -> None:
    inner = tiny_model()
    with torch.no_grad():
        inner.model.norm.weight.fill_(torch.nan)
    plan = Plan({"s": [record(0)]}, {"s": (NORM,)})
    (example,) = measure_examples(AnswerModel(inner, head_path="head"), encoder(), plan)["s"]
    assert example.gradients[NORM] != example.gradients[NORM]
