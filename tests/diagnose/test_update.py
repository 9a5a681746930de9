"""Theorem 5.2 with its sign settled: autograd against t − π, in double precision."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.diagnose.common import RECORDS, encoder
from tests.helpers import tiny_model
from tests.train.common import unlearner
from unbelief.diagnose.exact import ExactModel
from unbelief.diagnose.update import Update, closed_form, soft_target
from unbelief.errors import RequestError
from unbelief.models.runner import AnswerModel
from unbelief.objectives import BSS, BST, GA, NPO, RMU, WGA, Objective

BELIEFS = ((40, 41, 2), (50, 51, 52, 53))


@pytest.fixture(scope="module")
def exact() -> ExactModel:
    return ExactModel(tiny_model())


def update(exact: ExactModel, objective: Objective, record: int = 0) -> Update:
    beliefs = BELIEFS if isinstance(objective.forget, BSS) else ()
    return Update.of(exact, objective, encoder().encode(RECORDS[record]), beliefs)


def logits(made: Update) -> tuple[Tensor, Any]:
    batch = made.batch()
    with torch.no_grad():
        return made.model.logits(batch), batch


@pytest.mark.parametrize("term", [GA(), BST(), BST(weight=0.5, top_k=3), BST(belief_temperature=3)])
def test_autograd_is_target_minus_policy(exact: ExactModel, term: GA | BST) -> None:
    made = update(exact, Objective(term, reduction="sum"))
    z, batch = logits(made)
    residuals = made.residuals()
    torch.testing.assert_close(residuals, closed_form(term, z, batch.target), atol=1e-15, rtol=0)
    assert float(residuals.sum(dim=1).abs().max()) < 1e-14
    # GA's residual has the sign of the loss that is minimised: e_y − π, not π − e_y.
    own = residuals.gather(1, batch.target[:, None])
    if isinstance(term, GA):
        assert (own > 0).all() and int((residuals > 0).sum()) == len(own)


def test_off_the_target_the_belief_is_added(exact: ExactModel) -> None:
    # G_BST,v = G_GA,v + λ q_v for v ≠ y, and G_GA,y − λ (1 − q_y) at the target
    term = BST(weight=0.3, top_k=4)
    ga = update(exact, Objective(GA(), reduction="sum")).residuals()
    bst = update(exact, Objective(term, reduction="sum"))
    z, batch = logits(bst)
    hot = torch.zeros_like(z).scatter(1, batch.target[:, None], 1.0)
    q = (soft_target(term, z, batch.target) - 0.7 * hot) / 0.3
    assert torch.allclose(q.sum(dim=1), torch.ones(len(q), dtype=q.dtype))
    torch.testing.assert_close(bst.residuals(), ga + 0.3 * (q - hot), atol=1e-14, rtol=0)


def test_without_belief_weight_it_is_gradient_ascent(exact: ExactModel) -> None:
    ga = update(exact, Objective(GA())).residuals()
    bst = update(exact, Objective(BST(weight=0.0))).residuals()
    torch.testing.assert_close(bst, ga, atol=1e-15, rtol=0)


def test_the_whole_vocabulary_as_belief_scales_gradient_ascent(exact: ExactModel) -> None:
    # q = π: t − π = (1 − λ)(e_y − π)
    ga = update(exact, Objective(GA())).residuals()
    bst = update(exact, Objective(BST(weight=0.2, top_k=10**6))).residuals()
    torch.testing.assert_close(bst, 0.8 * ga, atol=1e-15, rtol=0)


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_mean", "sum"])
def test_sequence_beliefs_are_weighted_as_in_theorem_5_3(exact: ExactModel, reduction: Any) -> None:
    # ω = 1/2 and 1/4, 1/4; token counts are 9 of the target ("In Rome." and its end), 3 and 4
    objective = Objective(BSS(inner=GA(), weight=0.5, samples=2), reduction=reduction)
    made = update(exact, objective)
    assert [r.weight for r in made.rows] == [0.5, 0.25, 0.25]
    z, batch = logits(made)
    expected = {
        "sequence_mean": [0.5 / 9, 0.25 / 3, 0.25 / 4],
        "token_mean": [0.5 / 9, 0.5 / 7, 0.5 / 7],
        "sum": [0.5, 0.25, 0.25],
    }[reduction]
    weights = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(made.scale_of_rows(), weights)
    formula = made.scale_of_rows()[batch.row][:, None] * closed_form(GA(), z, batch.target)
    torch.testing.assert_close(made.residuals(), formula, atol=1e-15, rtol=0)


def test_the_first_npo_step_is_gradient_ascent_on_the_sum(exact: ExactModel) -> None:
    # −(2/β) log σ(−β (log π − log π_o)) has slope 2 σ(0) = 1 where π is still π_o
    ga = update(exact, Objective(GA(), reduction="sum")).residuals()
    npo = update(exact, Objective(NPO())).residuals()
    torch.testing.assert_close(npo, ga, atol=1e-14, rtol=0)


@pytest.mark.parametrize(
    "objective",
    [
        Objective(GA()),
        Objective(BST(top_k=4), forget_weight=0.5),
        Objective(WGA(), reduction="token_mean"),
        Objective(NPO()),
        Objective(BST(beliefs_from="reference", top_k=3)),
    ],
    ids=lambda o: o.forget.name,
)
def test_it_is_the_gradient_the_trainer_takes(objective: Objective) -> None:
    """One trainer step with plain SGD on the single record, against θ − η g."""
    run = unlearner(
        objective,
        optim="sgd",
        weight_decay=0,
        max_grad_norm=0,
        learning_rate=0.1,
        lr_scheduler_type="constant",
        max_steps=1,
        per_device_train_batch_size=1,
    )
    result = replace(run, forget=[RECORDS[0]]).fit()
    made = update(ExactModel(tiny_model()), objective)
    stepped = made.model.moved(made.gradient(), 0.1)
    for name, parameter in result.model.inner.named_parameters():
        torch.testing.assert_close(
            parameter.double(),
            stepped[name],
            atol=2e-6,
            rtol=1e-4,
            msg=lambda m, n=name: f"{n} {m}",
        )


def test_hidden_states_and_missing_beliefs_are_refused(exact: ExactModel) -> None:
    encoded = encoder().encode(RECORDS[0])
    for objective, beliefs in ((Objective(RMU()), ()), (Objective(BSS()), ()),
                               (Objective(GA()), BELIEFS)):  # fmt: skip
        with pytest.raises(RequestError) as caught:
            Update.of(exact, objective, encoded, beliefs)
        assert caught.value.remedy


def test_no_closed_form_of_frozen_beliefs() -> None:
    with pytest.raises(ValueError):
        soft_target(BST(beliefs_from="reference"), torch.zeros(1, 3), torch.zeros(1, dtype=int))


def test_an_answer_model_around_it_does_not_matter() -> None:
    model = tiny_model()
    AnswerModel(model)
    exact = ExactModel(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()  # the copy must not see this
    batch = exact.batch(update(exact, Objective(GA())).rows)
    plain = ExactModel(tiny_model()).logits(batch)
    torch.testing.assert_close(exact.logits(batch), plain, atol=0, rtol=0)
