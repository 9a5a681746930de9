r"""The squeeze index: how much the likeliest other answers rose while the target fell.

With T_t the target's and H_t the high band's mean log-probability per token at point t (nats per
token; t = 0 is the original model), for one prompt or for means over prompts:

    rise_t = H_t − H_0        fall_t = T_0 − T_t        squeeze_t = min(rise_t, fall_t)
    index  = max_t squeeze_t  (t = 0 included, so the index is never negative)

The minimum asks for both at once: it is positive only where the target is below and the high band
above its start, and it counts what both did. A collapse (both fall) gives 0, a model that relearns
(both rise) gives 0, a method that moves the target alone gives 0. The maximum over points is there
because under gradient ascent the high band rises first and falls later: the end alone would show
nothing. At a single point the signed values are given too: rise, fall, squeeze, and

    gap = rise + fall = (H_t − T_t) − (H_0 − T_0),

by how much the high band drew nearer to the target or passed it, whichever way both moved.

There are three forms of it. `whole` takes all tokens of a candidate, as the paper does. Candidates
of a model that knows the target by heart begin as the target does, and then most of what `whole`
shows is the target's own fall. `own` takes a candidate's tokens from the first on in which it
differs from the target, given what they share: did the model turn to it where the two part?
`probability` takes T = π(target | x) and H = Σ π(y | x) over the high band: how much probability
changed hands. Where every phrasing is known it is the form that tells the truth (docs/diagnose.md);
for long answers all probabilities are next to nothing, and so is it.

A maximum over noisy points leans upwards. So the index of a set is that of the mean curves, not
the mean of the prompts' indices (which is given beside it), and each resample of the interval
takes its own maximum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unbelief.diagnose.series import Form, Series
from unbelief.scores.resampling import cluster_index, cluster_weights, percentiles
from unbelief.types import Estimate, Score

VERSION = 1
UNIT = "nats per token"
INTERVAL = "clustered bootstrap 95 %"


def squeeze(target: np.ndarray, high: np.ndarray) -> np.ndarray:
    """min(rise, fall) along the last axis; (..., T) to (..., T)."""
    rise, fall = high - high[..., :1], target[..., :1] - target
    return np.minimum(rise, fall)


def squeeze_index(target: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The largest squeeze along the last axis, (..., T) to (...)."""
    return squeeze(target, high).max(axis=-1)


@dataclass(frozen=True)
class Resampled:
    """Means over prompts for the data (row 0) and for resamples of their clusters (other rows).

    Attributes:
        weights: (1 + B, C) how often each cluster counts.
        cluster: (P,) cluster of each prompt.
    """

    weights: np.ndarray
    cluster: np.ndarray

    @classmethod
    def over(
        cls, record_ids: Sequence[str], groups: Sequence[str | None], seed: int = 0
    ) -> Resampled:
        """Resamples that depend on ids, groups and seed alone, so that runs are paired.

        They are the same whatever order the prompts come in.
        """
        scores = [Score(0.0, None, i, g) for i, g in zip(record_ids, groups, strict=True)]
        names, cluster = cluster_index(scores)
        drawn = cluster_weights(names, stream="squeeze", seed=seed)
        return cls(np.vstack([np.full(len(names), 1 / len(names)), drawn]), cluster)

    @property
    def clusters(self) -> int:
        """C."""
        return self.weights.shape[1]

    def means(self, values: np.ndarray) -> np.ndarray:
        """(P, T) to (1 + B, T): means over the prompts that have a value at every point.

        NaN where a resample has no such prompt.
        """
        known = np.isfinite(values).all(axis=1)
        sums = np.zeros((self.clusters, values.shape[1]))
        np.add.at(sums, self.cluster[known], values[known])
        counts = np.bincount(self.cluster[known], minlength=self.clusters)
        with np.errstate(invalid="ignore"):
            return (self.weights @ sums) / (self.weights @ counts)[:, None]

    def estimate(self, drawn: np.ndarray, n: int, n_unscored: int, unit: str = UNIT) -> Estimate:
        """A value (entry 0) with the percentiles of its resamples (the other entries)."""
        value, draws = float(drawn[0]), drawn[1:][np.isfinite(drawn[1:])]
        known = bool(np.isfinite(value)) and self.clusters > 1 and len(draws) > 0.95 * len(drawn)
        low, high = percentiles(draws) if known else (None, None)
        return Estimate(
            value=value if np.isfinite(value) else None,
            low=low,
            high=high,
            n=n,
            n_unscored=n_unscored,
            unit=unit,
            convention="unbelief",
            version=VERSION,
            interval=INTERVAL if known else "",
        )


@dataclass(frozen=True, kw_only=True)
class SqueezeIndex:
    """What a series shows. T points.

    Attributes:
        index: Of the mean curves.
        at: Position (0 .. T-1) of the point where they reach it; 0 when they never squeeze.
        rise: Per point, of the mean curves.
        fall: Likewise.
        squeeze: Likewise.
        gap: Likewise.
        prompts: (P,) index of each prompt; NaN where it has none.
        mean_of_prompts: Mean of these.
        share: Share of the prompts whose own index is above zero.
    """

    index: Estimate
    at: int
    rise: tuple[Estimate, ...]
    fall: tuple[Estimate, ...]
    squeeze: tuple[Estimate, ...]
    gap: tuple[Estimate, ...]
    prompts: np.ndarray
    mean_of_prompts: Estimate
    share: Estimate


def index_of(series: Series, form: Form = "whole", seed: int = 0) -> SqueezeIndex:
    """The squeeze index of a series with its interval over clusters of prompts.

    Args:
        series: The curves.
        form: How the high band is looked at.
        seed: Of the resampling.
    """
    resampled = Resampled.over(series.record_ids, series.groups, seed)
    scored, (own_target, own_high) = series.scored(form), series.pair(form)
    unit = "probability" if form == "probability" else UNIT
    n, lost = int(scored.sum()), int((~scored).sum())
    target = resampled.means(np.where(scored[:, None], own_target, np.nan))
    high = resampled.means(np.where(scored[:, None], own_high, np.nan))
    rise, fall = high - high[:, :1], target[:, :1] - target
    both = squeeze(target, high)
    own = np.full(len(scored), np.nan)
    own[scored] = squeeze_index(own_target[scored], own_high[scored])

    def per_point(values: np.ndarray) -> tuple[Estimate, ...]:
        return tuple(
            resampled.estimate(values[:, t], n, lost, unit) for t in range(values.shape[1])
        )

    positive = np.where(scored, (own > 0).astype(float), np.nan)
    return SqueezeIndex(
        index=resampled.estimate(both.max(axis=1), n, lost, unit),
        at=int(np.nanargmax(both[0])) if n else 0,
        rise=per_point(rise),
        fall=per_point(fall),
        squeeze=per_point(both),
        gap=per_point(rise + fall),
        prompts=own,
        mean_of_prompts=resampled.estimate(resampled.means(own[:, None])[:, 0], n, lost, unit),
        share=resampled.estimate(resampled.means(positive[:, None])[:, 0], n, lost, "share"),
    )
