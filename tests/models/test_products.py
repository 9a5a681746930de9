"""The output embedding's products are the same whichever library multiplies."""

from __future__ import annotations

import pytest
import torch

from unbelief.models import products
from unbelief.models.products import logits_into, times


def some(rows: int, columns: int) -> torch.Tensor:
    torch.manual_seed(rows + columns)
    return torch.randn(rows, columns)


# 2,500 columns: two whole blocks of 1,024 and a rest.
@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("rows", [1, 16, 40])
def test_products_are_those_of_fp64(
    enabled: bool, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "_LARGE", 2000)
    if not enabled:
        monkeypatch.setattr(products, "_has_onednn", lambda *tensors: False)
    hidden, weight, dz = some(rows, 24), some(2500, 24), some(rows, 2500)
    out = torch.full((rows, 2500), float("nan"))
    logits_into(out, hidden, weight)
    grad = times(dz, weight)
    truth = hidden.double() @ weight.double().t()
    torch.testing.assert_close(out.double(), truth, atol=1e-5, rtol=1e-5)
    expected = dz.double() @ weight.double()
    # 2,500 terms of size 1: rounding errors of about √2500 · 6e-8 · some.
    torch.testing.assert_close(grad.double(), expected, atol=1e-4, rtol=1e-5)


def test_by_hand() -> None:
    # (1, 2) · (3, 4) = 11 and (1, 2) · (5, 6) = 17; 1·(3, 4) + 10·(5, 6) = (53, 64).
    hidden, weight = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [5.0, 6.0]])
    out = torch.empty(1, 2)
    logits_into(out, hidden, weight)
    assert out.tolist() == [[11.0, 17.0]]
    assert times(torch.tensor([[1.0, 10.0]]), weight).tolist() == [[53.0, 64.0]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes_are_left_to_pytorch(dtype: torch.dtype) -> None:
    hidden, weight, dz = (t.to(dtype) for t in (some(3, 8), some(50, 8), some(3, 50)))
    out = torch.empty(3, 50, dtype=dtype)
    logits_into(out, hidden, weight)
    assert torch.equal(out, hidden @ weight.t())
    assert torch.equal(times(dz, weight), dz @ weight)


def test_small_vocabularies_stay_with_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(products, "_has_onednn", lambda *tensors: bool(asked.append(1)))
    logits_into(torch.empty(3, 50), some(3, 8), some(50, 8))
    times(some(3, 50), some(50, 8))
    assert not asked


def test_no_rows_at_all() -> None:
    out = torch.empty(0, 50)
    logits_into(out, torch.empty(0, 8), some(50, 8))
    assert times(torch.empty(0, 50), some(50, 8)).shape == (0, 8)


def test_views_of_a_larger_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_LARGE", 1)
    weight, buffer = some(300, 16)[::2], torch.zeros(9, 150)
    logits_into(buffer[2:5], some(3, 16), weight)
    torch.testing.assert_close(buffer[2:5], some(3, 16) @ weight.t())
    assert not buffer[:2].any() and not buffer[5:].any()
