"""The synthetic world in which forgetting can be measured exactly."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "LabConfig": "unbelief.lab.plan",
    "LabResult": "unbelief.lab.result",
    "MassMeter": "unbelief.lab.masses",
    "PretrainConfig": "unbelief.lab.pretrain",
    "QuickstartResult": "unbelief.lab.start",
    "World": "unbelief.lab.world",
    "WorldConfig": "unbelief.lab.world",
    "analyse": "unbelief.lab.analysis",
    "make_world": "unbelief.lab.world",
    "quickstart": "unbelief.lab.start",
    "run_lab": "unbelief.lab.run",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    """Import public names on first use: reading a result needs no torch."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'unbelief.lab' has no attribute {name!r}")


if TYPE_CHECKING:
    from unbelief.lab.analysis import analyse
    from unbelief.lab.masses import MassMeter
    from unbelief.lab.plan import LabConfig
    from unbelief.lab.pretrain import PretrainConfig
    from unbelief.lab.result import LabResult
    from unbelief.lab.run import run_lab
    from unbelief.lab.start import QuickstartResult, quickstart
    from unbelief.lab.world import World, WorldConfig, make_world
