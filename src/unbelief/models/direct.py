"""Gradients of vocabulary-sized parameters, added where they belong instead of handed around.

Autograd makes a vocabulary × width tensor for every use of an embedding in every backward, and
adds it to `.grad` afterwards. With several small forwards per optimiser step that traffic would
cost more than the forwards. In one process nobody else looks at those tensors, so they are never
made: the answer head multiplies straight into `.grad`, and the input embedding adds its few rows
there. So small forwards cost nothing extra, and activations of few rows at a time are in memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def takes_direct_gradients(weight: Tensor) -> bool:
    """Whether a parameter's `.grad` may be written to: a plain fp32 leaf without hooks."""
    return (
        type(weight) is nn.Parameter
        and weight.requires_grad
        and weight.dtype == torch.float32
        and not weight._backward_hooks
        and not getattr(weight, "_post_accumulate_grad_hooks", None)
    )


def grad_of(weight: Tensor) -> Tensor:
    """The parameter's `.grad`, made of zeros where there is none yet."""
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad


def is_plain_embedding(module: nn.Module) -> bool:
    """Whether a module is an ordinary lookup, nothing scaled, quantised or wrapped."""
    return type(module) is nn.Embedding and not (
        module.max_norm is not None or module.scale_grad_by_freq or module.sparse
    )


class _Lookup(torch.autograd.Function):
    """Embedding lookup whose backward adds rows to `.grad`."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor, padding_idx: int | None) -> Tensor:
        ctx.weight, ctx.padding_idx = weight, padding_idx
        ctx.save_for_backward(ids)
        return weight.detach()[ids]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, None, None]:
        (ids,) = ctx.saved_tensors
        rows = grad_outputs[0].float()
        if ctx.padding_idx is not None:  # nn.Embedding never trains its padding row
            rows = rows * (ids != ctx.padding_idx)[:, None]
        grad_of(ctx.weight).index_add_(0, ids, rows)
        return None, None, None


def embed(module: nn.Module, ids: Tensor, *, direct: bool) -> Tensor:
    """Embeddings (n, d) of token ids (n,), the module's own call unless `direct` is possible."""
    weight: Any = module.weight
    if not (direct and is_plain_embedding(module) and takes_direct_gradients(weight)):
        return module(ids)
    if torch.is_grad_enabled():
        return _Lookup.apply(weight, ids, module.padding_idx)
    return module(ids)
