from __future__ import annotations

import numpy as np
import pytest
import torch

from unbelief.patch.drift import cka_estimate, linear_cka


def made(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def test_a_rotated_moved_and_scaled_representation_is_the_same():
    x = made(40, 6)
    rotation = torch.linalg.qr(made(6, 6, seed=1)).Q
    assert linear_cka(x, 3.0 * x @ rotation + 5.0) == pytest.approx(1, abs=1e-6)
    assert linear_cka(x, x) == pytest.approx(1, abs=1e-12)


def test_by_hand():
    # Centred columns x1 = (1, -1, 0, 0), x2 = (0, 0, 1, -1), orthogonal, squares 2.
    # X = [x1 x2], Y = [x1]: |Y'X|^2 = 2^2 + 0 = 4; |X'X|_F = sqrt(4 + 4); |Y'Y|_F = 2.
    # CKA = 4 / (2 sqrt 2 * 2) = 1 / sqrt 2. X against a column orthogonal to both: 0.
    x1, x2 = torch.tensor([1.0, -1, 0, 0]), torch.tensor([0.0, 0, 1, -1])
    both = torch.stack([x1, x2], dim=1)
    assert linear_cka(both, x1[:, None]) == pytest.approx(0.5**0.5)
    assert linear_cka(x1[:, None], x2[:, None]) == pytest.approx(0)


def test_it_is_the_published_formula_where_tokens_outnumber_dimensions():
    x, y = made(30, 5), made(30, 4, seed=1)
    a, b = ((m - m.mean(0)).double() for m in (x, y))
    expected = (b.T @ a).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm())
    assert linear_cka(x, y) == pytest.approx(float(expected))


def test_states_that_do_not_vary_have_no_cka():
    assert linear_cka(torch.ones(5, 3), made(5, 3)) is None
    found = cka_estimate(torch.ones(5, 3), made(5, 3), np.arange(5))
    assert found.value is None and found.reasons == {"hidden states do not vary": 1}


def test_the_interval_holds_the_value_of_equal_states_and_counts_records():
    x = made(60, 4)
    owner = np.repeat(np.arange(6), 10)
    same = cka_estimate(x, x, owner)
    assert (same.value, same.n) == (pytest.approx(1), 6)
    assert same.low == pytest.approx(1) and same.high == pytest.approx(1)
    other = cka_estimate(x, x + made(60, 4, seed=2), owner)
    assert other.low < other.value < other.high < 1
