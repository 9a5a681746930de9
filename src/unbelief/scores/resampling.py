"""Resamples of clusters: which authors or documents a bootstrap draw contains, and how often."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from unbelief.types import Score

DRAWS = 1000


def bootstrap_weights(n: int, seed: int = 0, draws: int = DRAWS) -> np.ndarray:
    """(draws, n) how often each of n clusters occurs in a resample, divided by n."""
    return _weights(n, np.random.default_rng(seed), draws)


def cluster_means(values: Sequence[float] | np.ndarray, clusters: Sequence[str]) -> np.ndarray:
    """Mean of each cluster, in order of first appearance."""
    names = list(dict.fromkeys(clusters))
    index = {name: i for i, name in enumerate(names)}
    where = np.array([index[c] for c in clusters])
    return np.bincount(where, np.asarray(values, float)) / np.bincount(where)


def percentiles(draws: np.ndarray) -> tuple[float, float]:
    """2.5th and 97.5th percentile."""
    low, high = np.percentile(draws, (2.5, 97.5))
    return float(low), float(high)


def cluster_index(scores: Sequence[Score]) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the clusters, sorted, and the cluster of each score.

    A score's cluster is its group, or the item itself where there is no group. Unscored items
    count too, so that all metrics of an item set have the same clusters.

    Returns:
        C names, and (N,) indices into them.
    """
    own = [f"item:{s.example_id}" if s.group is None else f"group:{s.group}" for s in scores]
    names = sorted(set(own))
    index = {name: i for i, name in enumerate(names)}
    return tuple(names), np.array([index[name] for name in own], dtype=np.intp)


def cluster_weights(
    names: Sequence[str], *, stream: str = "", seed: int = 0, draws: int = DRAWS
) -> np.ndarray:
    """(draws, C) how often each cluster occurs in each resample, divided by C.

    They depend on the arguments alone: the same item set gets the same resamples for every metric
    and every model, which makes differences of draws paired.

    Args:
        names: Of the clusters, sorted.
        stream: Name of the item set. Sets whose items happen to bear the same names (row numbers)
            must be resampled independently of one another, and are, when their streams differ.
        seed: Of everything.
        draws: Number of resamples.
    """
    key = json.dumps([seed, stream, list(names)]).encode()
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest()[:16], "big"))
    return _weights(len(names), generator, draws)


def _weights(n: int, generator: np.random.Generator, draws: int) -> np.ndarray:
    return generator.multinomial(n, np.full(n, 1 / n), size=draws) / n
