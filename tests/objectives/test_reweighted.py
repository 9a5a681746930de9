"""Weights on gradient ascent, and soft targets: values by hand, gradients against autograd."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.objectives.toy import Toy, random_toy, stats_of_probabilities
from torch import Tensor

from unbelief.models.head import HeadJob, HeadWeights, TokenInputs, answer_loss
from unbelief.objectives import BST, BSTW, CEU, GA, NPO, NPOW, PDU, UNDIAL, WGA, SatImp, Term

LN2 = math.log(2)


def gradient(term: Term, toy: Toy) -> Tensor:
    return torch.autograd.grad(term.values(toy.stats(term.needs)).sum(), toy.logits)[0]


def one(
    term: Term, pi: list[float], y: int, ref: list[float] | None = None
) -> tuple[float, list[float]]:
    """Value and logit gradient of a single token."""
    z, stats = stats_of_probabilities([pi], [y], term.needs, None if ref is None else [ref])
    value = term.values(stats).sum()
    return value.item(), torch.autograd.grad(value, z)[0][0].tolist()


# SatImp


def test_satimp_by_hand() -> None:
    # β₁ = 2, β₂ = 1: w = ¼² · ¾ = 3/64, L = w ln ¼, dL/dz = w (e_y - π).
    value, slope = one(SatImp(beta1=2, beta2=1), [0.5, 0.25, 0.25], 1)
    assert value == pytest.approx(-3 / 64 * 2 * LN2)
    assert slope == pytest.approx([-3 / 128, 9 / 256, -3 / 256])


def test_satimp_without_importance_is_wga() -> None:
    toy = random_toy()
    torch.testing.assert_close(gradient(SatImp(beta1=2, beta2=0), toy), gradient(WGA(alpha=2), toy))


def test_satimp_leaves_certain_tokens_alone_but_not_without_importance() -> None:
    _, stats = stats_of_probabilities([[1.0, 1e-300]], [0])
    assert SatImp().values(stats).tolist() == [0]
    # 0⁰ = 1: with β₂ = 0 a certain token has weight 1.
    (slope,) = torch.autograd.grad(SatImp(beta2=0).values(stats).sum(), stats.logp)
    assert slope.tolist() == [1]


# NPOW and BSTW


@given(beta=st.floats(0.01, 5), seed=st.integers(0, 50))
def test_npow_has_the_gradient_of_npo(beta: float, seed: int) -> None:
    toy = random_toy(seed)
    torch.testing.assert_close(gradient(NPOW(beta=beta), toy), gradient(NPO(beta=beta), toy))


def test_npow_by_hand() -> None:
    # π(y) = ¼, π_o(y) = ½, β = 1: w = 2 · ¼ / (¼ + ½) = 2/3.
    value, slope = one(NPOW(beta=1), [0.5, 0.25, 0.25], 1, [0.25, 0.5, 0.25])
    assert value == pytest.approx(2 / 3 * math.log(0.25))
    assert slope == pytest.approx([-1 / 3, 0.5, -1 / 6])


def test_bstw_is_npow_without_beliefs_and_bst_at_the_original() -> None:
    toy = random_toy()
    torch.testing.assert_close(
        gradient(BSTW(weight=0, beta=0.5), toy), gradient(NPOW(beta=0.5), toy)
    )
    assert toy.ref_logits is not None
    toy.ref_logits = toy.logits.detach()  # w = 1
    torch.testing.assert_close(gradient(BSTW(top_k=5), toy), gradient(BST(top_k=5), toy))


# CE-U


def test_ceu_has_the_gradient_of_the_cross_entropy_without_the_target() -> None:
    toy = random_toy()
    t = toy.logits.detach().scatter(1, toy.target[:, None], -math.inf).softmax(-1)
    cross_entropy = -(t * toy.logits.log_softmax(-1)).sum()
    (want,) = torch.autograd.grad(cross_entropy, toy.logits)
    torch.testing.assert_close(gradient(CEU(), toy), want)


def test_ceu_by_hand() -> None:
    # π_y = ¼: L = -ln ¾, t = (2/3, 0, 1/3), dL/dz = π - t.
    value, slope = one(CEU(), [0.5, 0.25, 0.25], 1)
    assert value == pytest.approx(math.log(4 / 3))
    assert slope == pytest.approx([-1 / 6, 0.25, -1 / 12])


@pytest.mark.parametrize("gap", [5.0, 16.0, 40.0, 200.0])
def test_ceu_of_a_certain_token_moves_it_in_full(gap: float) -> None:
    """Single precision, through the head: dL/dz_y = π_y, also where 1 - π_y rounds to 0."""
    hidden = torch.tensor([[gap, 0.0]], requires_grad=True)
    head = HeadWeights(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.5]]))
    tokens = TokenInputs(torch.tensor([0]), torch.tensor([0]), 1, torch.ones(1))
    loss = answer_loss(
        hidden, head, [HeadJob(tokens, CEU().needs, lambda s: CEU().values(s).sum())]
    )
    # z = (gap, 0, 0): π_y = 1 / (1 + 2 e^{-gap}) and t = (0, ½, ½), so dL/dh = (π_y, -3/4 π_y):
    # the others' logits move by π - t = -π_y / 2 each, times 1 and ½.
    p = 1 / (1 + 2 * math.exp(-gap))
    (slope,) = torch.autograd.grad(loss, hidden)
    assert loss.isfinite()
    if gap < 80:  # beyond, the others underflow
        assert slope[0].tolist() == pytest.approx([p, -0.75 * p], rel=1e-5)
    assert slope.isfinite().all()


# UNDIAL


@pytest.mark.parametrize("strength", [0.5, 3.0, 10.0])
def test_undial_is_the_divergence_from_the_adjusted_distribution(strength: float) -> None:
    toy = random_toy()
    assert toy.ref_logits is not None
    lowered = torch.zeros_like(toy.ref_logits).scatter(1, toy.target[:, None], strength)
    t = (toy.ref_logits - lowered).log_softmax(-1)
    want = (t.exp() * (t - toy.logits.log_softmax(-1))).sum(-1)
    term = UNDIAL(strength=strength)
    torch.testing.assert_close(term.values(toy.stats(term.needs)), want)
    torch.testing.assert_close(gradient(term, toy), toy.logits.detach().softmax(-1) - t.exp())


def test_undial_by_hand() -> None:
    # π_o = (½, ¼, ¼), β = ln 2: the target's share is halved, t = (4, 1, 2)/7; π = π_o:
    # KL(t ‖ π) = 4/7 ln 8/7 + 1/7 ln 4/7 + 2/7 ln 8/7.
    pi = [0.5, 0.25, 0.25]
    value, slope = one(UNDIAL(strength=LN2), pi, 1, pi)
    assert value == pytest.approx(6 / 7 * math.log(8 / 7) + 1 / 7 * math.log(4 / 7))
    assert slope == pytest.approx([0.5 - 4 / 7, 0.25 - 1 / 7, 0.25 - 2 / 7])


@pytest.mark.parametrize("strength", [3.0, 10.0, 20.0, 30.0])
@pytest.mark.parametrize("gap", [1.0, 9.0, 18.0, 40.0])
def test_undial_in_single_precision_is_that_of_float64(strength: float, gap: float) -> None:
    """Through the head, for answers known by heart: 1 - π_o(y) would be rounding."""
    z = torch.tensor([[gap, 0.3, -0.2]])
    hidden = (z + torch.tensor([[0.5, -0.1, 0.2]])).requires_grad_()
    logp = z.log_softmax(-1)[:, 0]
    head, ones = HeadWeights(torch.eye(3)), torch.ones(1)
    tokens = TokenInputs(torch.tensor([0]), torch.tensor([0]), 1, ones, ref_logp=logp)
    term = UNDIAL(strength=strength)
    job = HeadJob(tokens, term.needs, lambda s: term.values(s).sum(), ref_hidden=z, ref_head=head)
    loss = answer_loss(hidden, head, [job])
    (slope,) = torch.autograd.grad(loss, hidden)
    exact = hidden.detach().double().requires_grad_()
    t = (z.double() - torch.tensor([[strength, 0, 0]])).log_softmax(-1)
    want = (t.exp() * (t - exact.log_softmax(-1))).sum()
    (want_slope,) = torch.autograd.grad(want, exact)
    assert loss.item() == pytest.approx(want.item(), rel=1e-5, abs=5e-6)
    torch.testing.assert_close(slope.double(), want_slope, rtol=1e-4, atol=1e-6)


def test_undial_of_a_certain_token_is_finite() -> None:
    term = UNDIAL()
    z, stats = stats_of_probabilities([[1 - 1e-12, 1e-12]], [0], term.needs, [[1 - 1e-12, 1e-12]])
    value = term.values(stats)
    (slope,) = torch.autograd.grad(value.sum(), z)
    assert value.isfinite().all() and slope.isfinite().all() and slope[0, 0] > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SatImp(beta1=-1), "beta1 must not be negative"),
        (lambda: SatImp(beta2=float("nan")), "beta2 must not be negative"),
        (lambda: NPOW(beta=0), "beta must be positive"),
        (lambda: BSTW(weight=2), r"weight must lie in \[0, 1\]"),
        (lambda: BSTW(beta=-1), "beta must be positive"),
        (lambda: UNDIAL(strength=0), "strength must be positive"),
    ],
)
def test_values_out_of_range_are_refused(make: Callable[[], Term], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_pdu_by_hand() -> None:
    # z = ln (4, 1, ½) up to a constant: max 2 ln 2, mean (2 - 1)/3 ln 2 = ln 2 / 3, so the margin
    # is 5/3 ln 2, whatever the answer; dL/dz = 2 · margin · (e_0 - 1/3).
    pi = [8 / 11, 2 / 11, 1 / 11]
    value, slope = one(PDU(), pi, 2)
    margin = 5 / 3 * LN2
    assert value == pytest.approx(margin**2)
    assert slope == pytest.approx([4 / 3 * margin, -2 / 3 * margin, -2 / 3 * margin])


def test_pdu_has_its_minimum_at_the_uniform_distribution() -> None:
    value, slope = one(PDU(), [0.25] * 4, 1)
    assert value == pytest.approx(0, abs=1e-12)
    assert slope == pytest.approx([0] * 4, abs=1e-9)


def test_ga_is_what_all_weights_start_from() -> None:
    """With unit weights every reweighting is GA."""
    toy = random_toy()
    torch.testing.assert_close(gradient(SatImp(beta1=0, beta2=0), toy), gradient(GA(), toy))
