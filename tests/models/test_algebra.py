from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import FAMILIES, tiny_config, tiny_model, tiny_tokenizer
from tests.models.test_save import adapted_model

from unbelief.errors import RequestError
from unbelief.models.algebra import Blend, mixed, shifted
from unbelief.models.load import LoadedModel, in_memory
from unbelief.models.parts import belongs, component_of, layer_list, part_labels
from unbelief.models.save import merged_copy


def loaded(model) -> LoadedModel:
    return in_memory(model, tiny_tokenizer())


def weights(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(model, others) -> bool:
    own = model.state_dict()
    return own.keys() == others.keys() and all(torch.equal(own[n], others[n]) for n in own)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_ends_are_the_two_models_bit_for_bit(family):
    original, unlearned = tiny_model(family), tiny_model(family, seed=1)
    before = weights(original)
    blend = Blend(loaded(original), loaded(unlearned))
    blend.set(1)
    assert same(original, unlearned.state_dict())
    blend.set(0.3)
    assert not same(original, before) and not same(original, unlearned.state_dict())
    blend.restore()
    assert same(original, before)
    # Parts cover the model: all of them from the unlearned model are the unlearned model.
    blend.set(dict.fromkeys(blend.labels, 1))
    assert same(original, unlearned.state_dict())
    blend.set({})
    assert same(original, before)


def test_half_way_is_the_mean():
    original, unlearned = tiny_model(), tiny_model(seed=1)
    before = weights(original)
    with Blend(loaded(original), loaded(unlearned)).at(0.5):
        for name, tensor in original.state_dict().items():
            other = unlearned.state_dict()[name]
            assert torch.equal(tensor, (before[name] + other) / 2)  # halving is exact
    assert same(original, before)


def test_a_quarter_by_hand_in_bfloat16_is_rounded_once():
    # 0.75 * 1 + 0.25 * 1.0078125 = 1.001953125 lies between the neighbours 1 and 1.0078125 of
    # bfloat16 (8 bits: steps of 1/128 here), nearer to 1. 0.25 * 1 + 0.75 * 1.0078125 =
    # 1.005859375 is nearer to 1.0078125. In bfloat16 itself 0.75 * 1.0078125 = 0.755859375 would
    # round to 0.75390625 or 0.7578125 first.
    one, two = (torch.tensor([v], dtype=torch.bfloat16) for v in (1.0, 1.0078125))
    assert mixed(one, two, 0.25).item() == 1.0
    assert mixed(one, two, 0.75).item() == 1.0078125
    # 1 + 0.25 * 2^-7 rounds back to 1; 1 + 0.75 * 2^-7 rounds up.
    change = torch.tensor([2.0**-7])
    assert shifted(one, change, 0.25).item() == 1.0
    assert shifted(one, change, 0.75).item() == 1.0078125
    assert shifted(one, change, 0.75).dtype == torch.bfloat16


@settings(deadline=None, max_examples=60)
@given(a=st.floats(-4, 4, width=32), b=st.floats(-4, 4, width=32), alpha=st.floats(0, 1, width=32))
def test_a_mixture_lies_between_its_ends(a, b, alpha):
    found = mixed(torch.tensor([a]), torch.tensor([b]), alpha).item()
    # Two products and a sum, each rounded to 24 bits: at most 3 half units of a number below 4.
    slack = 3 * 4 * 2.0**-24
    assert min(a, b) - slack <= found <= max(a, b) + slack


def test_one_layer_is_exchanged_and_nothing_else():
    original, unlearned = tiny_model(), tiny_model(seed=1)
    before, others = weights(original), unlearned.state_dict()
    blend = Blend(loaded(original), loaded(unlearned))
    with blend.at({"layers.1": 1}):
        for name, tensor in original.state_dict().items():
            source = others if name.startswith("model.layers.1.") else before
            assert torch.equal(tensor, source[name]), name
    with blend.at({"layers.0.mlp": 1, "embeddings": 1}):
        own = original.state_dict()
        changed = {name for name in own if not torch.equal(own[name], before[name])}
    assert changed == {
        "model.embed_tokens.weight",
        *(f"model.layers.0.mlp.{name}_proj.weight" for name in ("gate", "up", "down")),
    }


def test_a_tied_embedding_is_mixed_once_and_has_no_head_of_its_own():
    original, unlearned = tiny_model("llama-tied"), tiny_model("llama-tied", seed=1)
    blend = Blend(loaded(original), loaded(unlearned))
    assert blend.changed["embeddings"] == 120 * 32  # rows x width, not twice
    assert "head" not in blend.labels
    blend.set(0.5)
    assert original.lm_head.weight is original.model.embed_tokens.weight
    mean = (tiny_model("llama-tied").lm_head.weight + unlearned.lm_head.weight) / 2
    assert torch.equal(original.lm_head.weight, mean)
    with pytest.raises(RequestError, match="no part 'head'"):
        blend.set({"head": 1})


def test_a_tie_that_was_cut_cannot_be_mixed():
    untied = tiny_model("llama", seed=1)
    with pytest.raises(RequestError, match="one tensor in the original and two"):
        Blend(loaded(tiny_model("llama-tied")), loaded(untied))


@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3", "llama-tied"])
def test_an_adapter_over_the_original_is_mixed_as_an_adapter(family):
    original, adapted = tiny_model(family), adapted_model(family)
    before, merged = weights(original), merged_copy(adapted).state_dict()
    blend = Blend(loaded(original), loaded(adapted))
    assert blend.how == "adapter"
    blend.set(1)
    assert same(original, merged)
    blend.set(0.5)
    for name, tensor in original.state_dict().items():
        # o + (o + d - o) / 2: the subtraction rounds to 24 bits of a weight of size 1 at most.
        middle = before[name] + (merged[name] - before[name]) / 2
        torch.testing.assert_close(tensor, middle, rtol=0, atol=2.0**-23)
    blend.restore()
    assert same(original, before)
    assert not any("norm" in label or label == "embeddings" for label in blend.changed)


def test_an_adapter_over_another_model_is_merged_first():
    original, adapted = tiny_model(seed=3), adapted_model()
    blend = Blend(loaded(original), loaded(adapted))
    assert blend.how == "weights"
    blend.set(1)
    assert same(original, merged_copy(adapted).state_dict())


def test_equal_models_have_nothing_to_mix():
    blend = Blend(loaded(tiny_model()), loaded(tiny_model()))
    assert blend.identical and blend.changed == {}


def wider(**changes):
    from transformers import AutoModelForCausalLM

    config = tiny_config("llama")
    for name, value in changes.items():
        setattr(config, name, value)
    return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: wider(vocab_size=128), "embeds 120 tokens, the unlearned model 128"),
        (lambda: wider(intermediate_size=64), r"\(48, 32\) in the original, \(64, 32\)"),
        (lambda: wider(num_hidden_layers=3), "in one of the two models only"),
    ],
)
def test_models_of_another_shape_are_refused(other, message):
    with pytest.raises(RequestError, match=message):
        Blend(loaded(tiny_model()), loaded(other()))


