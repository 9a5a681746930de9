"""CRU: the layers of the unlearned model that forget, in the original that keeps the rest.

Importing this package imports no torch; its names are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "PatchRequest": "unbelief.patch.request",
    "Patched": "unbelief.patch.run",
    "linear_cka": "unbelief.patch.drift",
    "patch": "unbelief.patch.run",
}
__all__ = ["PatchRequest", "Patched", "linear_cka", "patch"]


def __getattr__(name: str) -> Any:
    """Import public names on first use."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'unbelief.patch' has no attribute {name!r}")


if TYPE_CHECKING:
    from unbelief.patch.drift import linear_cka
    from unbelief.patch.request import PatchRequest
    from unbelief.patch.run import Patched, patch
