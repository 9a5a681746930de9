"""Changing a model for a while: what is changed is put back, bit by bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def kept(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Put values, gradients and `requires_grad` of parameters back when the block ends.

    The copies lie in main memory: as many bytes as the parameters have.
    """
    saved = [
        (p, p.detach().to("cpu", copy=True), p.requires_grad, p.grad)
        for p in dict.fromkeys(parameters)
    ]
    for parameter, _, _, _ in saved:
        parameter.grad = None
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value, requires_grad, grad in saved:
                parameter.copy_(value)
                parameter.requires_grad_(requires_grad)
                parameter.grad = grad


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Every module in evaluation mode, and back in its own when the block ends."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
