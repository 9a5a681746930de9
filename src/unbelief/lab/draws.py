"""Curves with their uncertainty: every mean is computed for the data and for resamples of people.

Row 0 of each matrix is the data themselves, the other rows are bootstrap resamples. All runs of a
seed share one set of resamples, so a difference of two methods, row by row, is paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unbelief.lab.intervals import (
    CONVENTION,
    DRAWS,
    VERSION,
    bootstrap_weights,
    percentile_estimate,
    seed_mean,
)
from unbelief.lab.result import Curve, LabResult, Point
from unbelief.types import Estimate

MOST_LOST = 0.05
"""An interval is given when at most this share of the resamples has no value."""


@dataclass(frozen=True)
class Bands:
    """Mean masses along a run. D rows (data, then resamples), P points.

    Attributes:
        steps: (P,) optimiser steps.
        target: (D, P) the phrasing to be forgotten.
        leak: (D, P) the fact in any phrasing.
        natural: (D, P) all grammatical answers.
        retained: (D, P) facts of the people to keep.
    """

    steps: np.ndarray
    target: np.ndarray
    leak: np.ndarray
    natural: np.ndarray
    retained: np.ndarray

    @property
    def other(self) -> np.ndarray:
        """(D, P) the fact in other phrasings than the one to be forgotten."""
        return self.leak - self.target

    @property
    def false(self) -> np.ndarray:
        """(D, P) grammatical answers that are false."""
        return self.natural - self.leak


class Sampler:
    """Resamples of the people of one seed.

    Args:
        forget: Number of people to forget.
        retain: Number of people to keep that were measured.
        seed: Of the resampling.
    """

    def __init__(self, forget: int, retain: int, seed: int, draws: int = DRAWS):
        self._forget = _with_data(bootstrap_weights(forget, 2 * seed, draws))
        self._retain = _with_data(bootstrap_weights(retain, 2 * seed + 1, draws))

    def bands(self, points: Sequence[Point]) -> Bands:
        """Mean masses at each point."""

        def mean(name: str, weights: np.ndarray) -> np.ndarray:
            return weights @ np.array([getattr(p, name) for p in points]).T

        return Bands(
            steps=np.array([p.step for p in points], float),
            target=mean("target", self._forget),
            leak=mean("leak", self._forget),
            natural=mean("natural", self._forget),
            retained=mean("retained", self._retain),
        )


@dataclass(frozen=True)
class Drawn:
    """A lab result with all its curves resampled.

    Attributes:
        result: What was measured.
        runs: Curve and bands by (method, learning rate), one per seed, in order of the seeds.
        original: Bands of the original models, a single point each.
        retrained: Bands of the retrained models, likewise.
    """

    result: LabResult
    runs: dict[tuple[str, float], list[tuple[Curve, Bands]]]
    original: list[Bands]
    retrained: list[Bands]

    def bands(self, method: str, learning_rate: float) -> list[Bands]:
        """Bands of one setting, one per seed."""
        return [bands for _, bands in self.runs[method, learning_rate]]

    def estimate(self, per_seed: Sequence[np.ndarray], unit: str = "probability") -> Estimate:
        """Turn a statistic into an estimate: its value per seed in row 0, resamples below.

        One seed: interval over people. Several: mean and interval over seeds. A statistic without
        a value (NaN) in some seed is left out of the mean and counted as unscored.
        """
        people = len(self.result.references[0].original.target)
        values = [float(v[0]) for v in per_seed]
        known = [v for v in values if np.isfinite(v)]
        lost = len(values) - len(known)
        if not known:
            return _unscored(lost, unit)
        if len(values) == 1:
            draws = per_seed[0][1:]
            finite = draws[np.isfinite(draws)]
            if len(finite) < (1 - MOST_LOST) * len(draws):
                return _without_interval(values[0], people, 0, unit)
            return percentile_estimate(values[0], finite, people, unit)
        if len(known) == 1:
            return _without_interval(known[0], 1, lost, unit)
        mean = seed_mean(known, unit=unit)
        return Estimate(
            value=mean.value,
            low=mean.low,
            high=mean.high,
            n=mean.n,
            n_unscored=lost,
            unit=unit,
            convention=mean.convention,
            version=mean.version,
            interval=mean.interval,
            reasons={"level not reached": lost} if lost else {},
        )


def draw(result: LabResult, draws: int = DRAWS) -> Drawn:
    """Resample all curves of a result."""
    samplers = {
        r.seed: Sampler(len(r.original.target), len(r.original.retained), r.seed, draws)
        for r in result.references
    }
    order = {seed: i for i, seed in enumerate(result.seeds)}
    runs: dict[tuple[str, float], list[tuple[Curve, Bands]]] = {}
    for curve in sorted(result.curves, key=lambda c: order[c.seed]):
        bands = samplers[curve.seed].bands(curve.points)
        runs.setdefault((curve.method, curve.learning_rate), []).append((curve, bands))
    return Drawn(
        result,
        runs,
        [samplers[r.seed].bands([r.original]) for r in result.references],
        [samplers[r.seed].bands([r.retrained]) for r in result.references],
    )


def crossing(values: np.ndarray, level: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a falling curve first reaches a level, by linear interpolation.

    Args:
        values: (D, P) a curve per row.
        level: The level, or (D,) one per row.

    Returns:
        (D,) index of the point at or after the crossing (P where it is never reached), and (D,)
        how far between the point before and that one it lies, in [0, 1].
    """
    reached = values <= np.broadcast_to(np.asarray(level, float), values.shape[:1])[:, None]
    index = np.where(reached.any(axis=1), reached.argmax(axis=1), values.shape[1])
    after = index.clip(1, values.shape[1] - 1)
    rows = np.arange(len(values))
    high, low = values[rows, after - 1], values[rows, after]
    gap = np.where(high > low, high - low, 1.0)
    share = np.where(index == 0, 0.0, (high - level) / gap)
    return index, share.clip(0, 1)


def at_crossing(values: np.ndarray, where: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(D,) another curve's value at a crossing; NaN in rows that never reach it."""
    index, share = where
    last = values.shape[1] - 1
    rows = np.arange(len(values))
    before = values[rows, (index - 1).clip(0, last)]
    after = values[rows, index.clip(0, last)]
    inner = before + share * (after - before)
    at = np.where(index == 0, values[rows, 0], inner)
    return np.where(index > last, np.nan, at)


def _with_data(weights: np.ndarray) -> np.ndarray:
    return np.vstack([np.full(weights.shape[1], 1 / weights.shape[1]), weights])


def _unscored(lost: int, unit: str) -> Estimate:
    return Estimate(
        value=None,
        low=None,
        high=None,
        n=0,
        n_unscored=lost,
        unit=unit,
        convention=CONVENTION,
        version=VERSION,
        interval="none",
        reasons={"level not reached": lost},
    )


def _without_interval(value: float, n: int, lost: int, unit: str) -> Estimate:
    return Estimate(
        value=value,
        low=None,
        high=None,
        n=n,
        n_unscored=lost,
        unit=unit,
        convention=CONVENTION,
        version=VERSION,
        interval="none (level reached too rarely)",
        reasons={"level not reached": lost} if lost else {},
    )
