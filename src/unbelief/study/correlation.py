r"""Correlations over models with intervals: each number for the data and for resamples.

A resample counts each cluster of models so and so often; row 0 of the weights is the data
themselves. All functions take weights (B, n), not negative, and give (B,) numbers that equal the
plain definition on a sample in which model i occurs w_i times. NaN where a side does not vary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unbelief.scores.resampling import DRAWS, bootstrap_weights
from unbelief.types import Estimate

CONVENTION = "unbelief"
VERSION = 1
MOST_LOST = 0.05
"""An interval is given when at most this share of the resamples has no value."""


def resamples(clusters: Sequence[str], seed: int = 0, draws: int = DRAWS) -> np.ndarray:
    """(1 + draws, n) weights: the data, then resamples of whole clusters.

    With a single cluster there are no resamples: an interval would be made up.

    Args:
        clusters: Cluster of each of n models.
        seed: Of the resampling; the same clusters and seed give paired resamples.
        draws: Number of resamples.
    """
    names, index = np.unique(np.array(clusters), return_inverse=True)
    data = np.ones((1, len(index)))
    if len(names) < 2:
        return data
    drawn = bootstrap_weights(len(names), seed, draws)[:, index] * len(names)
    return np.vstack([data, drawn])


def pearson(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    r"""Pearson's correlation.

    .. math:: r = \frac{\sum_i (x_i - \bar x)(y_i - \bar y)}
                  {\sqrt{\sum_i (x_i - \bar x)^2 \sum_i (y_i - \bar y)^2}}

    Args:
        x: (n,) or (B, n) numbers.
        y: Likewise.
        weights: (B, n).
    """
    dx, dy = _centred(x, weights), _centred(y, weights)
    xx, yy = (weights * dx * dx).sum(axis=1), (weights * dy * dy).sum(axis=1)
    size = np.sqrt(xx * yy)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (weights * dx * dy).sum(axis=1) / size
    varies = _varies(xx, x) & _varies(yy, y)
    found: np.ndarray = np.where(varies, r.clip(-1, 1), np.nan)
    return found


def slope(before: np.ndarray, after: np.ndarray, weights: np.ndarray) -> np.ndarray:
    r"""Slope of the least-squares line of `after` on `before`, with intercept.

    .. math:: b = \frac{\sum_i (x_i - \bar x)(y_i - \bar y)}{\sum_i (x_i - \bar x)^2}
    """
    dx, dy = _centred(before, weights), _centred(after, weights)
    xx = (weights * dx * dx).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        b = (weights * dx * dy).sum(axis=1) / xx
    found: np.ndarray = np.where(_varies(xx, before), b, np.nan)
    return found


def spearman(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman's correlation: Pearson's of the ranks, ties at their mean rank."""
    return pearson(ranks(x, weights), ranks(y, weights), weights)


def ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B, n) ranks within each resample, from 0, ties at their mean; copies of a model tie."""
    below = (values[None, :] < values[:, None]).astype(float)
    same = (values[None, :] == values[:, None]).astype(float)
    found: np.ndarray = weights @ (below + 0.5 * same).T
    return found


def kendall(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    r"""Kendall's tau-b: concordant minus discordant pairs, ties left out of the size of each side.

    .. math:: \tau_b = \frac{\sum_{ij} s^x_{ij} s^y_{ij}}
                       {\sqrt{\sum_{ij} (s^x_{ij})^2 \sum_{ij} (s^y_{ij})^2}},
              \quad s^x_{ij} = \operatorname{sign}(x_i - x_j)
    """
    sx, sy = (np.sign(v[:, None] - v[None, :]) for v in (x, y))

    def pairs(values: np.ndarray) -> np.ndarray:
        found: np.ndarray = ((weights @ values) * weights).sum(axis=1)
        return found

    size = np.sqrt(pairs(sx * sx) * pairs(sy * sy))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 0, pairs(sx * sy) / size, np.nan)


def within(
    rank_x: np.ndarray, rank_y: np.ndarray, groups: Sequence[str], weights: np.ndarray
) -> np.ndarray:
    """Spearman's correlation within groups: ranks over all models, minus their group's mean rank.

    What differs between groups (a method, a world) as a whole is taken out on both sides, so what
    is left is whether the metric moves with the truth inside each group.

    Args:
        rank_x: (B, n) as from `ranks`.
        rank_y: Likewise.
        groups: Group of each model.
        weights: (B, n).
    """
    _, index = np.unique(np.array(groups), return_inverse=True)
    member = np.eye(index.max() + 1)[index]  # (n, G)
    rx, ry = (_minus_group(v, member, weights) for v in (rank_x, rank_y))
    return pearson(rx, ry, weights)


def partial(xy: np.ndarray, xz: np.ndarray, yz: np.ndarray) -> np.ndarray:
    r"""Partial correlation of x and y at equal z, from the three plain ones.

    .. math:: r_{xy \cdot z} = \frac{r_{xy} - r_{xz} r_{yz}}
                               {\sqrt{(1 - r_{xz}^2)(1 - r_{yz}^2)}}
    """
    room = (1 - xz**2) * (1 - yz**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(room > 1e-12, (xy - xz * yz) / np.sqrt(room), np.nan)


def estimate(values: np.ndarray, n: int, unscored: int, unit: str, clusters: str) -> Estimate:
    """Row 0 with the 2.5th and 97.5th percentile of the other rows.

    Args:
        values: (B,) as from the functions above.
        n: Number of models.
        unscored: Models left out.
        unit: Of the number.
        clusters: What was resampled, in words.
    """
    value, draws = float(values[0]), values[1:]
    known = draws[np.isfinite(draws)]
    has_value = bool(np.isfinite(value))
    has_interval = has_value and len(draws) > 0 and len(known) >= (1 - MOST_LOST) * len(draws)
    low, high = np.percentile(known, (2.5, 97.5)) if has_interval else (None, None)
    return Estimate(
        value=value if has_value else None,
        low=None if low is None else float(low),
        high=None if high is None else float(high),
        n=n,
        n_unscored=unscored,
        unit=unit,
        convention=CONVENTION,
        version=VERSION,
        interval=f"bootstrap of {clusters} 95 %" if has_interval else "",
        reasons={} if has_value else {"a side does not vary over the models": 1},
    )


def _centred(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    mean = (weights * values).sum(axis=1) / weights.sum(axis=1)
    found: np.ndarray = values - mean[:, None]
    return found


def _varies(squares: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Whether the sum of squares is more than what rounding makes of equal numbers."""
    scale = float(np.abs(values).max()) if np.size(values) else 0.0
    found: np.ndarray = squares > (1e-12 * max(scale, 1e-300)) ** 2 * np.shape(values)[-1]
    return found


def _minus_group(values: np.ndarray, member: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total, count = (weights * values) @ member, weights @ member
    mean = total / np.where(count > 0, count, 1)
    found: np.ndarray = values - mean @ member.T
    return found
