from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import chisquare, kstest

from unbelief.beliefs.choose import _mix, choose, exponential, race, truncate
from unbelief.beliefs.decoding import Decoding


def keys(n: int, seed: int = 0) -> torch.Tensor:
    return torch.tensor([Decoding(seed=seed).row_key(str(i), 0) for i in range(n)])


def test_the_hash_is_splitmix64() -> None:
    # The published generator started at 0 gives 0xE220A8397B1DCDAF first: mix(0 + gamma).
    gamma = 0x9E3779B97F4A7C15 - (1 << 64)
    assert _mix(torch.tensor([gamma])).item() == 0xE220A8397B1DCDAF - (1 << 64)


def test_the_noise_is_exponential_within_rows_and_across_rows_and_steps() -> None:
    k = keys(2000)
    assert kstest(exponential(k[:1], 0, 2000)[0].numpy(), "expon").pvalue > 0.01
    assert kstest(exponential(k, 3, 5)[:, 4].numpy(), "expon").pvalue > 0.01
    steps = torch.stack([exponential(k[:1], step, 1)[0, 0] for step in range(1000)])
    assert kstest(steps.numpy(), "expon").pvalue > 0.01
    assert (exponential(k, 1, 50) > 0).all()


def test_draws_follow_the_softmax() -> None:
    probabilities = torch.tensor([0.5, 0.25, 0.125, 0.1, 0.025])
    n = 20_000
    drawn = race(probabilities.expand(n, 5), keys(n), 0)
    assert chisquare(drawn.bincount(minlength=5), probabilities * n).pvalue > 0.01


@pytest.mark.parametrize("vocabulary", [1, 2, 9, 10, 120])
def test_both_heats_cover_the_vocabulary(vocabulary: int) -> None:
    # 120 tokens run in blocks of 11 (11² = 121, one place empty), 10 in blocks of 4, 9 of 3.
    n = 20_000
    p = torch.linspace(1, 3, vocabulary) / torch.linspace(1, 3, vocabulary).sum()
    drawn = race(p.expand(n, vocabulary), keys(n), 1).bincount(minlength=vocabulary)
    assert len(drawn) == vocabulary
    if vocabulary > 1:
        assert chisquare(drawn, p.double() * n, sum_check=False).pvalue > 0.01


def test_successive_tokens_are_independent() -> None:
    # 3 x 3 table of the first and second token of each row: uniform, 1/9 each.
    n = 18_000
    p, k = torch.full((n, 3), 1 / 3), keys(n)
    pairs = race(p.clone(), k, 0) * 3 + race(p.clone(), k, 1)
    assert chisquare(pairs.bincount(minlength=9)).pvalue > 0.01


def test_temperature_sharpens_the_distribution() -> None:
    # p = (0.8, 0.2) at T = 0.5: p² normalised = (0.64, 0.04) / 0.68 = (0.941, 0.059).
    n = 20_000
    logits = torch.tensor([0.8, 0.2]).log().expand(n, 2)
    token, log_prob = choose(logits, keys(n), 0, Decoding(temperature=0.5))
    assert chisquare(token.bincount(minlength=2), [n * 0.64 / 0.68, n * 0.04 / 0.68]).pvalue > 0.01
    # The log-probability stays that of the model at temperature 1.
    assert log_prob[token == 1][0].item() == pytest.approx(math.log(0.2), abs=1e-6)


def test_a_row_draws_the_same_in_any_company() -> None:
    torch.manual_seed(0)
    p, k = torch.randn(300, 1000).softmax(-1), keys(300)
    together = race(p, k, 5)
    alone = torch.cat([race(p[i : i + 1], k[i : i + 1], 5) for i in range(300)])
    assert torch.equal(together, alone)


def test_top_k_keeps_the_k_best_and_ties_with_the_last() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0, 1.0, 0.0]])
    assert truncate(logits, 2, 1.0).isfinite().tolist() == [[True, False, True, False, False]]
    assert truncate(logits, 3, 1.0).isfinite().tolist() == [[True, True, True, True, False]]
    assert torch.equal(truncate(logits, 50, 1.0), logits)


def test_top_p_keeps_the_smallest_set_with_that_mass() -> None:
    logits = torch.tensor([[0.1, 0.5, 0.15, 0.25]]).log()
    # Descending: 0.5, 0.25, 0.15, 0.1. Mass 0.7 needs the first two (0.75).
    assert truncate(logits, 0, 0.7).isfinite().tolist() == [[False, True, False, True]]
    assert truncate(logits, 0, 0.01).isfinite().tolist() == [[False, True, False, False]]
    # top_k = 2 first: of 0.5 and 0.25, renormalised to 2/3 and 1/3, the mass 0.6 needs one.
    assert truncate(logits, 2, 0.6).isfinite().tolist() == [[False, True, False, False]]


def test_a_token_that_is_cut_off_is_never_drawn() -> None:
    n = 2000
    token, _ = choose(torch.zeros(n, 8), keys(n), 0, Decoding(top_k=8, top_p=0.5))
    assert set(token.tolist()) == set(range(4))  # equal tokens: the first four hold half the mass


def test_greedy_takes_the_most_probable_token() -> None:
    token, log_prob = choose(
        torch.tensor([[0.0, math.log(3)]]), keys(1), 0, Decoding(temperature=0)
    )
    assert token.tolist() == [1]
    assert log_prob.item() == pytest.approx(math.log(0.75), abs=1e-6)  # 3 / (1 + 3)
