"""Trap: decoder layers hand hooks a tensor; a hook written for tuples takes the first batch row."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.helpers import tiny_model


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2", "mistral", "phi", "granite"])
def test_a_decoder_layer_returns_a_tensor(family: str) -> None:
    seen: list[Any] = []
    model = tiny_model(family)
    model.model.layers[1].register_forward_hook(lambda module, inputs, out: seen.append(out))
    model(torch.arange(7, 13).reshape(2, 3))
    assert isinstance(seen[0], torch.Tensor)
    # `output[0]`, right for tuples, is silently the first row alone.
    assert seen[0].shape == (2, 3, 32)
    assert seen[0][0].shape == (3, 32)
