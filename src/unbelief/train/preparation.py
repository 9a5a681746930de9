"""What a run starts from, and how the model is made ready."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from torch import nn

from unbelief.beliefs.bank import BeliefBank
from unbelief.models.adapters import LoraOptions, add_lora, trainable_parameters
from unbelief.models.load import LoadedModel
from unbelief.models.runner import AnswerModel
from unbelief.provenance import tensor_sha256
from unbelief.tokens import Encoded, Encoder
from unbelief.train.options import TrainOptions
from unbelief.types import Record


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Everything that was read and checked.

    Attributes:
        loaded: The model as it came.
        encoder: Records to tokens.
        model: The model that trains, with its adapter if there is one.
        forget_records: Records to forget.
        retain_records: Records to keep; may be empty.
        forget: The same, encoded.
        retain: The same, encoded.
        beliefs: The bank that was given, where one was.
    """

    loaded: LoadedModel
    encoder: Encoder
    model: AnswerModel
    forget_records: list[Record]
    retain_records: list[Record]
    forget: list[Encoded]
    retain: list[Encoded]
    beliefs: BeliefBank | None

    def tokens(self) -> dict[str, Any]:
        """How records were turned into tokens, and how many answers a limit cut."""
        sides = {"forget": self.forget, "retain": self.retain}
        cut = {name: sum(one.truncated for one in its) for name, its in sides.items()}
        return {**self.encoder.describe(), "answers_cut": cut}


def trainable_model(
    loaded: LoadedModel, options: TrainOptions, lora: LoraOptions | None, pad_id: int
) -> AnswerModel:
    """The model with what is to train unfrozen, its dropout off, its adapter on."""
    model: Any = loaded.model
    if not options.dropout:
        _without_dropout(model)
    if lora is not None:
        model = add_lora(model, lora)
    elif options.trainable is not None:
        trainable_parameters(model, options.trainable)
    return AnswerModel(model, pad_id=pad_id)


def weights_digest(model: AnswerModel) -> str:
    """Of the weights as they are now, adapter included, gathered if they were sharded."""
    total = hashlib.sha256()
    for name, parameter in model.inner.named_parameters():
        # A copy: storage that NumPy has seen cannot be given back by a sharded model.
        total.update(tensor_sha256({name: parameter.detach().clone()}).encode())
    return total.hexdigest()


def recompute_activations(model: AnswerModel) -> None:
    """Keep the inputs of layers only and compute the rest again in backward."""
    inner = model.inner
    # Renamed in Transformers 5.23; the old name goes in version 6.
    name = "activation_checkpointing"
    if not hasattr(inner, f"{name}_enable"):
        name = "gradient_checkpointing"
    enable = getattr(inner, f"{name}_enable")
    enable(**{f"{name}_kwargs": {"use_reentrant": False}})
    inner.config.use_cache = False


def context_length(model: Any) -> int | None:
    """The longest sequence a model is made for, where it says so."""
    config = model.config.get_text_config()
    return getattr(config, "max_position_embeddings", None)


def _without_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        # Attention functions take their dropout from an attribute, not from a module.
        if isinstance(getattr(module, "attention_dropout", None), float):
            setattr(module, "attention_dropout", 0.0)  # noqa: B010 - a plain float, not a module
