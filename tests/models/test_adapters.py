from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.helpers import tiny_model, tiny_tokenizer

from unbelief.errors import RequestError
from unbelief.models.adapters import LoraOptions, add_lora, trainable_parameters
from unbelief.models.load import load_model
from unbelief.models.save import save_model

IDS = torch.arange(7, 19)[None]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("r=16,alpha=32", LoraOptions(r=16, alpha=32)),
        ("r=4", LoraOptions(r=4)),
        (" alpha = 8 , r = 2 ", LoraOptions(r=2, alpha=8)),
        ("dropout=0.05,target_modules=all-linear", LoraOptions(dropout=0.05)),
        ("target_modules=q_proj+v_proj", LoraOptions(target_modules=("q_proj", "v_proj"))),
    ],
)
def test_options_parse(text: str, options: LoraOptions) -> None:
    assert LoraOptions.parse(text) == options


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not key=value"),
        ("16", "not key=value"),
        ("r=", "not key=value"),
        ("rank=16", "unknown key 'rank'"),
        ("r=4,r=8", "given twice"),
        ("r=four", "not a number"),
        ("r=0", "not a rank"),
        ("alpha=0", "not positive"),
        ("dropout=1", "not a probability"),
        ("target_modules=+", "no target modules"),
    ],
)
def test_bad_options_are_told(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        LoraOptions.parse(text)
    assert caught.value.remedy


@pytest.mark.parametrize("family", ["llama", "gpt2", "phi"])
def test_fresh_adapter_changes_nothing_and_alone_trains(family: str) -> None:
    before = tiny_model(family)(IDS).logits
    adapted = add_lora(tiny_model(family).bfloat16().float(), LoraOptions(r=2, alpha=4))
    reference = tiny_model(family).bfloat16().float()(IDS).logits
    assert torch.equal(adapted(IDS).logits, reference)
    assert before.shape == reference.shape
    training = trainable_parameters(adapted)
    assert training and all("lora_" in name for name in training)


def test_adapter_is_float32_on_a_bfloat16_model() -> None:
    adapted = add_lora(tiny_model().bfloat16(), LoraOptions(r=2))
    assert {p.dtype for p in trainable_parameters(adapted).values()} == {torch.float32}
    assert adapted.base_model.model.model.embed_tokens.weight.dtype == torch.bfloat16


def test_adapter_errors() -> None:
    with pytest.raises(RequestError, match="nowhere"):
        add_lora(tiny_model(), LoraOptions(target_modules=("nowhere",)))
    with pytest.raises(RequestError, match="an adapter already"):
        add_lora(add_lora(tiny_model(), LoraOptions(r=2)), LoraOptions(r=2))


def test_parameters_are_chosen_by_their_whole_name() -> None:
    model = tiny_model()
    chosen = trainable_parameters(model, r"model\.layers\.1\.mlp\..*")
    assert sorted(chosen) == [f"model.layers.1.mlp.{m}_proj.weight" for m in ("down", "gate", "up")]
    assert [n for n, p in model.named_parameters() if p.requires_grad] == list(chosen)
    # "layers.1" as a part of a name is not enough.
    with pytest.raises(RequestError, match="as a whole"):
        trainable_parameters(model, "layers.1")
    with pytest.raises(RequestError, match="not a regular expression"):
        trainable_parameters(model, "(")


def test_tied_parameters_go_by_any_of_their_names() -> None:
    model = tiny_model("llama-tied")
    assert list(trainable_parameters(model, r"lm_head\.weight")) == ["model.embed_tokens.weight"]


def test_no_pattern_changes_nothing() -> None:
    model = tiny_model()
    model.model.embed_tokens.weight.requires_grad_(False)
    assert "model.embed_tokens.weight" not in trainable_parameters(model)
    assert len(trainable_parameters(model)) == len(list(model.parameters())) - 1


def test_loaded_adapter_behaves_like_the_one_saved(tiny_folder: Path, tmp_path: Path) -> None:
    base = load_model(tiny_folder)
    adapted = add_lora(base.model, LoraOptions(r=2))
    for name, parameter in trainable_parameters(adapted).items():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    save_model(adapted, tiny_tokenizer(), tmp_path / "adapter", merge_adapter=False)
    loaded = load_model(tmp_path / "adapter")
    assert loaded.is_adapter and loaded.base_source == str(tiny_folder)
    assert torch.equal(loaded.model(IDS).logits, adapted(IDS).logits)
    assert loaded.weights_sha256 != base.weights_sha256


def test_adapter_without_a_usable_base_is_told(tiny_folder: Path, tmp_path: Path) -> None:
    adapted = add_lora(tiny_model(), LoraOptions(r=2))  # made in code: there is no folder to name
    save_model(adapted, tiny_tokenizer(), tmp_path / "adapter", merge_adapter=False)
    with pytest.raises(RequestError, match="does not say which model"):
        load_model(tmp_path / "adapter")
