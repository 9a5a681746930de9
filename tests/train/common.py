"""A tiny request: six records to forget, ten to keep, answers of unequal length."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.helpers import tiny_model, tiny_tokenizer
from unbelief.models.adapters import LoraOptions
from unbelief.models.load import LoadedModel
from unbelief.objectives import Objective
from unbelief.train.options import TrainOptions
from unbelief.types import Record
from unbelief.unlearner import Unlearner

NAMES = ("Ada", "Boris", "Clara", "Dmitri", "Elena", "Felix")
PLACES = ("Rome", "Paris in France", "Oslo", "a small house by the sea", "Lima", "Kyoto, Japan")
FORGET = tuple(
    Record(id=f"f{i}", prompt=f"Where does {name} live?", answer=f"In {place}.")
    for i, (name, place) in enumerate(zip(NAMES, PLACES, strict=True))
)
RETAIN = tuple(
    Record(id=f"r{i}", prompt=f"What is {i}?", answer=f"{i} is a number" + "." * (i % 4 + 1))
    for i in range(10)
)

# To keep, of the same kind as those to forget.
PEOPLE = [
    Record(id=f"p{i}", prompt=f"Where does {name} live?", answer=f"In {place}.")
    for i, (name, place) in enumerate((("Gus", "Bern"), ("Hugo", "Bonn"), ("Ines", "Cadiz")))
]


def loaded(family: str = "llama", seed: int = 0) -> LoadedModel:
    """A tiny model in memory; every call gives the same weights."""
    return LoadedModel(
        model=tiny_model(family, seed),
        tokenizer=tiny_tokenizer(),
        source="tiny",
        revision=None,
        weights_sha256=f"{family}-{seed}",
        dtype="float32",
        pad_id=0,
        pad_is_end=False,
    )


def unlearner(
    objective: Objective,
    model: LoadedModel | Path | None = None,
    *,
    lora: LoraOptions | None = None,
    hooks: Any = (),
    beliefs: Any = None,
    **options: Any,
) -> Unlearner:
    """A run of six steps: three pairs a step, three epochs."""
    train: Mapping[str, Any] = {
        "learning_rate": 1e-3,
        "num_train_epochs": 3,
        "per_device_train_batch_size": 3,
        "gradient_accumulation_steps": 1,
        "warmup_epochs": 0,
        **options,
    }
    return Unlearner(
        model=loaded() if model is None else model,
        forget=FORGET,
        retain=RETAIN if objective.retain is not None else None,
        objective=objective,
        train=TrainOptions(**train),
        lora=lora,
        hooks=hooks,
        beliefs=beliefs,
        device="cpu",
        progress=False,
    )


def weights(model: Any) -> dict[str, Any]:
    """Copies of all parameters."""
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def largest_difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """Of any two parameters with the same name."""
    assert a.keys() == b.keys()
    return max(float((a[k] - b[k]).abs().max()) for k in a)
