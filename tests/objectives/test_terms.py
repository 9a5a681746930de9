"""Each term's formula, on two to four tokens one can work out on paper."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.objectives.toy import random_toy, stats_of_probabilities
from torch import Tensor

from unbelief.models.stats import AnswerStats, Needs
from unbelief.objectives import (
    BSS,
    BST,
    GA,
    KL,
    NLL,
    NPO,
    RMU,
    TNPO,
    WGA,
    WTNPO,
    HiddenMatch,
    SimNPO,
    Term,
)

LN2 = math.log(2)


def answers(
    *probabilities: float, ref: tuple[float, ...] | None = None, segment: list[int] | None = None
) -> AnswerStats:
    """Statistics of tokens with these probabilities; one answer unless `segment` says more."""
    p = torch.tensor(probabilities, dtype=torch.float64)
    which = segment or [0] * len(p)
    return AnswerStats(
        logp=p.log().requires_grad_(True),
        segment=torch.tensor(which),
        weight=torch.ones_like(p),
        n_answers=which[-1] + 1,
        ref_logp=None if ref is None else torch.tensor(ref, dtype=torch.float64).log(),
    )


def values(term: Term, stats: AnswerStats) -> list[float]:
    return term.values(stats).tolist()


def slope(term: Term, stats: AnswerStats) -> list[float]:
    """d Σ values / d log p of every token."""
    return torch.autograd.grad(term.values(stats).sum(), stats.logp)[0].tolist()


def logit_gradient(term: Term, z: Tensor, stats: AnswerStats) -> Tensor:
    return torch.autograd.grad(term.values(stats).sum(), z)[0]


# Gradient ascent and its weighted forms


def test_ga_is_the_log_likelihood() -> None:
    stats = answers(0.5, 0.25)
    assert values(GA(), stats) == pytest.approx([-LN2, -2 * LN2])
    assert slope(GA(), stats) == [1, 1]


def test_ga_pulls_the_target_down_and_all_else_up() -> None:
    # dL/dz = e_y - π: y is token 1.
    z, stats = stats_of_probabilities([[0.5, 0.25, 0.25]], [1])
    assert logit_gradient(GA(), z, stats)[0].tolist() == pytest.approx([-0.5, 0.75, -0.25])


def test_wga_weights_by_confidence() -> None:
    # p^α log p: 0.5 · ln 0.5 = -0.5 ln 2 and 0.25 · ln 0.25 = -0.5 ln 2.
    stats = answers(0.5, 0.25)
    assert values(WGA(alpha=1), stats) == pytest.approx([-0.5 * LN2, -0.5 * LN2])
    # α = 2: 0.25 · -ln 2 and 0.0625 · -2 ln 2.
    assert values(WGA(alpha=2), stats) == pytest.approx([-0.25 * LN2, -0.125 * LN2])
    assert values(WGA(alpha=0), stats) == values(GA(), stats)
    assert slope(WGA(alpha=2), stats) == pytest.approx([0.25, 0.0625])  # the weight has no gradient


def test_wga_with_alpha_one_has_the_gradient_of_the_mean_probability() -> None:
    z, stats = stats_of_probabilities([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]], [1, 2])
    got = torch.autograd.grad(WGA(alpha=1).values(stats).mean(), z, retain_graph=True)[0]
    want = torch.autograd.grad(stats.logp.exp().mean(), z)[0]
    torch.testing.assert_close(got, want)


# NPO and its relatives


def test_npo_on_summed_log_probabilities() -> None:
    # π(y) = 0.5 · 0.25 = 1/8, π_o(y) = 1/16, ratio 2.
    stats = answers(0.5, 0.25, ref=(0.25, 0.25))
    assert values(NPO(beta=1), stats) == pytest.approx([2 * math.log(3)])
    assert values(NPO(beta=0.5), stats) == pytest.approx([4 * math.log(1 + math.sqrt(2))])
    # Slope 2 r^β / (1 + r^β), the same for every token of the answer: 4/3 at r = 2, β = 1.
    assert slope(NPO(beta=1), stats) == pytest.approx([4 / 3, 4 / 3])


def test_npo_at_the_reference_is_two_over_beta_ln_two_with_the_gradient_of_ga() -> None:
    probabilities = (0.5, 0.25, 0.9)
    stats = answers(*probabilities, ref=probabilities, segment=[0, 0, 1])
    assert values(NPO(), stats) == pytest.approx([20 * LN2, 20 * LN2])
    assert slope(NPO(), stats) == pytest.approx(slope(GA(), stats))


def test_npo_of_long_answers_never_overflows() -> None:
    # Log-ratios of ±600: (2/β) softplus(β · ±600) is 1200 and 0 at β = 1.
    one = torch.full((100,), -6.0, dtype=torch.float64, requires_grad=True)
    stats = replace(answers(*[0.5] * 100), logp=one, ref_logp=one.detach() - 6)
    assert values(NPO(beta=1), stats) == pytest.approx([1200])
    other = replace(stats, ref_logp=one.detach() + 6)
    assert values(NPO(beta=1), other) == pytest.approx([0])
    assert slope(NPO(beta=1), other) == pytest.approx([0] * 100)


def test_simnpo_uses_the_mean_and_no_reference() -> None:
    # mean log p = ln(1/8) / 2; β = 2: softplus(2 · mean) = ln(1 + 1/8).
    stats = answers(0.5, 0.25)
    assert values(SimNPO(beta=2), stats) == pytest.approx([math.log(9 / 8)])
    # The margin stands outside β: ln(1 + e^δ / 8) with e^δ = 2.
    assert values(SimNPO(beta=2, margin=LN2), stats) == pytest.approx([math.log(5 / 4)])
    twice = answers(0.5, 0.25, 0.5, 0.25)
    assert values(SimNPO(beta=2), twice) == pytest.approx([math.log(9 / 8)])
    # Slope σ(2 · mean) · 2 / |y| per token: σ(ln 1/8) = 1/9, times 2 (of 2/β · β), halved.
    assert slope(SimNPO(beta=2), stats) == pytest.approx([1 / 9, 1 / 9])


def test_simnpo_of_an_answer_without_weight_has_no_gradient() -> None:
    stats = answers(0.5, 0.25)
    empty = stats.with_weight(torch.zeros(2, dtype=torch.float64))
    assert slope(SimNPO(), empty) == [0, 0]


def test_tnpo_weights_every_token() -> None:
    # β = 1: w = 2 · 0.5 / (0.5 + 0.25) = 4/3 and 2 · 0.2 / (0.2 + 0.6) = 1/2.
    stats = answers(0.5, 0.2, ref=(0.25, 0.6))
    assert values(TNPO(beta=1), stats) == pytest.approx([4 / 3 * -LN2, 0.5 * math.log(0.2)])
    assert slope(TNPO(beta=1), stats) == pytest.approx([4 / 3, 0.5])


def test_tnpo_at_the_reference_weighs_improbable_tokens_in_full() -> None:
    # With 1e-5 in the denominator the token of probability 0.02 would weigh 0.03.
    probabilities = (0.9, 0.05, 0.02, 1e-6)
    assert slope(TNPO(), answers(*probabilities, ref=probabilities)) == pytest.approx([1] * 4)


def test_wtnpo_is_tnpo_times_confidence() -> None:
    # β = 1, α = 1: 4/3 · 0.5 and 1/2 · 0.2.
    stats = answers(0.5, 0.2, ref=(0.25, 0.6))
    assert slope(WTNPO(beta=1, alpha=1), stats) == pytest.approx([2 / 3, 0.1])
    assert values(WTNPO(beta=3, alpha=0), stats) == pytest.approx(values(TNPO(beta=3), stats))


# Hidden states


def hidden(*rows: list[float], ref: list[list[float]] | None = None) -> AnswerStats:
    h = torch.tensor(rows, requires_grad=True)
    nothing = torch.full((len(h),), float("nan"))
    return AnswerStats(
        nothing,
        torch.zeros(len(h), dtype=torch.long),
        torch.ones(len(h)),
        1,
        hidden=h,
        ref_hidden=None if ref is None else torch.tensor(ref),
    )


def test_rmu_is_the_mean_squared_distance_to_a_fixed_direction() -> None:
    u = RMU(steering=2.0).direction(2).tolist()
    stats = hidden([u[0] + 1, u[1] + 2], u)
    # (1² + 2²) / 2 = 2.5, and 0 on the spot.
    assert values(RMU(), stats) == pytest.approx([2.5, 0], abs=1e-6)
    gradient = torch.autograd.grad(RMU().values(stats).sum(), stats.hidden)[0]
    assert gradient[0].tolist() == pytest.approx([1, 2])  # 2 (h - c u) / d


def test_rmu_directions_are_seeded_and_have_the_length_of_the_steering() -> None:
    direction = RMU(steering=6.5).direction(512)
    assert direction.norm().item() == pytest.approx(6.5)
    assert (direction >= 0).all()
    assert torch.equal(direction, RMU(steering=6.5).direction(512))
    assert not torch.equal(direction, RMU(steering=6.5, direction_seed=1).direction(512))
    assert RMU(layer=3).needs == Needs(hidden_layer=3)


def test_hidden_match_is_the_mean_squared_difference() -> None:
    # ((3 - 1)² + (4 - 1)²) / 2 = 6.5.
    stats = hidden([3.0, 4.0], [1.0, 1.0], ref=[[1.0, 1.0], [1.0, 1.0]])
    assert values(HiddenMatch(), stats) == [6.5, 0]
    gradient = torch.autograd.grad(HiddenMatch().values(stats).sum(), stats.hidden)[0]
    assert gradient.tolist() == [[2, 3], [0, 0]]


# Retain terms


def test_nll_is_minus_ga() -> None:
    stats = answers(0.5, 0.25)
    assert values(NLL(), stats) == pytest.approx([LN2, 2 * LN2])
    assert slope(NLL(), stats) == [-1, -1]


@pytest.mark.parametrize(
    ("direction", "value", "gradient"),
    [
        # ½ ln(½ / ¾) + ½ ln(½ / ¼) = ½ ln(4/3); π - π_o.
        ("forward", 0.5 * math.log(4 / 3), 0.25),
        # ¾ ln(3/2) + ¼ ln(1/2) = ¾ ln 3 - ln 2; π (ln π/π_o - KL) = ¾ (ln 3/2 - KL).
        ("reverse", 0.75 * math.log(3) - LN2, 0.75 * (LN2 + math.log(1.5) - 0.75 * math.log(3))),
    ],
)
def test_kl_directions(direction: Any, value: float, gradient: float) -> None:
    term = KL(direction=direction)
    z, stats = stats_of_probabilities([[0.75, 0.25]], [1], term.needs, reference=[[0.5, 0.5]])
    assert values(term, stats) == pytest.approx([value])
    assert logit_gradient(term, z, stats)[0].tolist() == pytest.approx([gradient, -gradient])


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_kl_at_the_original_is_zero_with_zero_gradient(direction: Any) -> None:
    term, p = KL(direction=direction), [[0.5, 0.3, 0.2]]
    z, stats = stats_of_probabilities(p, [1], term.needs, reference=p)
    assert values(term, stats) == pytest.approx([0], abs=1e-15)
    assert logit_gradient(term, z, stats).abs().max() < 1e-15


# Sequence beliefs


@pytest.mark.parametrize("inner", [GA(), NPO(), WGA(), BST()])
def test_bss_has_its_inner_terms_values_needs_and_level(inner: Any) -> None:
    outer, stats = BSS(inner=inner), random_toy().stats(inner.needs)
    assert torch.equal(outer.values(stats), inner.values(stats))
    assert outer.needs == inner.needs
    assert outer.level == inner.level
    assert outer.diagnostics(stats).keys() == inner.diagnostics(stats).keys()


def test_bss_defaults_are_the_authors_configuration() -> None:
    assert (BSS().weight, BSS().samples, BSS().inner) == (0.5, 3, BST(weight=0.2, top_k=20))


# What cannot be


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NPO(beta=0), "beta must be positive, not 0"),
        (lambda: NPO(beta=float("nan")), "beta must be positive, not nan"),
        (lambda: SimNPO(beta=-1), "beta must be positive"),
        (lambda: TNPO(beta=0), "beta must be positive"),
        (lambda: WTNPO(beta=float("inf")), "beta must be positive"),
        (lambda: WTNPO(alpha=-1), "alpha must not be negative"),
        (lambda: WGA(alpha=-0.1), "alpha must not be negative"),
        (lambda: KL(direction="both"), "direction is forward or reverse"),
        (lambda: BST(weight=1.1), r"weight must lie in \[0, 1\]"),
        (lambda: BST(top_k=0), "top_k must be at least 1"),
        (lambda: BST(belief_temperature=0), "belief_temperature must be positive"),
        (lambda: BST(beliefs_from="me"), "beliefs_from is policy, reference or average"),
        (lambda: BST(beliefs_from="reference", detach=False), "have no gradient"),
        (lambda: BST(beliefs_from="average", detach=False), "have no gradient"),
        (lambda: BST(average_decay=1.5), "average_decay must lie in"),
        (lambda: BSS(weight=-0.1), r"weight must lie in \[0, 1\]"),
        (lambda: BSS(samples=0), "samples must be at least 1"),
        (lambda: BSS(inner=BSS()), "around bs-s has no meaning"),
        (lambda: BSS(policy="sometimes"), "policy is off-policy or on-policy"),
        (lambda: BSS(refresh_epochs=0), "refresh_epochs must be positive"),
        (lambda: BSS(sampling_temperature=0), "sampling_temperature must be positive"),
        (lambda: BSS(sampling_top_k=-1), "sampling_top_k must not be negative"),
        (lambda: BSS(max_new_tokens=0), "max_new_tokens must be at least 1"),
    ],
)
def test_values_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_bss_around_something_else_than_a_forget_term_is_refused() -> None:
    with pytest.raises(TypeError, match="inner is a forget term"):
        BSS(inner=NLL())
