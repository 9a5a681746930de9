"""Means with intervals: people are the clusters, since a person's facts rise and fall together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unbelief.scores import resampling
from unbelief.scores.resampling import cluster_means, percentiles
from unbelief.types import Estimate

DRAWS = 2000
CONVENTION = "lab"
VERSION = 1


def bootstrap_weights(n: int, seed: int = 0, draws: int = DRAWS) -> np.ndarray:
    """(draws, n) how often each of n clusters occurs in a resample, divided by n."""
    return resampling.bootstrap_weights(n, seed, draws)


def clustered_mean(
    values: Sequence[float] | np.ndarray,
    clusters: Sequence[str],
    *,
    unit: str = "probability",
    seed: int = 0,
) -> Estimate:
    """Mean of the cluster means with a 95 % percentile interval from resampled clusters.

    With clusters of equal size, as everywhere in the lab, this is the plain mean.

    Args:
        values: One number per item.
        clusters: Cluster of each item.
        unit: Of the values.
        seed: Of the resampling.

    Returns:
        `n` counts clusters; with fewer than two there is no interval.

    Raises:
        ValueError: There are no values, or not as many clusters as values.
    """
    if not len(values) or len(values) != len(clusters):
        raise ValueError(f"{len(values)} values for {len(clusters)} clusters")
    means = cluster_means(values, clusters)
    low, high = percentiles(bootstrap_weights(len(means), seed) @ means)
    return estimate(float(means.mean()), low, high, len(means), "clustered bootstrap 95 %", unit)


def seed_mean(values: Sequence[float], *, unit: str = "probability") -> Estimate:
    """Mean over independent seeds with Student's 95 % t-interval.

    Raises:
        ValueError: There are fewer than two values.
    """
    from scipy.stats import t

    x = np.asarray(values, float)
    if len(x) < 2:
        raise ValueError("an interval over seeds needs at least two")
    half = float(t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    mean = float(x.mean())
    return estimate(mean, mean - half, mean + half, len(x), "t-interval over seeds 95 %", unit)


def percentile_estimate(value: float, draws: np.ndarray, n: int, unit: str) -> Estimate:
    """A value with the 2.5th and 97.5th percentile of its bootstrap draws."""
    low, high = percentiles(draws)
    return estimate(value, low, high, n, "clustered bootstrap 95 %", unit)


def estimate(value: float, low: float, high: float, n: int, interval: str, unit: str) -> Estimate:
    """An `Estimate` in the lab's convention; no interval when there is a single cluster."""
    known = n > 1
    return Estimate(
        value=value,
        low=low if known else None,
        high=high if known else None,
        n=n,
        n_unscored=0,
        unit=unit,
        convention=CONVENTION,
        version=VERSION,
        interval=interval if known else "none (one cluster)",
    )
