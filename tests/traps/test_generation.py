"""Traps: `generate` stops after 20 new tokens and samples from the 50 likeliest, unasked."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel

PROMPT = torch.tensor([[7, 8, 9, 10, 11]])


@pytest.fixture
def flat(llama: PreTrainedModel) -> PreTrainedModel:
    """A model that finds every token nearly equally likely and never stops."""
    model = type(llama)(llama.config).eval()
    torch.nn.init.normal_(model.lm_head.weight, std=1e-4)
    model.generation_config.eos_token_id = None
    return model


def test_default_length_is_twenty_new_tokens(flat: PreTrainedModel) -> None:
    with pytest.warns(UserWarning, match="model-agnostic default"):
        out = flat.generate(PROMPT, do_sample=False)
    assert out.shape[1] == 5 + 20
    assert flat.generate(PROMPT, do_sample=False, max_new_tokens=30).shape[1] == 5 + 30


def test_sampling_is_cut_to_fifty_tokens_unless_told_otherwise(flat: PreTrainedModel) -> None:
    # 120 equally likely tokens, 4000 draws: each is drawn about 33 times, so all are seen.
    torch.manual_seed(0)
    rows = PROMPT.repeat(200, 1)
    cut = flat.generate(rows, do_sample=True, max_new_tokens=20)[:, 5:]
    whole = flat.generate(rows, do_sample=True, max_new_tokens=20, top_k=0)[:, 5:]
    assert len(cut[:, 0].unique()) <= 50
    assert len(whole.unique()) == 120


def test_unknown_options_are_refused_by_generate(flat: PreTrainedModel) -> None:
    with pytest.raises(ValueError, match="not used by the model"):
        flat.generate(PROMPT, max_new_token=3)  # misspelt
