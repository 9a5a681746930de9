"""The arithmetic of the memory estimate against what autograd really saves."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.helpers import tiny_config
from unbelief.preflight.memory import PADDING, Setup, estimate_memory
from unbelief.preflight.result import ModelFacts
from unbelief.preflight.shape import model_facts


def saved_bytes(model: Any, ids: torch.Tensor) -> int:
    """Bytes that the decoder keeps for backward, without its parameters."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, tuple[int, torch.Tensor]] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so no address is reused
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        model.base_model(input_ids=ids, use_cache=False)
    return sum(n for n, _ in kept.values())


def setup(**changes: Any) -> Setup:
    values = {
        "dtype": "float32",
        "autocast": False,
        "lora": False,
        "optim": "adamw_torch",
        "checkpointing": False,
        "second_model": False,
        "rows_per_forward": 4,
        **changes,
    }
    return Setup(**values)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> ModelFacts:
    from tests.helpers import save_tiny

    return model_facts(save_tiny(tmp_path_factory.mktemp("model") / "m"))


@pytest.mark.parametrize(
    ("family", "low", "high"),
    [
        ("llama", 0.9, 1.1),
        ("qwen2", 0.9, 1.1),
        ("mistral", 0.8, 1.2),
        ("phi", 0.8, 1.2),
        ("gpt2", 0.8, 1.25),
        ("qwen3", 0.7, 1.1),
        ("gemma2", 0.7, 1.1),  # further norms, and attention that stores its probabilities
    ],
)
def test_activations_against_autograd(family: str, low: float, high: float, tmp_path: Any) -> None:
    from transformers import AutoModelForCausalLM

    config = tiny_config(family)
    for name in ("attention_dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    if getattr(config, "sliding_window", None):
        config.sliding_window = 128  # rows beyond the window need a mask, which is not counted
    model = AutoModelForCausalLM.from_config(config).train()
    model.save_pretrained(str(tmp_path))
    rows, length = 4, 96
    measured = saved_bytes(model, torch.randint(7, 100, (rows, length)))
    estimate = estimate_memory(model_facts(tmp_path), setup(), [(length, 1)] * rows)
    assert low < estimate.activations / PADDING / measured < high


def test_only_the_longest_rows_of_a_forward_count(facts: ModelFacts) -> None:
    short = estimate_memory(facts, setup(), [(50, 10)] * 4)
    more = estimate_memory(facts, setup(), [(50, 10)] * 400 + [(3, 1)] * 1000)
    assert more.activations == short.activations
    assert more.answer_head == short.answer_head


def test_the_answer_head_does_not_grow_without_bound(facts: ModelFacts) -> None:
    from dataclasses import replace

    wide = replace(facts, vocabulary=128_256)
    # 128 MiB of fp32 logits are 261 rows of 128,256: 2 buffers, whatever the number of answers.
    long = estimate_memory(wide, setup(rows_per_forward=1000), [(1000, 900)] * 1000)
    buffers = 2 * 261 * 128_256 * 4
    rest = 4 * 128_256 * 32 + 2 * 900_000 * 32 * 4
    assert long.answer_head == buffers + rest


@pytest.mark.parametrize(
    ("changes", "part", "per_parameter"),
    [
        ({}, "optimizer", 8),
        ({"optim": "adamw_bnb_8bit"}, "optimizer", 2),
        ({"optim": "sgd"}, "optimizer", 0),
        ({"dtype": "bfloat16"}, "optimizer", 4),
        ({"dtype": "bfloat16"}, "weights", 2),
        ({"dtype": "float64"}, "gradients", 8),
        ({"second_model": True}, "reference", 4),
        ({"second_model": True, "lora": True}, "reference", 0),
    ],
)
def test_bytes_per_parameter(
    changes: dict[str, Any], part: str, per_parameter: int, facts: ModelFacts
) -> None:
    memory = estimate_memory(facts, setup(**changes), [(5, 2)])
    assert getattr(memory, part) == per_parameter * facts.parameters
