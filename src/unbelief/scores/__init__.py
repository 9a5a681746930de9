"""One example to one score, lists of scores to numbers with intervals; no model here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "Aggregate": "unbelief.scores.base",
    "Metric": "unbelief.scores.base",
    "Statistic": "unbelief.scores.base",
    "CONVENTIONS": "unbelief.scores.conventions",
    "aggregate": "unbelief.scores.conventions",
    "metric": "unbelief.scores.conventions",
    "exact_recitation": "unbelief.scores.shortcuts",
    "extraction_strength": "unbelief.scores.shortcuts",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    """Import public names on first use."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'unbelief.scores' has no attribute {name!r}")


if TYPE_CHECKING:
    from unbelief.scores.base import Aggregate, Metric, Statistic
    from unbelief.scores.conventions import CONVENTIONS, aggregate, metric
    from unbelief.scores.shortcuts import exact_recitation, extraction_strength
