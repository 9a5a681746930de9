"""Unlearning without choosing a method or its strength.

A small portfolio of methods is tried on the model itself, within minutes that are counted; a run
stops where the records leak as much as a model would that never saw them. That is measured on
held-out records or a retrained model, where there are any, and otherwise estimated from what the
original model says about strangers. Importing this package imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "AutoOptions": "unbelief.auto.options",
    "AutoResult": "unbelief.auto.run",
    "AutoUnlearner": "unbelief.auto.run",
    "PORTFOLIO": "unbelief.auto.portfolio",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    """Import public names on first use."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'unbelief.auto' has no attribute {name!r}")


if TYPE_CHECKING:
    from unbelief.auto.options import AutoOptions
    from unbelief.auto.portfolio import PORTFOLIO
    from unbelief.auto.run import AutoResult, AutoUnlearner
