"""Which part of a model a parameter belongs to: every parameter to exactly one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

from torch import nn

from unbelief.models.runner import AnswerModel
from unbelief.train.checkpoints import trained_parameters

STAGES = ("shallow", "middle", "deep")


@dataclass(frozen=True)
class Part:
    """Some parameters of a model.

    Attributes:
        name: `embedding`, `layer 3`, `head`, `other` (such as the final norm), or `embedding and
            head` where these are one tensor.
        stage: `shallow`, `middle` or `deep` third of the layers; otherwise as `name`.
        parameters: Names, as in `named_parameters`.
        size: Number of scalars.
    """

    name: str
    stage: str
    parameters: tuple[str, ...]
    size: int


def parts_of(model: AnswerModel) -> list[Part]:
    """The parts of a model that train, from the input on; together all parameters that train.

    An adapter's parameters belong to the layer they adapt.
    """
    layers, found = model.layers(), dict[str, list[str]]()
    where = {id(p): f"layer {i}" for i, layer in enumerate(layers) for p in layer.parameters()}
    inputs, outputs = (
        {id(p) for p in _own(module)}
        for module in (model.inner.get_input_embeddings(), model.inner.get_output_embeddings())
    )
    tied = "embedding and head" if inputs & outputs else ""
    where |= dict.fromkeys(outputs, tied or "head") | dict.fromkeys(inputs, tied or "embedding")
    trained = trained_parameters(model.model)
    for name, parameter in trained.items():
        found.setdefault(where.get(id(parameter), "other"), []).append(name)
    layered = [f"layer {i}" for i in range(len(layers))]
    third = {name: STAGES[3 * i // len(layers)] for i, name in enumerate(layered)}
    order = ["embedding", "embedding and head", *layered, "other", "head"]
    return [
        Part(n, third.get(n, n), tuple(found[n]), sum(trained[p].numel() for p in found[n]))
        for n in order
        if n in found
    ]


def by_stage(parts: Iterable[Part], values: Mapping[str, float]) -> dict[str, float]:
    """Sums of the parts' values over their stages, in the parts' order."""
    out: dict[str, float] = {}
    for part in parts:
        out[part.stage] = out.get(part.stage, 0.0) + values[part.name]
    return out


def _own(module: nn.Module | None) -> Iterable[nn.Parameter]:
    return chain() if module is None else module.parameters()
