"""What a model said about examples: recorded once, scored many times.

Importing this package imports no torch; its names are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "Measurements": "unbelief.measure.store",
    "Plan": "unbelief.measure.plan",
    "measure": "unbelief.measure.run",
    "measure_examples": "unbelief.measure.run",
    "read_measurements": "unbelief.measure.store",
}
__all__ = ["Measurements", "Plan", "measure", "measure_examples", "read_measurements"]


def __getattr__(name: str) -> Any:
    """Import public names on first use."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'unbelief.measure' has no attribute {name!r}")


if TYPE_CHECKING:
    from unbelief.measure.plan import Plan
    from unbelief.measure.run import measure, measure_examples
    from unbelief.measure.store import Measurements, read_measurements
