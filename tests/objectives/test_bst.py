"""BS-T: its gradient is t - π, and what follows from that."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tests.objectives.toy import Toy, random_toy, stats_of_probabilities
from torch import Tensor

from unbelief.objectives import BST, GA, Term

PI = [0.5, 0.25, 0.125, 0.125]
TARGET = 1
LN2 = math.log(2)


def gradient(term: Term, pi: list[float] = PI, target: int = TARGET) -> list[float]:
    z, stats = stats_of_probabilities([pi], [target], term.needs)
    return torch.autograd.grad(term.values(stats).sum(), z)[0][0].tolist()


def random_gradient(term: Term, toy: Toy) -> Tensor:
    return torch.autograd.grad(term.values(toy.stats(term.needs)).sum(), toy.logits)[0]


def test_value_and_gradient_by_hand() -> None:
    # k = 2: the beliefs are tokens 0 and 1, q = (2/3, 1/3). λ = 0.4:
    # L = 0.6 ln ¼ + 0.4 (2/3 ln ½ + 1/3 ln ¼) = -(1.2 + 0.4 · 4/3) ln 2
    term = BST(weight=0.4, top_k=2)
    _, stats = stats_of_probabilities([PI], [TARGET], term.needs)
    assert term.values(stats).tolist() == pytest.approx([-(1.2 + 1.6 / 3) * LN2])
    # t = (0.4 · 2/3, 0.6 + 0.4 / 3, 0, 0), dL/dz = t - π
    t = [0.8 / 3, 0.6 + 0.4 / 3, 0, 0]
    assert gradient(term) == pytest.approx([a - b for a, b in zip(t, PI, strict=True)])


@pytest.mark.parametrize("weight", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("top_k", [1, 5, 30])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_gradient_is_soft_target_minus_policy(
    weight: float, top_k: int, temperature: float
) -> None:
    toy = random_toy()
    term = BST(weight=weight, top_k=top_k, belief_temperature=temperature)
    pi = toy.logits.detach().softmax(-1)
    t = torch.zeros_like(pi)
    for i, y in enumerate(toy.target.tolist()):
        top = pi[i].argsort(descending=True)[:top_k]
        q = pi[i, top] ** (1 / temperature)
        t[i, top] += weight * q / q.sum()
        t[i, y] += 1 - weight
    got = random_gradient(term, toy)
    torch.testing.assert_close(got, t - pi)
    assert got.sum(dim=1).abs().max() < 1e-12


def test_without_weight_it_is_ga() -> None:
    toy = random_toy()
    torch.testing.assert_close(random_gradient(BST(weight=0), toy), random_gradient(GA(), toy))


def test_with_the_whole_vocabulary_it_is_ga_times_one_minus_lambda() -> None:
    toy = random_toy()
    whole = random_gradient(BST(weight=0.2, top_k=30), toy)
    torch.testing.assert_close(whole, 0.8 * random_gradient(GA(), toy))
    beyond = random_gradient(BST(weight=0.2, top_k=1000), toy)  # k > V is V
    torch.testing.assert_close(beyond, whole)


def test_with_one_belief_that_is_the_target_it_is_ga() -> None:
    assert gradient(BST(weight=0.3, top_k=1), target=0) == pytest.approx(gradient(GA(), target=0))


def test_a_belief_still_rises_where_lambda_is_below_the_mass() -> None:
    # Descent on z_0 moves it by π_0 - λ π_0 / S_k: up while λ < S_k = 0.75.
    assert gradient(BST(weight=0.7, top_k=2))[0] < 0 < gradient(BST(weight=0.8, top_k=2))[0]


def test_temperature_reshapes_the_beliefs() -> None:
    # τ = ½: q ∝ π² = (¼, 1/16) -> (0.8, 0.2). λ = 1 leaves q - π.
    got = gradient(BST(weight=1, top_k=2, belief_temperature=0.5))
    assert got == pytest.approx([0.3, -0.05, -0.125, -0.125])


def test_frozen_beliefs_are_the_originals() -> None:
    # The original's top 2 are tokens 3 and 2, q = (0.6, 0.4); λ = 1: q - π.
    term = BST(weight=1, top_k=2, beliefs_from="reference")
    z, stats = stats_of_probabilities(
        [PI], [TARGET], term.needs, reference=[[0.05, 0.15, 0.32, 0.48]]
    )
    got = torch.autograd.grad(term.values(stats).sum(), z)[0][0].tolist()
    assert got == pytest.approx([-0.5, -0.25, 0.4 - 0.125, 0.6 - 0.125])
    # Their mass is the original's too: 0.32 + 0.48.
    assert term.diagnostics(stats)["belief_mass"].tolist() == pytest.approx([0.8])


def test_gradients_through_all_beliefs_maximise_entropy() -> None:
    # dL/dz = π_v (ln π_v + H) with H = 1.75 ln 2: ½ (-1 + 1.75), ¼ (-2 + 1.75), ⅛ (-3 + 1.75).
    got = gradient(BST(weight=1, top_k=4, detach=False))
    assert got == pytest.approx([0.375 * LN2, -0.0625 * LN2, -0.15625 * LN2, -0.15625 * LN2])


def test_gradients_through_some_beliefs_also_sum_to_zero() -> None:
    got = random_gradient(BST(weight=0.5, top_k=4, detach=False), random_toy())
    assert got.sum(dim=1).abs().max() < 1e-12


@pytest.mark.parametrize("weight", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("top_k", [1, 5, 20, 30])
def test_belief_ratio_is_the_ratio_of_the_two_parts(weight: float, top_k: int) -> None:
    toy = random_toy()
    term = BST(weight=weight, top_k=top_k)
    belief = random_gradient(BST(weight=1, top_k=top_k), toy)  # q - π
    target = random_gradient(GA(), toy)  # e_y - π
    want = weight * belief.norm(dim=1) / ((1 - weight) * target.norm(dim=1))
    got = term.diagnostics(toy.stats(term.needs))
    torch.testing.assert_close(got["belief_ratio"], want, atol=1e-7, rtol=1e-6)
    mass = toy.logits.softmax(-1).topk(top_k).values.sum(1)
    torch.testing.assert_close(got["belief_mass"], mass.detach())


def test_the_belief_term_fades_as_the_top_k_hold_the_mass() -> None:
    # 50 tokens: 0.30, 4 x 0.1025, 15 x 0.275/15, 30 x 0.0005, so S_1 = 0.30, S_5 = 0.71,
    # S_20 = 0.985; y is the second. ‖e_y - π‖² = 0.09 + 0.8975² + 3 · 0.1025² + 0.0050 = 0.932.
    #   k = 1:  ‖q - π‖² = 0.7² + 4 · 0.1025² + 0.0050 = 0.537   -> ¼ · 0.733/0.965 = 19 %
    #   k = 20: inside (1/S - 1) π, outside -π: ‖q - π‖ = 0.0063 -> ¼ · 0.0063/0.965 = 0.2 %
    pi = [0.30] + [0.1025] * 4 + [0.275 / 15] * 15 + [0.0005] * 30
    ratio, mass = {}, {}
    for k in (1, 5, 20):
        term = BST(weight=0.2, top_k=k)
        _, stats = stats_of_probabilities([pi], [1], term.needs)
        found = term.diagnostics(stats)
        ratio[k], mass[k] = found["belief_ratio"].item(), found["belief_mass"].item()
    assert mass == pytest.approx({1: 0.30, 5: 0.71, 20: 0.985})
    assert ratio[1] == pytest.approx(0.190, abs=1e-3)
    assert ratio[20] == pytest.approx(0.0016, abs=1e-4)
    assert ratio[1] > ratio[5] > ratio[20]


def test_belief_ratio_is_left_out_where_it_has_no_meaning() -> None:
    toy = random_toy()
    alone = BST(weight=1)
    assert alone.diagnostics(toy.stats(alone.needs)).keys() == {"belief_mass"}
    term = BST()
    without = replace(toy.stats(term.needs), square_mass=None)
    assert term.diagnostics(without).keys() == {"belief_mass"}
