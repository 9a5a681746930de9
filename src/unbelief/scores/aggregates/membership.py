"""Membership inference between a forget set and texts the model never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unbelief.scores.base import Aggregate, Better, Statistic
from unbelief.scores.comparing import expect
from unbelief.scores.resampling import cluster_index, cluster_weights
from unbelief.scores.statistics import BOOTSTRAP, missing

_CLOSER: Better = "closer to the retrained model"


@dataclass(frozen=True)
class MiaAuc(Aggregate):
    r"""Area under the ROC curve of a membership score, forget items against holdout items.

    .. math:: AUC = P(s_{forget} < s_{holdout}) + \tfrac12 P(s_{forget} = s_{holdout})

    Inputs: the score on the forget set, then on the holdout set. Orientation: **a lower score
    marks a member**, so 1 means that every forget item looks more like training data than every
    holdout item, and ½ that they look alike. In [0, 1]. Forget and holdout items differ in more
    than membership, so a clean model need not be at ½: compare with the retrained model.

    The interval resamples the clusters of both sides, independently.

    Attributes:
        seed: Of the resampling.
    """

    name: ClassVar[str] = "mia_auc"
    summary: ClassVar[str] = "AUC of a membership score, forget against holdout; 1 = all exposed"
    unit: ClassVar[str] = "probability"
    source: ClassVar[str] = "Mann and Whitney 1947; MUSE, arXiv 2407.06460"
    better: ClassVar[Better] = _CLOSER

    seed: int = 0

    def combine(
        self, inputs: Sequence[Statistic], reference: Sequence[Statistic] | None
    ) -> Statistic:
        """The AUC of (forget, holdout)."""
        forget, holdout = expect(inputs, 2, self.name)
        if reason := _empty(forget, holdout):
            return missing(reason, unit=self.unit, version=self.version)
        members, others = (
            _Side.of(forget, "members", self.seed),
            _Side.of(holdout, "others", self.seed),
        )
        ranks = np.sign(others.values - members.values[:, None])  # (forget, holdout)
        wins = (ranks + 1) / 2
        drawn = None
        if members.weights is not None and others.weights is not None:
            with np.errstate(invalid="ignore"):
                drawn = ((members.weights @ wins) * others.weights).sum(axis=1).clip(0, 1)
        return _result(self, float(wins.mean()), drawn, forget, holdout)


@dataclass(frozen=True)
class MiaTprAtFpr(Aggregate):
    """Share of forget items that a membership score exposes while few holdout items are accused.

    Inputs and orientation as for `mia_auc`. The threshold is the lowest holdout score at which
    more than the allowed share of holdout items would be accused; forget items below it count. In
    [0, 1]. Fewer than 1/fpr holdout items cannot resolve it: then there is no value.

    Attributes:
        fpr: Largest share of holdout items accused.
        seed: Of the resampling, which is that of both sides, independently.

    Source: Carlini et al. 2022.
    """

    name: ClassVar[str] = "mia_tpr_at_fpr"
    summary: ClassVar[str] = "forget items exposed at 1 % false alarms among holdout items"
    unit: ClassVar[str] = "share"
    source: ClassVar[str] = "Carlini et al. 2022, arXiv 2112.03570"
    better: ClassVar[Better] = _CLOSER

    fpr: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.fpr < 1:
            raise ValueError(f"fpr must be between 0 and 1, not {self.fpr}")

    def combine(
        self, inputs: Sequence[Statistic], reference: Sequence[Statistic] | None
    ) -> Statistic:
        """The true positive rate of (forget, holdout)."""
        forget, holdout = expect(inputs, 2, self.name)
        if reason := _empty(forget, holdout):
            return missing(reason, unit=self.unit, version=self.version)
        if holdout.n * self.fpr < 1 - 1e-9:
            return missing(
                f"{holdout.n} holdout items cannot resolve a false positive rate of {self.fpr:g}",
                unit=self.unit,
                version=self.version,
            )
        members = _Side.of(forget, "members", self.seed)
        others = _Side.of(holdout, "others", self.seed)
        value = self._rate(members, others, members.even, others.even)[0]
        drawn = None
        if members.weights is not None and others.weights is not None:
            drawn = self._rate(members, others, members.weights, others.weights)
        return _result(self, float(value), drawn, forget, holdout)

    def _rate(
        self, members: _Side, others: _Side, own: np.ndarray, other: np.ndarray
    ) -> np.ndarray:
        """(B,) rates under (B, N) item weights of both sides that sum to 1."""
        order = np.argsort(others.values)
        accused = np.cumsum(other[:, order], axis=1)
        # The first holdout item whose accusation is one too many; rounding must not make it one.
        first = np.argmax(accused > self.fpr + 1e-9, axis=1)
        threshold = others.values[order][first]
        below = members.values < threshold[:, None]
        return (own * below).sum(axis=1).clip(0, 1)


class _Side:
    """The scored items of one side.

    Attributes:
        values: (N,) scores.
        even: (1, N) equal weights.
        weights: (B, N) weights of the items in resamples of the clusters, each row with sum 1;
            None with fewer than two clusters.
    """

    def __init__(self, values: np.ndarray, weights: np.ndarray | None):
        self.values, self.weights = values, weights
        self.even = np.full((1, len(values)), 1 / len(values))

    @classmethod
    def of(cls, statistic: Statistic, stream: str, seed: int) -> _Side:
        """The items of a statistic. Streams differ, so that the sides are drawn independently."""
        names, index = cluster_index(statistic.scores)
        known = [i for i, s in enumerate(statistic.scores) if s.value is not None]
        values = np.array([statistic.scores[i].value for i in known], float)
        inside = index[known]
        if len(set(inside.tolist())) < 2:
            return cls(values, None)
        weights = cluster_weights(names, stream=stream, seed=seed)[:, inside]
        with np.errstate(invalid="ignore"):
            return cls(values, weights / weights.sum(axis=1, keepdims=True))


def _empty(forget: Statistic, holdout: Statistic) -> str:
    for side, one in (("forget", forget), ("holdout", holdout)):
        if not any(s.value is not None for s in one.scores):
            return f"no {side} item was scored"
    return ""


def _result(
    one: Aggregate, value: float, drawn: np.ndarray | None, forget: Statistic, holdout: Statistic
) -> Statistic:
    reasons = {**forget.reasons}
    for reason, n in holdout.reasons.items():
        reasons[reason] = reasons.get(reason, 0) + n
    return Statistic(
        value=value,
        draws=drawn,
        n=forget.n + holdout.n,
        n_unscored=forget.n_unscored + holdout.n_unscored,
        reasons=reasons,
        unit=one.unit,
        version=one.version,
        interval=f"{BOOTSTRAP}, both sides" if drawn is not None else "none (one cluster)",
    )
