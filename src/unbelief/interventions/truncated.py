"""The first layers of a model as a model of its own that shares their weights."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from unbelief.errors import RequestError


def truncated(inner: Any, layers: int, head: nn.Linear) -> Any:
    """A model of the first `layers` decoder layers, the final norm and another output embedding.

    Every module but the output embedding is the original's own; the model, its backbone, the list
    of layers and the configuration are new objects, so the original is not touched.

    Args:
        inner: A Transformers causal language model.
        layers: 1 to the number of its layers.
        head: The output embedding.

    Raises:
        RequestError: The model's layers are not a list we know of.
    """
    prefix = inner.base_model_prefix
    name = layers_name(inner)
    backbone = _shallow(getattr(inner, prefix))
    config = _config(inner.config, layers)
    backbone.config = config
    setattr(backbone, name, nn.ModuleList(list(getattr(backbone, name))[:layers]))
    model = _shallow(inner)
    model.config = config
    setattr(model, prefix, backbone)
    # Put there by the answer head for the original, whose weights they would run.
    for attribute in ("forward", "_unbelief_forward"):
        model.__dict__.pop(attribute, None)
    model.set_output_embeddings(head)
    return model


def layers_name(inner: Any) -> str:
    """The attribute of the backbone that lists its decoder layers.

    Raises:
        RequestError: There is none we know of.
    """
    backbone = getattr(inner, inner.base_model_prefix, None)
    for name in ("layers", "h", "blocks"):
        if isinstance(getattr(backbone, name, None), nn.ModuleList):
            return name
    raise RequestError(
        f"{type(inner).__name__} has no list of decoder layers we know of",
        where="probe",
        remedy="leave this attack out",
    )


def _shallow(module: Any) -> Any:
    """A module with the same children and tensors, but with its own tables of them (and hooks)."""
    twin = copy.copy(module)
    for name, table in module.__dict__.items():
        if isinstance(table, dict):
            twin.__dict__[name] = copy.copy(table)
    return twin


def _config(config: Any, layers: int) -> Any:
    """The configuration of the first layers; caches and masks are made by it."""
    config = copy.deepcopy(config)
    text = config.get_text_config(decoder=True)
    total = text.num_hidden_layers
    text.num_hidden_layers = layers
    kinds = getattr(text, "layer_types", None)
    if kinds is not None and len(kinds) == total:
        text.layer_types = list(kinds)[:layers]
    text.tie_word_embeddings = config.tie_word_embeddings = False
    return config
