"""What the model says when it is asked: sampled answers, and the bank that keeps them.

Importing this package imports no torch; its names are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "BankMeta": "unbelief.beliefs.bank",
    "BankStats": "unbelief.beliefs.bank",
    "BeliefBank": "unbelief.beliefs.bank",
    "Decoding": "unbelief.beliefs.decoding",
    "Sampled": "unbelief.beliefs.decoding",
    "fill_bank": "unbelief.beliefs.fill",
    "sample_answers": "unbelief.beliefs.sampler",
}
__all__ = [
    "BankMeta",
    "BankStats",
    "BeliefBank",
    "Decoding",
    "Sampled",
    "fill_bank",
    "sample_answers",
]


def __getattr__(name: str) -> Any:
    """Import public names on first use."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'unbelief.beliefs' has no attribute {name!r}")


if TYPE_CHECKING:
    from unbelief.beliefs.bank import BankMeta, BankStats, BeliefBank
    from unbelief.beliefs.decoding import Decoding, Sampled
    from unbelief.beliefs.fill import fill_bank
    from unbelief.beliefs.sampler import sample_answers
