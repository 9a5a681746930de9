"""Which weights are rounded, and how."""

from __future__ import annotations

import pytest
import torch

from tests.helpers import tiny_model
from tests.interventions.made import context, logp, lora_model, plain_model
from unbelief.errors import RequestError
from unbelief.interventions.linear import linear_weights
from unbelief.interventions.model.quantise import Quantise
from unbelief.interventions.rounding import round_blocks, round_nf4, round_rows
from unbelief.models.runner import AnswerModel


def weights(model: AnswerModel) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.inner.named_parameters()}


def rounded(model: AnswerModel, **options) -> tuple[dict[str, torch.Tensor], set[str]]:
    """Weights under the attack, and the names of those that changed."""
    before = weights(model)
    with Quantise(**options).applied(model, context()) as attacked:
        after = weights(attacked)
    return after, {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"bits": 8}, lambda w: round_rows(w, 8)),
        ({"levels": "integer"}, lambda w: round_blocks(w, 4, 32)),
        ({"bits": 3}, lambda w: round_blocks(w, 3, 32)),
        ({}, lambda w: round_nf4(w, 32)),
        ({"levels": "normal"}, lambda w: round_nf4(w, 32)),
    ],
)
def test_linear_weights_are_rounded(options, expected) -> None:
    model = plain_model()
    before = weights(model)
    after, changed = rounded(model, block=32, **options)
    assert changed == {n for n in before if "proj" in n}
    for name in changed:
        assert torch.equal(after[name], expected(before[name]))


def test_conv1d_has_its_output_channels_in_columns() -> None:
    model = plain_model("gpt2")
    before = weights(model)
    after, changed = rounded(model, bits=8)
    assert changed and all("c_" in n and n.endswith("weight") for n in changed)
    for name in changed:
        assert torch.equal(after[name], round_rows(before[name].T, 8).T)


@pytest.mark.parametrize("family", ["llama", "llama-tied", "gpt2", "gemma2"])
def test_embeddings_are_rounded_on_request_and_once(family: str) -> None:
    model = AnswerModel(tiny_model(family))
    embeddings = {
        name
        for name, p in model.inner.named_parameters()
        for end in (model.inner.get_input_embeddings(), model.inner.get_output_embeddings())
        if p is end.weight
    }
    before = weights(model)
    _, without = rounded(model, bits=8)
    after, changed = rounded(model, bits=8, embeddings=True)
    assert changed - without == embeddings and not without & embeddings
    for name in embeddings:
        assert torch.equal(after[name], round_rows(before[name], 8))


def test_adapters_keep_their_precision() -> None:
    _, changed = rounded(lora_model())
    assert changed and not any("lora_" in name for name in changed)


def test_fewer_bits_are_further_away() -> None:
    model = plain_model()
    own, errors = logp(model), []
    for bits in (8, 4, 2):
        with Quantise(bits=bits, levels="integer").applied(model, context()) as attacked:
            errors.append(float((logp(attacked) - own).abs().mean()))
    assert errors[0] < errors[1] < errors[2]


def test_matrices_outside_linear_layers_are_refused() -> None:
    model = plain_model().inner
    model.register_parameter("experts", torch.nn.Parameter(torch.zeros(2, 3, 4)))
    with pytest.raises(RequestError, match=r"1 matrices belong to no linear layer \(experts\)"):
        linear_weights(model, embeddings=False)


def test_quantised_models_are_refused() -> None:
    model = plain_model().inner
    layer = model.model.layers[0].mlp.down_proj
    packed = torch.zeros_like(layer.weight, dtype=torch.int8)
    layer.weight = torch.nn.Parameter(packed, requires_grad=False)
    with pytest.raises(RequestError, match="is quantised already"):
        linear_weights(model, embeddings=False)
