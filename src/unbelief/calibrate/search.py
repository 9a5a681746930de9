r"""The largest α at which enough is kept: a grid, then bisection. Knows no model.

.. math:: \alpha^* = \max\{\alpha : M_{retain}(\theta(\alpha)) \ge \tau\, M_{retain}(\theta_o)\}

α = 0 is the original and α = 1 the unlearned model. That the score falls with α is a rule of thumb
and not a theorem: the grid is run to its end, and where the rule fails it is said.

Source: Wang et al. 2025, Towards Effective Evaluations and Comparisons for LLM Unlearning Methods,
for the definition. No search was published; grid, bisection and flags are ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

TOLERANCE = 0.005
"""The bisection also ends at a feasible α whose score is this near to the bar, in units of the
original's score."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """The score at one α.

    Attributes:
        alpha: Where.
        value: M_retain there.
        feasible: Whether it reaches the bar.
        stage: What asked for it.
    """

    alpha: float
    value: float
    feasible: bool
    stage: Literal["grid", "bisection"]


@dataclass(frozen=True, kw_only=True)
class Search:
    """What the search found.

    Attributes:
        alpha: α*, the largest feasible α that was tried.
        bar: τ · M_retain(θ_o).
        kept: M_retain(θ(α*)) / M_retain(θ_o).
        binding: False when the unlearned model itself is feasible, so that α* = 1.
        monotone: Whether every grid point below α* is feasible too.
        first_infeasible: The smallest infeasible α that was tried; below α* where the curve is not
            monotone.
        largest_rise: The largest rise of the score from one grid point to the next, in units of
            the original's score; 0 where it never rises.
        curve: All that was tried, by α.
    """

    alpha: float
    bar: float
    kept: float
    binding: bool
    monotone: bool
    first_infeasible: float | None
    largest_rise: float
    curve: tuple[Tried, ...]


def find_alpha(
    score: Callable[[float], float], *, keep: float, grid: float = 0.05, width: float = 0.005
) -> Search:
    """Search for α*.

    The largest feasible grid point is taken, also where smaller ones are infeasible (`monotone`
    is then False and `first_infeasible` below α*), and the interval up to the next grid point is
    halved until it is narrow or its feasible end is near the bar; that end is α*.

    Args:
        score: M_retain(θ(α)), a share or another number that is higher the more is kept.
        keep: τ, in (0, 1].
        grid: Step of the grid; 1 / grid is a whole number.
        width: Where the bisection ends.

    Raises:
        ValueError: The original's score is not above 0: there is no share of it to keep.
    """
    steps = round(1 / grid)
    base = score(0.0)
    if not base > 0:
        raise ValueError(f"the original's score is {base}, so there is no share of it to keep")
    bar = keep * base

    def tried(alpha: float, value: float, stage: Literal["grid", "bisection"]) -> Tried:
        return Tried(alpha=alpha, value=value, feasible=value >= bar, stage=stage)

    points = [tried(0.0, base, "grid")]
    points += [tried(i / steps, score(i / steps), "grid") for i in range(1, steps + 1)]
    best = max((p for p in points if p.feasible), key=lambda p: p.alpha)
    rises = [b.value - a.value for a, b in itertools.pairwise(points)]
    monotone = all(p.feasible for p in points if p.alpha <= best.alpha)
    low, high, halves = best, best.alpha + 1 / steps, []
    while best.alpha < 1 and high - low.alpha > width:
        middle = (low.alpha + high) / 2
        point = tried(middle, score(middle), "bisection")
        halves.append(point)
        low, high = (point, high) if point.feasible else (low, middle)
        # Near the bar from below is no reason to stop: the feasible end may be far above it.
        if point.feasible and point.value - bar <= TOLERANCE * base:
            break
    curve = tuple(sorted([*points, *halves], key=lambda p: p.alpha))
    infeasible = [p.alpha for p in curve if not p.feasible]
    return Search(
        alpha=low.alpha,
        bar=bar,
        kept=low.value / base,
        binding=best.alpha < 1,
        monotone=monotone,
        first_infeasible=min(infeasible, default=None),
        largest_rise=max(0.0, *rises) / base,
        curve=curve,
    )
