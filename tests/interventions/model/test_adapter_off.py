from __future__ import annotations

import pytest
import torch

from tests.helpers import tiny_model
from tests.interventions.made import context, logp, lora_model, plain_model
from unbelief.errors import RequestError
from unbelief.interventions.model.adapter_off import AdapterOff
from unbelief.models.runner import AnswerModel


def test_what_is_left_is_the_base_model() -> None:
    model = lora_model()
    base = logp(AnswerModel(tiny_model("llama")))
    with AdapterOff().applied(model, context()) as attacked:
        torch.testing.assert_close(logp(attacked), base)
    assert (logp(model) - base).abs().max() > 0.01


def test_frozen_adapters_stay_frozen() -> None:
    model = lora_model()
    with AdapterOff().applied(model, context()):
        pass
    assert not any(p.requires_grad for p in model.model.parameters())


def test_a_model_without_adapter_is_refused() -> None:
    with (
        pytest.raises(RequestError, match="no adapter"),
        AdapterOff().applied(plain_model(), context()),
    ):
        pass
