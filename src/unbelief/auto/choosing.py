"""Which trial and step are taken, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unbelief.auto.judging import Point, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The trial and step that are taken.

    Attributes:
        trial: The trial.
        point: Its step.
        reached: Whether it is at the level and keeps enough; otherwise it is only the nearest.
    """

    trial: Trial
    point: Point
    reached: bool


def choose(trials: Sequence[Trial], original_cost: float) -> Choice | None:
    """The best step of the best trial, the earlier trial of two equals.

    Args:
        trials: All.
        original_cost: Cost of doing nothing.

    Returns:
        None where no step is better than doing nothing.
    """
    measured = [(t, t.best) for t in trials]
    known = [(t, p) for t, p in measured if p is not None]
    if not known:
        return None
    trial, point = min(known, key=lambda tp: (tp[1].rank, tp[0].number))
    reached = point.keeps and point.reached
    if not reached and point.cost >= original_cost:
        return None
    return Choice(trial=trial, point=point, reached=reached)


def why_not(trial: Trial, choice: Choice) -> str | None:
    """Why a trial was not taken, in words; None for the one that was."""
    if trial.number == choice.trial.number:
        return None
    best = trial.best
    if best is None:
        return f"nothing of it could be measured: {trial.ended}"
    at = f"at its best step ({best.step})"
    if choice.reached and not best.reached:
        return f"{at} {best.excess:.0%} of the excess leak was left: not at the level"
    if not best.keeps:
        return f"{at} it had lost {best.lost:.1%} of the utility: more than asked"
    return f"{at} its cost is {best.cost:.3f}, not below {choice.point.cost:.3f}"
