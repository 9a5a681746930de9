"""Terms that see alternatives: PO, DPO and FLAT, by hand and from their definitions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from tests.objectives.contract import toy_of

from unbelief.models.stats import AnswerStats
from unbelief.objectives import BSS, DPO, FLAT, NPO, PO, Term
from unbelief.objectives.forget.flat import FORMS, Divergence

LN2 = math.log(2)


def pair(
    target: list[float], alternative: list[float], ref: list[float] | None = None
) -> AnswerStats:
    """One answer and its alternative with these token probabilities."""
    p = torch.tensor(target + alternative, dtype=torch.float64)
    own = [False] * len(target) + [True] * len(alternative)
    return AnswerStats(
        logp=p.log().requires_grad_(True),
        segment=torch.zeros(len(p), dtype=torch.long),
        weight=torch.ones_like(p),
        n_answers=1,
        ref_logp=None if ref is None else torch.tensor(ref, dtype=torch.float64).log(),
        alternative=torch.tensor(own),
    )


def slope(term: Term, stats: AnswerStats) -> list[float]:
    return torch.autograd.grad(term.values(stats).sum(), stats.logp)[0].tolist()


def test_po_is_the_likelihood_of_the_alternative() -> None:
    stats = pair([], [0.5, 0.25])
    assert PO().values(stats).tolist() == pytest.approx([LN2, 2 * LN2])
    assert slope(PO(), stats) == [-1, -1]


def test_dpo_by_hand() -> None:
    # The alternative has doubled (½ · ½ of ½ · ¼), the answer halved (¼ of ½): the margin is ln 4.
    stats = pair([0.25], [0.5, 0.5], ref=[0.5, 0.5, 0.25])
    # β = 1: 2 ln(1 + ¼); slope -2 σ(-ln 4) = -2/5 per token of the alternative.
    assert DPO(beta=1).values(stats).tolist() == pytest.approx([2 * math.log(1.25)])
    assert slope(DPO(beta=1), stats) == pytest.approx([0.4, -0.4, -0.4])
    assert DPO().diagnostics(stats)["preference_margin"].tolist() == pytest.approx([2 * LN2])


def test_dpo_at_the_original_is_two_over_beta_ln_two_with_unit_slopes() -> None:
    probabilities = [0.5, 0.25, 0.9]
    stats = pair(probabilities[:1], probabilities[1:], ref=probabilities)
    assert DPO().values(stats).tolist() == pytest.approx([20 * LN2])
    assert slope(DPO(), stats) == pytest.approx([1, -1, -1])


def test_dpo_without_an_alternative_is_npo() -> None:
    stats = pair([0.5, 0.25], [], ref=[0.25, 0.25])
    torch.testing.assert_close(DPO(beta=0.5).values(stats), NPO(beta=0.5).values(stats))


# FLAT

GENERATORS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "total-variation": lambda u: (u - 1).abs() / 2,
    "kl": lambda u: u * u.log(),
    "reverse-kl": lambda u: -u.log(),
    "jeffrey": lambda u: (u - 1) * u.log(),
    "squared-hellinger": lambda u: (u.sqrt() - 1).square(),
    "pearson": lambda u: (u - 1).square(),
    "neyman": lambda u: (1 - u).square() / u,
    "jensen-shannon": lambda u: u * u.log() - (u + 1) * ((u + 1) / 2).log(),
}


@pytest.mark.parametrize("name", get_args(Divergence))
def test_the_conjugates_are_suprema(name: str) -> None:
    """f*(g(v)) = sup_u (u g(v) - f(u)), found on a fine grid; f(1) = 0."""
    g, conjugate = FORMS[name]
    v = torch.linspace(0, 1, 11, dtype=torch.float64)
    u = torch.logspace(-3, 2, 200_001, dtype=torch.float64)
    found = torch.stack([(u * t - GENERATORS[name](u)).max() for t in g(v)])
    torch.testing.assert_close(conjugate(v), found, atol=1e-6, rtol=0)
    assert GENERATORS[name](torch.ones(1)).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", get_args(Divergence))
def test_slopes_of_the_conjugates_are_their_finite_differences(name: str) -> None:
    _, conjugate = FORMS[name]
    v = torch.tensor([0.05, 0.4, 0.95], dtype=torch.float64, requires_grad=True)
    (got,) = torch.autograd.grad(conjugate(v).sum(), v)
    step = 1e-6
    want = (conjugate(v.detach() + step) - conjugate(v.detach() - step)) / (2 * step)
    torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-6)


def test_flat_by_hand() -> None:
    # P_y = (½ + ¼) / 2 = 3/8 and P_alt = ½.
    stats = pair([0.5, 0.25], [0.5])
    expected = {
        "total-variation": (math.tanh(0.375) - math.tanh(0.5)) / 2,
        "kl": math.exp(-0.625) - 0.5,
        "pearson": 0.375**2 / 4 + 0.375 - 0.5,
        "jensen-shannon": math.log(1 + math.exp(-0.5))
        + 0.375
        + math.log(1 + math.exp(-0.375))
        - 2 * LN2,
    }
    for name, value in expected.items():
        assert FLAT(divergence=name).values(stats).tolist() == pytest.approx([value])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", get_args(Divergence))
def test_flat_raises_the_alternative_and_lowers_the_answer(name: Divergence) -> None:
    first, second, third = slope(FLAT(divergence=name), pair([0.5, 0.25], [0.5]))
    assert first > second > 0 > third  # p falls by p (1 - p): likelier tokens move more


def test_flat_of_an_answer_without_an_alternative_is_finite() -> None:
    assert FLAT().values(toy_of(FLAT()).stats(FLAT().needs, [1])).isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PO(samples=0), "samples must be at least 1"),
        (lambda: PO(alternatives="both"), "alternatives is refusals or model"),  # type: ignore[arg-type]
        (lambda: DPO(beta=0), "beta must be positive"),
        (lambda: DPO(sampling_temperature=0), "sampling_temperature must be positive"),
        (lambda: FLAT(max_new_tokens=0), "max_new_tokens must be at least 1"),
        (lambda: FLAT(divergence="tv"), "divergence is one of total-variation, kl"),  # type: ignore[arg-type]
        (lambda: BSS(inner=DPO()), "bs-s around dpo has no meaning"),
    ],
)
def test_values_out_of_range_are_refused(make: Callable[[], Term], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
