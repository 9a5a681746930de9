r"""How near a model is to where it should be, and which measured step is taken: fixed beforehand.

With L the leak by a score, U the utility and T the naturalness (see `yardstick`), o for the
original and a hat for the level of a model that never saw the records:

.. math:: excess = \max_L \frac{\max(0, L - \hat L)}{L_o - \hat L} \qquad
          below = \max_L \frac{\max(0, \hat L - L)}{L_o - \hat L}

.. math:: lost = \max(0, 1 - U / U_o) \qquad unlike = \max(0, 1 - T / \hat T)

All are shares, and the cost is max(excess, below) + lost + unlike. A step *keeps enough* when
lost ≤ 1 − τ, and has *reached* the level when every excess is within the tolerance, or L at most
its level's upper end and the excess at most a tenth. Of the steps that have both, the cheapest is
taken; the cost is two-sided, so leaking less than the level is no merit. Where no step has both,
the cheapest of those that keep enough is the nearest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from unbelief.auto.aims import Aim
from unbelief.auto.portfolio import Outcome, Strength
from unbelief.auto.yardstick import TOLD, UTILITY, Reading

RUINED = 0.5
"""A trial ends at once where less than this share of the utility is left."""
PATIENCE = 2
"""Measurements without progress after which a trial ends."""
HOPELESS = 3
"""What is lost may be so many times what is allowed, since it comes back as learning rates fall."""
IDLE = 0.5
"""A trial that left more of the excess, and lost less than half of what it may, did too little."""
MOST_LEFT = 0.1
"""A level's interval is believed up to this share of the excess; small data have wide ones."""

_HAIR = 1e-9
"""For rounding: what is exactly at a bound is within it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A trial at one step.

    Attributes:
        step: Optimiser steps taken.
        leak: L, by score.
        utility: U.
        told: T, where measured.
        excess: Share of the original's excess leak that is left, by the worse score.
        below: How far the leak is below the level, as a share of the same, likewise.
        lost: Share of the utility that is gone.
        unlike: Naturalness that lacks, as a share of its level; 0 where it is not measured.
        keeps: Whether enough utility is left.
        reached: Whether the leak is at the level.
    """

    step: int
    leak: Mapping[str, float]
    utility: float
    told: float | None
    excess: float
    below: float
    lost: float
    unlike: float
    keeps: bool
    reached: bool

    @property
    def cost(self) -> float:
        """How far the model is from where it should be, as a sum of shares."""
        return max(self.excess, self.below) + self.lost + self.unlike

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """Better is smaller: at the level and kept, then kept, then the cost."""
        return (not (self.keeps and self.reached), not self.keeps, self.cost)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "cost": self.cost}


def point_of(step: int, reading: Reading, aim: Aim) -> Point | None:
    """A measured step; None where leak or utility could not be measured."""
    leak = {name: reading.value(name) for name in aim.marks}
    utility, told = reading.value(UTILITY), reading.value(TOLD)
    known = {name: value for name, value in leak.items() if value is not None}
    if len(known) < len(leak) or utility is None:
        return None
    shares = {name: aim.marks[name].share(value) for name, value in known.items()}
    lost = max(0.0, 1 - utility / aim.original_utility)
    unlike = 0.0
    if aim.told_level is not None and told is not None:
        unlike = max(0.0, 1 - told / aim.told_level)
    return Point(
        step=step,
        leak=known,
        utility=utility,
        told=told,
        excess=max(0.0, *shares.values()),
        below=max(0.0, *(-share for share in shares.values())),
        lost=lost,
        unlike=unlike,
        keeps=lost <= 1 - aim.keep + _HAIR,
        reached=all(
            share <= aim.tolerance + _HAIR
            or (share <= MOST_LEFT + _HAIR and known[name] <= aim.marks[name].high)
            for name, share in shares.items()
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A run of the search.

    Attributes:
        number: From 0.
        entry: Name in the portfolio.
        strength: Its two knobs.
        points: Measured steps.
        ended: Why it ended, in words.
        seconds: Wall time.
        allowed: Share of the utility that may be lost, 1 − τ.
        diverged: Whether its loss or gradient was not finite.
    """

    number: int
    entry: str
    strength: Strength
    points: tuple[Point, ...]
    ended: str
    seconds: float
    allowed: float
    diverged: bool = False

    @property
    def best(self) -> Point | None:
        """Its best step, the earlier of two equals."""
        return min(self.points, key=lambda p: (p.rank, p.step), default=None)

    @property
    def outcome(self) -> Outcome:
        """What became of it: where its chain goes next follows from this."""
        if self.diverged or not self.points:
            return "diverged"
        if any(p.reached and p.keeps for p in self.points):
            return "reached"
        if not all(p.keeps for p in self.points):
            return "harmful"
        last = self.points[-1]
        return "idle" if last.excess > IDLE and last.lost <= self.allowed / 2 else "weak"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "number": self.number,
            "entry": self.entry,
            **asdict(self.strength),
            "points": [p.to_dict() for p in self.points],
            "outcome": self.outcome,
            "ended": self.ended,
            "seconds": round(self.seconds, 2),
            "allowed": self.allowed,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Trial:
        """What `to_dict` wrote."""
        names = Point.__dataclass_fields__
        points = [{k: v for k, v in p.items() if k in names} for p in values["points"]]
        return cls(
            number=values["number"],
            entry=values["entry"],
            strength=Strength(
                learning_rate=values["learning_rate"], forget_weight=values["forget_weight"]
            ),
            points=tuple(Point(**p) for p in points),
            ended=values["ended"],
            seconds=values["seconds"],
            allowed=values["allowed"],
            diverged=values["outcome"] == "diverged",
        )


def should_end(points: Sequence[Point], allowed: float) -> str | None:
    """Why a trial need not go on after its last measurement, or None.

    Args:
        points: What was measured so far.
        allowed: Share of the utility that may be lost, 1 − τ.
    """
    last = points[-1]
    if last.lost > RUINED:
        return "more than half of the utility was lost"
    recent = [p.lost for p in points[-PATIENCE:]]
    if len(recent) == PATIENCE and min(recent) > HOPELESS * allowed and recent[-1] >= recent[0]:
        return "it lost far more than allowed, and ever more"
    reached = [p for p in points if p.reached]
    best = min(points, key=lambda p: (p.rank, p.step))
    if reached and best.reached and len(points) - 1 - points.index(best) >= PATIENCE:
        return "the level was reached, and it only grew worse"
    return None
