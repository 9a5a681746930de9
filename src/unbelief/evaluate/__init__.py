"""A model, a suite, results: measured, scored and written whole.

Importing this package imports no torch; its names are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "Evaluation": "unbelief.evaluate.request",
    "Results": "unbelief.evaluate.results",
    "evaluate": "unbelief.evaluate.run",
    "read_results": "unbelief.evaluate.results",
    "rescore": "unbelief.evaluate.stored",
}
__all__ = ["Evaluation", "Results", "evaluate", "read_results", "rescore"]


def __getattr__(name: str) -> Any:
    """Import public names on first use."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'unbelief.evaluate' has no attribute {name!r}")


if TYPE_CHECKING:
    from unbelief.evaluate.request import Evaluation
    from unbelief.evaluate.results import Results, read_results
    from unbelief.evaluate.run import evaluate
    from unbelief.evaluate.stored import rescore
