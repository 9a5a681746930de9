"""Do judges agree with one another, and with people? Weighted kappa and Krippendorff's alpha.

Both are 1 at perfect agreement and 0 at that of chance; systematic disagreement is below 0.
Intervals come from resampled units (or their clusters). Where nobody ever varies, chance agreement
is perfect as well, and there is no value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from unbelief.scores.base import Statistic
from unbelief.scores.resampling import DRAWS, cluster_index, cluster_weights
from unbelief.scores.statistics import BOOTSTRAP
from unbelief.types import Score

Weights = Literal["none", "linear", "quadratic"]
Level = Literal["nominal", "ordinal", "interval"]
Rating = int | None

UNIT = "coefficient"
_STREAM = "agreement"


def weighted_kappa(
    first: Sequence[Rating],
    second: Sequence[Rating],
    *,
    weights: Weights = "quadratic",
    clusters: Sequence[str] | None = None,
    seed: int = 0,
) -> Statistic:
    r"""Cohen's kappa of two raters, with disagreements weighted by their size.

    .. math:: \kappa = 1 - \frac{\sum_{ij} w_{ij}\, o_{ij}}{\sum_{ij} w_{ij}\, p_i q_j}

    with o the share of units rated i by the first and j by the second, p and q its margins, and
    w = [i ≠ j], |i - j| or (i - j)². Cohen, Psychological Bulletin 70 (1968) 213.

    Args:
        first: One rating per unit; None is missing, and the unit is left out and counted.
        second: The other rater's, of the same units.
        weights: `none` is the unweighted kappa.
        clusters: Name of each unit's cluster (author, document); by default each is its own.
        seed: Of the resampling.

    Raises:
        ValueError: The raters have different numbers of units.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} ratings against {len(second)}")
    values = _values([first, second])
    where = {value: i for i, value in enumerate(values)}
    tables = np.zeros((len(first), len(values), len(values)))
    for unit, (a, b) in enumerate(zip(first, second, strict=True)):
        if a is not None and b is not None:
            tables[unit, where[a], where[b]] = 1
    apart = np.abs(np.subtract.outer(values, values)).astype(float)
    cost = {"none": (apart > 0).astype(float), "linear": apart, "quadratic": apart**2}[weights]

    def kappa(table: np.ndarray) -> np.ndarray:
        n = table.sum((-2, -1))
        observed = (cost * table).sum((-2, -1)) / n
        p, q = table.sum(-1), table.sum(-2)
        expected = np.einsum("...i,ij,...j->...", p, cost, q) / n**2
        return 1 - observed / expected

    return _statistic(kappa, tables, "not rated by both", clusters, seed)


def krippendorff_alpha(
    ratings: Sequence[Sequence[Rating]],
    *,
    level: Level = "ordinal",
    clusters: Sequence[str] | None = None,
    seed: int = 0,
) -> Statistic:
    r"""Krippendorff's alpha of any number of raters, with missing ratings.

    .. math:: \alpha = 1 - (n - 1) \frac{\sum_{ck} o_{ck}\,\delta^2_{ck}}
        {\sum_{ck} n_c n_k\,\delta^2_{ck}}, \qquad
        o_{ck} = \sum_u \frac{n_{uc} (n_{uk} - [c = k])}{m_u - 1}

    with n_uc the number of ratings c of unit u, m_u = Σ_c n_uc ≥ 2, n_c = Σ_k o_ck, n = Σ_c n_c,
    and δ² = [c ≠ k] (nominal), the squared distance of mid-ranks (ordinal) or of values (interval).
    Krippendorff, Computing Krippendorff's Alpha-Reliability (2011).

    The interval resamples units, which is not the bootstrap of that paper (it resamples pairs).

    Args:
        ratings: Raters × units; None is missing. Units with fewer than two ratings are left out
            and counted.
        level: What differences between grades mean.
        clusters: As for `weighted_kappa`.
        seed: Of the resampling.

    Raises:
        ValueError: There are fewer than two raters, or they have different numbers of units.
    """
    if len(ratings) < 2 or len({len(row) for row in ratings}) != 1:
        raise ValueError("two or more raters of the same units are needed")
    values = _values(ratings)
    counts = (
        np.array(
            [
                [[row[u] == value for value in values] for row in ratings]
                for u in range(len(ratings[0]))
            ],
            dtype=float,
        )
        .reshape(len(ratings[0]), len(ratings), len(values))
        .sum(1)
    )
    size = counts.sum(-1)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(len(values))
    coincidences = np.where(
        (size > 1)[:, None, None], pairs / np.maximum(size - 1, 1)[:, None, None], 0.0
    )

    def alpha(table: np.ndarray) -> np.ndarray:
        margins = table.sum(-1)
        squared = _squared_distance(margins, np.array(values, float), level)
        observed = (table * squared).sum((-2, -1))
        expected = (margins[..., :, None] * margins[..., None, :] * squared).sum((-2, -1))
        return 1 - (margins.sum(-1) - 1) * observed / expected

    return _statistic(alpha, coincidences, "rated by fewer than two", clusters, seed)


def _squared_distance(margins: np.ndarray, values: np.ndarray, level: Level) -> np.ndarray:
    """(..., K, K) δ² between categories."""
    if level == "nominal":
        return 1 - np.eye(len(values))
    # Half of one's own category plus all below it: the distance of two of these is Krippendorff's
    # n_c / 2 + everything between + n_k / 2.
    at = margins.cumsum(-1) - margins / 2 if level == "ordinal" else values
    return (at[..., :, None] - at[..., None, :]) ** 2


def _values(ratings: Sequence[Sequence[Rating]]) -> list[int]:
    return sorted({value for row in ratings for value in row if value is not None})


def _statistic(
    formula: Callable[[np.ndarray], np.ndarray],
    tables: np.ndarray,
    left_out: str,
    clusters: Sequence[str] | None,
    seed: int,
) -> Statistic:
    """A coefficient of summed tables (U, K, K), one per unit; units without one are left out."""
    used = tables.sum((1, 2)) > 0
    n, lost = int(used.sum()), int((~used).sum())
    reasons = Counter({left_out: lost} if lost else {})
    if not n:
        return Statistic(value=None, n_unscored=lost, reasons=reasons, unit=UNIT)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(formula(tables.sum(0)))
    if not np.isfinite(value):
        reasons["all ratings are the same, so chance agreement is perfect too"] += 1
        return Statistic(value=None, n_unscored=lost, reasons=reasons, unit=UNIT)
    own = [str(u) for u in range(len(tables))] if clusters is None else clusters
    scores = [Score(0.0, None, str(u), own[u]) for u in np.flatnonzero(used).tolist()]
    names, index = cluster_index(scores)
    draws = None
    if len(names) > 1:
        summed = np.zeros((len(names), *tables.shape[1:]))
        np.add.at(summed, index, tables[used])
        # Weights are shares; alpha counts ratings, so they are made counts again.
        times = cluster_weights(names, stream=_STREAM, seed=seed, draws=DRAWS) * len(names)
        with np.errstate(invalid="ignore", divide="ignore"):
            draws = formula(np.einsum("bc,cij->bij", times, summed))
        draws[~np.isfinite(draws)] = np.nan
    return Statistic(
        value=value,
        draws=draws,
        n=n,
        n_unscored=lost,
        reasons=reasons,
        unit=UNIT,
        interval=BOOTSTRAP if draws is not None else "none (one cluster)",
    )