def test_another_vocabulary_is_refused():
    words = in_memory(tiny_model(seed=1), tiny_tokenizer("word"))
    with pytest.raises(RequestError, match="different vocabularies"):
        Blend(loaded(tiny_model()), words)


@pytest.mark.parametrize(
    ("alpha", "message"),
    [
        (1.5, "not between 0 and 1"),
        ({"layers.0": -0.1}, "not between 0 and 1"),
        ({"layers.7": 1.0}, "no part 'layers.7'"),
        ({"layers.0": 1.0, "layers.0.mlp": 0.0}, "layers.0.mlp is part of layers.0"),
    ],
)
def test_what_cannot_be_set_is_refused_and_nothing_changes(alpha, message):
    original = tiny_model()
    before = weights(original)
    blend = Blend(loaded(original), loaded(tiny_model(seed=1)))
    with pytest.raises(RequestError, match=message):
        blend.set(alpha)
    assert same(original, before)


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("self_attn.q_proj.weight", "attention"),
        ("self_attn.q_norm.weight", "attention"),
        ("post_attention_layernorm.weight", "norm"),
        ("ln_1.weight", "norm"),
        ("attn.c_attn.bias", "attention"),
        ("mlp.experts.3.up_proj.weight", "mlp"),
        ("block_sparse_moe.gate.weight", "mlp"),
        ("fc1.weight", "mlp"),
        ("mixer.in_proj.weight", "other"),
    ],
)
def test_components_by_the_first_name_below_the_layer(name, component):
    assert component_of(name) == component


def test_learnt_positions_are_embeddings():
    found = part_labels(tiny_model("gpt2"))
    assert {n for n, part in found.items() if part == "embeddings"} == {
        "transformer.wte.weight",
        "transformer.wpe.weight",
        "lm_head.weight",  # tied
    }


def test_layers_that_cannot_be_found_are_mixed_all_the_same():
    original, unlearned = tiny_model(), tiny_model(seed=1)
    for model in (original, unlearned):  # a backbone that keeps its layers under another name
        model.model.stages = model.model.layers
        del model.model.layers
    with pytest.raises(RequestError, match="no list of decoder layers"):
        layer_list(original)
    blend = Blend(loaded(original), loaded(unlearned))
    assert set(blend.labels) == {"embeddings", "final_norm", "head", "other"}
    blend.set(1)
    assert same(original, unlearned.state_dict())


def test_a_label_names_what_is_below_it_and_not_its_namesakes():
    assert belongs("layers.1.mlp", "layers.1")
    assert belongs("layers.1", "layers.1")
    assert not belongs("layers.11.mlp", "layers.1")
