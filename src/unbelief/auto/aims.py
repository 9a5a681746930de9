"""Where a choice is steered to: the marks of every score, and what must stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unbelief.auto.yardstick import TOLD, UTILITY
from unbelief.errors import Inconclusive

LEAST_EXCESS = 0.05
"""Below this the original says no more than a model that never saw the records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Where one score is steered to.

    Attributes:
        original: L_o.
        level: L of a model that never saw the records.
        high: Upper end of its interval; the level itself without one.
    """

    original: float
    level: float
    high: float

    def share(self, leak: float) -> float:
        """Excess leak that is left, as a share of the original's; negative below the level."""
        return (leak - self.level) / (self.original - self.level)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """Where the choice is steered to.

    Attributes:
        marks: By score.
        original_utility: U_o.
        told_level: T of a model that never saw the records; None where it could not be measured.
        keep: τ.
        tolerance: Share of the excess that may be left.
    """

    marks: Mapping[str, Mark]
    original_utility: float
    told_level: float | None
    keep: float
    tolerance: float


def aim_of(
    original: Mapping[str, Any],
    level: Mapping[str, Any],
    scores: Sequence[str],
    keep: float,
    tolerance: float,
) -> Aim:
    """The aim of a choice.

    Args:
        original: Estimates of the original model, by name (`Reading.to_dict`).
        level: The same of one that never saw the records, measured or estimated.
        scores: What the leak is measured by.
        keep: τ.
        tolerance: Share of the excess that may be left.

    Raises:
        Inconclusive: There is no level, no utility, or nothing above the level to forget.
    """
    if not original[UTILITY]["value"]:
        raise _unmeasured(original[UTILITY])
    return Aim(
        marks={name: _mark(name, original[name], level[name]) for name in scores},
        original_utility=original[UTILITY]["value"],
        told_level=level.get(TOLD, {}).get("value") or None,
        keep=keep,
        tolerance=tolerance,
    )


def _mark(score: str, original: Mapping[str, Any], level: Mapping[str, Any]) -> Mark:
    if level["value"] is None:
        raise Inconclusive(
            f"the leak level could not be estimated, because {_why(level)}",
            remedy="give --holdout FILE with records that can be measured, --retrained MODEL, or "
            "--set leak_level=NUMBER with one --set score=NAME, or choose a --method",
        )
    if original["value"] is None:
        raise _unmeasured(original)
    high = level["value"] if level["high"] is None else level["high"]
    if original["value"] - level["value"] < LEAST_EXCESS:
        raise Inconclusive(
            f"there is nothing to forget by this measure: {score} of the original is "
            f"{original['value']:.3f}, and {level['value']:.3f} is the level of a model that never "
            "saw the records",
            remedy="is it the model that knows these records, and did it never see those of "
            "--holdout? or choose a --method",
        )
    return Mark(original=original["value"], level=level["value"], high=high)


def _unmeasured(estimate: Mapping[str, Any]) -> Inconclusive:
    return Inconclusive(
        f"the original model could not be measured, because {_why(estimate)}",
        remedy="is it the model that knows these records? or choose a --method",
    )


def _why(estimate: Mapping[str, Any]) -> str:
    return "; ".join(estimate["reasons"]) or "it has no value"
