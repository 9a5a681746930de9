"""Red team: a model or prompts in, the same kind out; success is judged elsewhere.

Importing this package imports no torch; its names are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "Attacked": "unbelief.interventions.base",
    "Context": "unbelief.interventions.base",
    "Intervention": "unbelief.interventions.base",
    "ModelIntervention": "unbelief.interventions.base",
    "PromptIntervention": "unbelief.interventions.base",
    "Unattackable": "unbelief.interventions.base",
    "attacks": "unbelief.interventions.registry",
    "build_attack": "unbelief.interventions.registry",
}
__all__ = [
    "Attacked",
    "Context",
    "Intervention",
    "ModelIntervention",
    "PromptIntervention",
    "Unattackable",
    "attacks",
    "build_attack",
]


def __getattr__(name: str) -> Any:
    """Import public names on first use."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'unbelief.interventions' has no attribute {name!r}")


if TYPE_CHECKING:
    from unbelief.interventions.base import (
        Attacked,
        Context,
        Intervention,
        ModelIntervention,
        PromptIntervention,
        Unattackable,
    )
    from unbelief.interventions.registry import attacks, build_attack
