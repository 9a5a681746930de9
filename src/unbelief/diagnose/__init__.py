"""What unlearning does to a model's other answers: followed, measured, and explained.

Importing this package imports no torch; its names are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "AkgRequest": "unbelief.diagnose.akg_request",
    "CandidateSet": "unbelief.diagnose.candidates",
    "EffectRequest": "unbelief.diagnose.effect_request",
    "EffectTrackOptions": "unbelief.diagnose.effect_tracker",
    "EffectTracker": "unbelief.diagnose.effect_tracker",
    "ProposeOptions": "unbelief.diagnose.candidates",
    "SqueezeMeter": "unbelief.diagnose.meter",
    "SqueezeRequest": "unbelief.diagnose.request",
    "SqueezeTracker": "unbelief.diagnose.tracker",
    "TrackOptions": "unbelief.diagnose.tracker",
    "choose_records": "unbelief.diagnose.propose",
    "index_of": "unbelief.diagnose.index",
    "propose_candidates": "unbelief.diagnose.propose",
    "run_akg": "unbelief.diagnose.akg_run",
    "run_g_effect": "unbelief.diagnose.effect_run",
    "run_squeeze": "unbelief.diagnose.run",
    "series_of": "unbelief.diagnose.series",
    "squeeze_index": "unbelief.diagnose.index",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    """Import public names on first use."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'unbelief.diagnose' has no attribute {name!r}")


if TYPE_CHECKING:
    from unbelief.diagnose.akg_request import AkgRequest
    from unbelief.diagnose.akg_run import run_akg
    from unbelief.diagnose.candidates import CandidateSet, ProposeOptions
    from unbelief.diagnose.effect_request import EffectRequest
    from unbelief.diagnose.effect_run import run_g_effect
    from unbelief.diagnose.effect_tracker import EffectTracker, EffectTrackOptions
    from unbelief.diagnose.index import index_of, squeeze_index
    from unbelief.diagnose.meter import SqueezeMeter
    from unbelief.diagnose.propose import choose_records, propose_candidates
    from unbelief.diagnose.request import SqueezeRequest
    from unbelief.diagnose.run import run_squeeze
    from unbelief.diagnose.series import series_of
    from unbelief.diagnose.tracker import SqueezeTracker, TrackOptions
