"""Which weights of a model belong to linear layers."""

from __future__ import annotations

from typing import Any

from torch import nn

from unbelief.errors import RequestError


def linear_weights(inner: Any, *, embeddings: bool) -> list[tuple[nn.Parameter, bool]]:
    """Weights of linear layers, each once, and whether they are stored (in, out).

    Low-rank adapters are left as they are, in their own precision; the weights they sit on count.

    Args:
        inner: The Transformers model.
        embeddings: Take input and output embeddings too.

    Raises:
        RequestError: There are none, some are not floating-point numbers, or there are matrices
            that belong to no layer we know of (fused experts).
    """
    from transformers.pytorch_utils import Conv1D

    outside = {id(inner.get_input_embeddings()), id(inner.get_output_embeddings())}
    skipped = _adapter_modules(inner)
    known: set[int] = set()
    chosen: dict[Any, bool] = {}
    for module in inner.modules():
        if not isinstance(module, nn.Linear | Conv1D | nn.Embedding):
            continue
        known.add(id(module.weight))
        positions = isinstance(module, nn.Embedding) and id(module) not in outside
        if id(module) in skipped or positions:  # learnt positions are rows, no matrix of a product
            continue
        if embeddings or id(module) not in outside:
            chosen.setdefault(module.weight, isinstance(module, Conv1D))
    if not embeddings:  # a tied output embedding may be found under either module
        for module in (inner.get_input_embeddings(), inner.get_output_embeddings()):
            chosen.pop(module.weight, None)
    _check(inner, chosen, known)
    return list(chosen.items())


def _adapter_modules(inner: nn.Module) -> set[int]:
    """Ids of the modules that an adapter added."""
    added: set[int] = set()
    for module in inner.modules():
        base = getattr(module, "base_layer", None)
        if isinstance(base, nn.Module):
            added |= {id(m) for m in module.modules()} - {id(m) for m in base.modules()}
    return added


def _check(inner: nn.Module, chosen: dict[nn.Parameter, bool], known: set[int]) -> None:
    strange = [
        name
        for name, parameter in inner.named_parameters()
        if parameter.ndim >= 2 and id(parameter) not in known
    ]
    if strange:
        raise RequestError(
            f"{len(strange)} matrices belong to no linear layer ({', '.join(strange[:3])}), and "
            "rounding the rest alone would not be this model's quantisation",
            where="quantise",
            remedy="audit the quantised model itself",
        )
    if not chosen or not all(weight.is_floating_point() for weight in chosen):
        what = "has no linear layers" if not chosen else "is quantised already"
        raise RequestError(
            f"the model {what}", where="quantise", remedy="load it in float32 or bfloat16"
        )
