"""How well one measure stands for another, with intervals over clusters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from unbelief.scores.resampling import DRAWS, percentiles
from unbelief.types import Estimate

VERSION = 1


def pooled_ratio(
    measure: np.ndarray, truth: np.ndarray, clusters: Sequence[str], seed: int = 0
) -> Estimate:
    """Σ measure / Σ truth: above 1 the measure overstates, below 1 it understates.

    Args:
        measure: (N,) not negative.
        truth: (N,) likewise, not all zero.
        clusters: N cluster names; whole clusters are resampled.
        seed: Of the resampling.
    """
    return _resampled(lambda i: float(measure[i].sum() / truth[i].sum()), clusters, "ratio", seed)


def rank_correlation(
    measure: np.ndarray, truth: np.ndarray, clusters: Sequence[str], seed: int = 0
) -> Estimate:
    """Spearman's correlation, ties at their mean rank.

    Args:
        measure: (N,) numbers.
        truth: (N,) numbers.
        clusters: N cluster names; whole clusters are resampled.
        seed: Of the resampling.
    """
    return _resampled(
        lambda i: _pearson(_ranks(measure[i]), _ranks(truth[i])), clusters, "correlation", seed
    )


def share(hits: np.ndarray, clusters: Sequence[str], seed: int = 0) -> Estimate:
    """Share of N items that are true, with an interval over clusters."""
    return _resampled(lambda i: float(hits[i].mean()), clusters, "share", seed)


def _resampled(
    statistic: Callable[[np.ndarray], float], clusters: Sequence[str], unit: str, seed: int
) -> Estimate:
    names, index = np.unique(np.array(clusters), return_inverse=True)
    members = [np.flatnonzero(index == c) for c in range(len(names))]
    generator = np.random.default_rng(seed)
    draws = np.array(
        [
            statistic(
                np.concatenate([members[c] for c in generator.integers(0, len(names), len(names))])
            )
            for _ in range(DRAWS if len(names) > 1 else 0)
        ]
    )
    known = draws[np.isfinite(draws)]
    low, high = percentiles(known) if len(known) > 0.95 * DRAWS else (None, None)
    return Estimate(
        value=statistic(np.arange(len(index))),
        low=low,
        high=high,
        n=len(index),
        n_unscored=0,
        unit=unit,
        convention="unbelief",
        version=VERSION,
        interval="clustered bootstrap 95 %" if low is not None else "",
    )


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, equal values at the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    mean: np.ndarray = (ends - (counts + 1) / 2)[place]
    return mean


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 0 else float("nan")
