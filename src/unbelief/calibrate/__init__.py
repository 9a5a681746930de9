"""UWC: as much of the unlearned model as keeps a share of the original's retain score.

Importing this package imports no torch; its names are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "CalibrateRequest": "unbelief.calibrate.request",
    "Calibrated": "unbelief.calibrate.run",
    "Search": "unbelief.calibrate.search",
    "calibrate": "unbelief.calibrate.run",
    "find_alpha": "unbelief.calibrate.search",
}
__all__ = ["CalibrateRequest", "Calibrated", "Search", "calibrate", "find_alpha"]


def __getattr__(name: str) -> Any:
    """Import public names on first use."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'unbelief.calibrate' has no attribute {name!r}")


if TYPE_CHECKING:
    from unbelief.calibrate.request import CalibrateRequest
    from unbelief.calibrate.run import Calibrated, calibrate
    from unbelief.calibrate.search import Search, find_alpha
