"""Make a language model forget chosen records, keep everything else, and show the evidence."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "Unlearner": "unbelief.unlearner",
    "UnlearnResult": "unbelief.unlearner",
    "Objective": "unbelief.objectives",
    "BSS": "unbelief.objectives",
    "BST": "unbelief.objectives",
    "GA": "unbelief.objectives",
    "NPO": "unbelief.objectives",
    "SimNPO": "unbelief.objectives",
    "WGA": "unbelief.objectives",
    "TNPO": "unbelief.objectives",
    "WTNPO": "unbelief.objectives",
    "RMU": "unbelief.objectives",
    "NLL": "unbelief.objectives",
    "KL": "unbelief.objectives",
    "HiddenMatch": "unbelief.objectives",
    "Evaluation": "unbelief.evaluate.request",
    "Record": "unbelief.types",
    "read_records": "unbelief.data",
}
__all__ = ["__version__", *sorted(_EXPORTS)]


def __getattr__(name: str) -> Any:
    """Import public names on first use: `import unbelief` costs no torch."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'unbelief' has no attribute {name!r}")


if TYPE_CHECKING:
    from unbelief.data import read_records
    from unbelief.evaluate.request import Evaluation
    from unbelief.objectives import (
        BSS,
        BST,
        GA,
        KL,
        NLL,
        NPO,
        RMU,
        TNPO,
        WGA,
        WTNPO,
        HiddenMatch,
        Objective,
        SimNPO,
    )
    from unbelief.types import Record
    from unbelief.unlearner import Unlearner, UnlearnResult
