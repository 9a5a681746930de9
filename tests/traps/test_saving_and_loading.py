"""Traps: weights of an older save are loaded; the dtype is the checkpoint's."""

from __future__ import annotations

from pathlib import Path

import torch
from tests.helpers import save_tiny, tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM

from unbelief.models.load import load_model
from unbelief.models.save import save_model
from unbelief.provenance import tensor_sha256

OLD = tensor_sha256(tiny_model(seed=0).state_dict())
NEW = tensor_sha256(tiny_model(seed=1).state_dict())


def loaded_digest(folder: Path) -> str:
    return tensor_sha256(AutoModelForCausalLM.from_pretrained(folder).state_dict())


def test_saving_over_a_folder_can_leave_the_old_weights_to_be_loaded(tmp_path: Path) -> None:
    # An unlearning tool that falls into this hands out the model that still knows everything.
    save_tiny(tmp_path / "plain", seed=0)
    tiny_model(seed=1).save_pretrained(tmp_path / "plain", max_shard_size="20KB")
    assert loaded_digest(tmp_path / "plain") == OLD

    save_tiny(tmp_path / "ours", seed=0)
    save_model(
        tiny_model(seed=1),
        tiny_tokenizer(),
        tmp_path / "ours",
        overwrite=True,
        max_shard_size="20KB",
    )
    assert loaded_digest(tmp_path / "ours") == NEW


def test_the_dtype_is_that_of_the_checkpoint_unless_it_is_named(tmp_path: Path) -> None:
    # Scores in bfloat16 move by 0.1 nats with the batch, and small updates are lost.
    tiny_model().bfloat16().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    assert AutoModelForCausalLM.from_pretrained(tmp_path).dtype == torch.bfloat16
    assert load_model(tmp_path).model.dtype == torch.float32


def test_absent_weights_become_random_numbers(tmp_path: Path) -> None:
    # Plain Transformers only logs a report; ours refuses (tests/models/test_load.py).
    model = tiny_model()
    state = {k: v for k, v in model.state_dict().items() if "layers.1.mlp" not in k}
    model.save_pretrained(tmp_path, state_dict=state)
    first, second = (AutoModelForCausalLM.from_pretrained(tmp_path) for _ in range(2))
    name = "model.layers.1.mlp.up_proj.weight"
    assert not torch.equal(first.state_dict()[name], model.state_dict()[name])
    assert not torch.equal(first.state_dict()[name], second.state_dict()[name])
