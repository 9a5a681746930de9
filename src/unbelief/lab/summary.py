"""What is derived from a lab result: the tables and comparisons of the report, as plain records."""

from __future__ import annotations

from dataclasses import dataclass

from unbelief.types import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model in the table of distances.

    Attributes:
        label: Method, or `original` / `retrained`.
        method: Name of the method; None for the two reference models.
        learning_rate: Of the selected run; None for the reference models.
        step: Selected step; None for the reference models.
        masses: target, other, natural and retained mass.
        distance: To the retrained model.
        last_distance: Distance at the end of the same run, without stopping early.
    """

    label: str
    method: str | None = None
    learning_rate: float | None = None
    step: int | None = None
    masses: dict[str, Estimate]
    distance: Estimate
    last_distance: Estimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GridCell:
    """One method at one learning rate: its smallest distance along the run, and its last."""

    method: str
    learning_rate: float
    best_step: int
    best: float
    last: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Squeeze:
    """Where the target's probability went, at the moment when half of it was gone.

    Attributes:
        method: Name of the method.
        learning_rate: Of the run that is described.
        start: Mass of the other phrasings before unlearning.
        at_half: The same when the target had fallen to half its start; unscored if it never did.
        change: `at_half` − `start`.
        share: How the target's loss is split up: other phrasings, false facts, broken sentences
            (they sum to 1; a negative share lost mass itself).
        peak: Largest mean mass of the other phrasings along the run (a description, no estimate:
            it is chosen by its size).
        peak_step: Where that was.
        verdict: `rose`, `fell`, `unclear` (the interval holds 0) or `not reached`.
    """

    method: str
    learning_rate: float
    start: Estimate
    at_half: Estimate
    change: Estimate
    share: dict[str, float]
    peak: float
    peak_step: int
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualLeak:
    """A method at a level of leak.

    Attributes:
        level: Leak mass.
        method: Name of the method.
        learning_rate: The one with the largest natural + retained mass at this level, among those
            that reach it in at least 95 % of the resamples where there are any; None if no run
            reached the level.
        natural: Natural mass there.
        retained: Retained mass there.
    """

    level: float
    method: str
    learning_rate: float | None
    natural: Estimate
    retained: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A belief method minus another method at equal leak; intervals are of the paired difference.

    Attributes:
        level: Leak mass.
        method: The belief method.
        against: The other one.
        natural: Difference of natural masses.
        retained: Difference of retained masses.
    """

    level: float
    method: str
    against: str
    natural: Estimate
    retained: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlGap:
    """Largest difference of BS-T and its control over all masses, steps and learning rates."""

    method: str
    control: str
    largest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Mean masses along one setting's runs, for figures. P points.

    Attributes:
        method: Name of the method.
        learning_rate: Of the runs.
        selected: Whether this is the method's selected learning rate.
        steps: (P,) optimiser steps.
        masses: target, other, false, natural, retained, leak: (P,) means over people and seeds.
        low: The same at the lower end of the 95 % interval; None where there is none.
        high: The same at the upper end.
    """

    method: str
    learning_rate: float
    selected: bool
    steps: tuple[int, ...]
    masses: dict[str, tuple[float, ...]]
    low: dict[str, tuple[float | None, ...]]
    high: dict[str, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """All that is derived from a result.

    Attributes:
        rows: Original, retrained, then the methods at their selected point.
        grid: Every method at every learning rate.
        squeezes: One per method, for the selected learning rate.
        squeezes_all: One per method and learning rate.
        equal_leak: Level × method.
        contrasts: Level × belief method × other method.
        control_gap: BS-T against its control; None without both.
        series: Curves for figures, one per method and learning rate.
    """

    rows: tuple[Row, ...]
    grid: tuple[GridCell, ...]
    squeezes: tuple[Squeeze, ...]
    squeezes_all: tuple[Squeeze, ...]
    equal_leak: tuple[EqualLeak, ...]
    contrasts: tuple[Contrast, ...]
    control_gap: ControlGap | None
    series: tuple[Series, ...]

    def row(self, method: str) -> Row:
        """Return the selected point of a method."""
        return next(r for r in self.rows if r.method == method)
