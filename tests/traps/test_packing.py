"""Trap: several sequences in one row, told apart by `position_ids`, see each other unless the cache
is off AND there is no attention mask. Nothing warns. The same text then has another probability."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel

FIRST = torch.tensor([7, 8, 9, 10, 11])
SECOND = torch.tensor([20, 21, 22, 23])
PACKED = torch.cat([FIRST, SECOND])[None]
POSITIONS = torch.cat([torch.arange(5), torch.arange(4)])[None]


@pytest.fixture(scope="module")
def apart(llama: PreTrainedModel) -> torch.Tensor:
    """Logits of the second sequence on its own."""
    return llama(SECOND[None]).logits[0]


def test_isolated_without_cache_and_without_mask(
    llama: PreTrainedModel, apart: torch.Tensor
) -> None:
    packed = llama(PACKED, position_ids=POSITIONS, use_cache=False).logits[0, 5:]
    torch.testing.assert_close(packed, apart, rtol=1e-5, atol=1e-5)


def test_leaks_with_the_default_cache(llama: PreTrainedModel, apart: torch.Tensor) -> None:
    packed = llama(PACKED, position_ids=POSITIONS).logits[0, 5:]
    assert (packed - apart).abs().max() > 0.05


def test_leaks_with_a_mask_of_ones(llama: PreTrainedModel, apart: torch.Tensor) -> None:
    mask = torch.ones_like(PACKED)
    packed = llama(PACKED, position_ids=POSITIONS, attention_mask=mask, use_cache=False)
    assert (packed.logits[0, 5:] - apart).abs().max() > 0.05


def test_rows_padded_on_the_right_need_no_mask_at_all(
    llama: PreTrainedModel, apart: torch.Tensor
) -> None:
    # What we do instead of packing: nothing after a token can change it in a causal model.
    rows = torch.stack([FIRST, torch.cat([SECOND, torch.tensor([0])])])
    torch.testing.assert_close(llama(rows).logits[1, :4], apart, rtol=1e-5, atol=1e-5)
