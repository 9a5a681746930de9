"""Gradients added to `.grad` directly are those autograd would have summed."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.helpers import tiny_model

from unbelief.models.direct import embed, takes_direct_gradients
from unbelief.models.head import HeadJob, HeadWeights, TokenInputs, answer_loss
from unbelief.models.runner import AnswerModel
from unbelief.models.stats import Needs
from unbelief.objectives import BST, NLL
from unbelief.objectives.base import Counts
from unbelief.tokens import Row
from unbelief.train.reference import ReferenceCache
from unbelief.train.step import StepLoss, Tally


def head_gradient(weight: torch.nn.Parameter, *, direct: bool) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(20, 8, generator=generator)
    target = torch.randint(0, 50, (20,), generator=generator)
    tokens = TokenInputs(target, torch.arange(4).repeat_interleave(5), 4, torch.ones(20))
    weight.grad = None
    for _ in range(2):  # a second backward adds to what the first one left
        job = HeadJob(tokens, Needs(), lambda stats: stats.logp.sum())
        answer_loss(hidden, HeadWeights(weight), [job], direct=direct).backward()
    assert weight.grad is not None
    return weight.grad.clone()


def test_the_heads_weight_gets_the_same_gradient():
    weight = torch.nn.Parameter(torch.randn(50, 8, generator=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(
        head_gradient(weight, direct=True), head_gradient(weight, direct=False)
    )


def test_a_scaled_loss_is_refused_instead_of_half_scaled():
    weight, hidden = torch.nn.Parameter(torch.ones(5, 3)), torch.ones(2, 3)
    tokens = TokenInputs(torch.tensor([0, 1]), torch.tensor([0, 0]), 1, torch.ones(2))
    job = HeadJob(tokens, Needs(), lambda stats: stats.logp.sum())
    loss = answer_loss(hidden, HeadWeights(weight), [job], direct=True)
    with pytest.raises(RuntimeError, match="differentiated"):
        (2 * loss).backward()


@pytest.mark.parametrize("padding_idx", [None, 3])
def test_a_lookup_adds_the_same_rows(padding_idx):
    module = torch.nn.Embedding(10, 4, padding_idx=padding_idx)
    ids = torch.tensor([1, 3, 3, 7, 1])

    def gradient(direct: bool) -> torch.Tensor:
        module.weight.grad = None
        (embed(module, ids, direct=direct) ** 3).sum().backward()
        assert module.weight.grad is not None
        return module.weight.grad.clone()

    torch.testing.assert_close(gradient(True), gradient(False))


def test_only_plain_fp32_parameters_without_hooks_are_written_to():
    plain = torch.nn.Parameter(torch.zeros(2, 2))
    hooked = torch.nn.Parameter(torch.zeros(2, 2))
    hooked.register_hook(lambda grad: grad)
    assert takes_direct_gradients(plain)
    assert not takes_direct_gradients(hooked)
    assert not takes_direct_gradients(torch.nn.Parameter(torch.zeros(2), requires_grad=False))
    assert not takes_direct_gradients(torch.nn.Parameter(torch.zeros(2, dtype=torch.bfloat16)))


@pytest.mark.parametrize("family", ["llama", "llama-tied", "gemma2", "gpt2"])
def test_a_step_has_the_same_gradients_either_way(family):
    rows = [
        Row(f"{i}", "target" if i < 3 else "retain", tuple(range(5, 9 + 3 * i)), (7, 8, 9 + i, 2))
        for i in range(6)
    ]
    counts = {kind: Counts(3, 3.0, 12.0) for kind in ("target", "retain")}

    def gradients(direct: bool) -> dict[str, torch.Tensor]:
        model = AnswerModel(copy.deepcopy(tiny_model(family)))
        model.part_tokens = 60  # rows have 8 to 23 tokens
        objective = BST(top_k=5) + NLL()
        cache = ReferenceCache(objective.forget.needs)
        loss = StepLoss(model, objective, cache, None, Tally())
        with model.direct(direct):
            parts = model.parts(rows)
            assert (len(parts) > 1) == direct
            for part in parts:
                loss(part, counts).backward()
        return {n: p.grad for n, p in model.model.named_parameters() if p.grad is not None}

    ours, autograd = gradients(True), gradients(False)
    assert ours.keys() == autograd.keys()
    for name, gradient in autograd.items():
        torch.testing.assert_close(ours[name], gradient, atol=1e-6, rtol=1e-4, msg=name)


def test_parts_are_filled_up_to_their_tokens_with_padding():
    model = AnswerModel(tiny_model("llama"))
    model.part_tokens = 20
    rows = [Row(str(n), "target", (5,) * (n - 1), (6,)) for n in (4, 9, 30, 10, 5)]
    with model.direct(True):
        parts = model.parts(rows)
    # 30 > 20 stays alone; 10 + 9 is padded to 2 x 10 = 20; 5 + 4 to 2 x 5 = 10.
    assert [[r.length for r in part] for part in parts] == [[30], [10, 9], [5, 4]]
    assert model.parts(rows) == [rows]
