"""One number of this model against the same number of the retrained one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from unbelief.scores.base import Aggregate, Better, Statistic
from unbelief.scores.comparing import NO_REFERENCE, expect
from unbelief.scores.statistics import combined, difference, missing


@dataclass(frozen=True)
class DistanceToRetrained(Aggregate):
    """Absolute difference from the retrained model's number, |x − x_ref|.

    In [0, ∞), in the unit of its input; 0 is a perfect match. For unlearning the retrained model is
    the aim: neither more nor less forgotten. The interval is the paired one of the signed
    difference, folded at 0; it starts at 0 when the signs are undecided.

    Source: the definition of exact unlearning (Cao and Yang 2015).
    """

    name: ClassVar[str] = "distance_to_retrained"
    summary: ClassVar[str] = "absolute difference from the retrained model's number"
    unit: ClassVar[str] = "of its input"
    source: ClassVar[str] = "Cao and Yang 2015"
    limits: ClassVar[tuple[float, float]] = (0.0, np.inf)
    needs_reference: ClassVar[bool] = True

    def combine(
        self, inputs: Sequence[Statistic], reference: Sequence[Statistic] | None
    ) -> Statistic:
        """The distance of the one number."""
        (own,) = expect(inputs, 1, self.name)
        if reference is None:
            return missing(NO_REFERENCE, unit=own.unit, version=self.version)
        (other,) = expect(reference, 1, self.name)
        signed = difference(own, other)
        if signed.value is None:
            return signed
        estimate = signed.estimate("")
        bounds = None
        if estimate.low is not None and estimate.high is not None:
            ends = sorted((abs(estimate.low), abs(estimate.high)))
            across = estimate.low <= 0 <= estimate.high
            bounds = (0.0 if across else ends[0], ends[1])
        drawn = None if signed.draws is None else np.abs(signed.draws)
        return replace(
            signed, value=abs(signed.value), draws=drawn, bounds=bounds, version=self.version
        )


@dataclass(frozen=True)
class PrivLeak(Aggregate):
    r"""MUSE's privacy leakage: relative change of 1 − AUC against the retrained model, in per cent.

    .. math:: 100 \cdot \frac{a - a_{ref}}{a_{ref} + \varepsilon}, \quad a = 1 - AUC

    Input: an `mia_auc`, by custom of Min-40 %. 0 is a perfect match, negative means the forget set
    still stands out as training data (−100: fully exposed), positive that it stands out as
    forgotten. In [−100, ∞). Without a retrained model it has no value; the field's default of ½ for
    the reference is not assumed.

    Attributes:
        epsilon: Added to the denominator; OpenUnlearning adds 1e-10.

    Source: MUSE (Shi et al. 2024).
    """

    name: ClassVar[str] = "privleak"
    summary: ClassVar[str] = "relative change of 1 − AUC against the retrained model"
    unit: ClassVar[str] = "per cent"
    source: ClassVar[str] = "MUSE, arXiv 2407.06460"
    better: ClassVar[Better] = "closer to the retrained model"
    limits: ClassVar[tuple[float, float]] = (-100.0, np.inf)
    needs_reference: ClassVar[bool] = True

    epsilon: float = 0.0

    def combine(
        self, inputs: Sequence[Statistic], reference: Sequence[Statistic] | None
    ) -> Statistic:
        """The change of the one AUC."""
        return _relative(inputs, reference, self, lambda auc: 1 - auc, self.epsilon)


@dataclass(frozen=True)
class RelativeDifference(Aggregate):
    r"""Relative difference from the retrained model, in per cent: 100 (x − x_ref) / (x_ref + ε).

    Input: any number of 0 or more. In [−100, ∞); 0 is a perfect match.

    Attributes:
        epsilon: Added to the denominator; OpenUnlearning adds 1e-10.

    Source: OpenUnlearning, `rel_diff`.
    """

    name: ClassVar[str] = "relative_difference"
    summary: ClassVar[str] = "difference from the retrained model in per cent of its value"
    unit: ClassVar[str] = "per cent"
    source: ClassVar[str] = "OpenUnlearning, arXiv 2506.12618"
    better: ClassVar[Better] = "closer to the retrained model"
    limits: ClassVar[tuple[float, float]] = (-100.0, np.inf)
    needs_reference: ClassVar[bool] = True

    epsilon: float = 0.0

    def combine(
        self, inputs: Sequence[Statistic], reference: Sequence[Statistic] | None
    ) -> Statistic:
        """The relative difference of the one number."""
        return _relative(inputs, reference, self, lambda x: x, self.epsilon)


@dataclass(frozen=True)
class MiaCloseness(Aggregate):
    r"""Closeness of a membership AUC to the retrained model's, as a number in [0, 1].

    With d the difference of the AUCs and r the retrained model's: `range` is 1 − |d| / max(r, 1−r),
    which is 0 only at the farthest possible AUC; `share` is max(0, 1 − |d| / r); `ratio` is the
    smaller AUC over the larger. OpenUnlearning's paper uses such a number for its Privacy score and
    leaves its definition open; **none of the three reproduces its table**.

    Attributes:
        scale: Which of the three.
    """

    name: ClassVar[str] = "mia_closeness"
    summary: ClassVar[str] = "closeness of a membership AUC to the retrained model's"
    unit: ClassVar[str] = "share"
    source: ClassVar[str] = "unbelief, after OpenUnlearning's s_MIA"
    better: ClassVar[Better] = "higher"
    needs_reference: ClassVar[bool] = True

    scale: Literal["range", "share", "ratio"] = "range"

    def combine(
        self, inputs: Sequence[Statistic], reference: Sequence[Statistic] | None
    ) -> Statistic:
        """The closeness of the one AUC."""
        (own,) = expect(inputs, 1, self.name)
        if reference is None:
            return missing(NO_REFERENCE, unit=self.unit, version=self.version)
        (other,) = expect(reference, 1, self.name)
        return combined([own, other], self._closeness, unit=self.unit, version=self.version)

    def _closeness(self, both: np.ndarray) -> np.ndarray:
        x, r = both[..., 0], both[..., 1]
        distance = np.abs(x - r)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.scale == "range":
                return 1 - distance / np.maximum(r, 1 - r)
            if self.scale == "share":
                return np.maximum(0.0, 1 - distance / r)
            return np.minimum(x, r) / np.maximum(x, r)


def _relative(
    inputs: Sequence[Statistic],
    reference: Sequence[Statistic] | None,
    one: Aggregate,
    of: Callable[[np.ndarray], np.ndarray],
    epsilon: float,
) -> Statistic:
    (own,) = expect(inputs, 1, one.name)
    if reference is None:
        return missing(NO_REFERENCE, unit=one.unit, version=one.version)
    (other,) = expect(reference, 1, one.name)
    if other.value is not None and of(np.array(other.value)) + epsilon == 0:
        return missing(
            "the retrained model's value is 0: there is no ratio",
            unit=one.unit,
            version=one.version,
        )

    def change(both: np.ndarray) -> np.ndarray:
        x, base = of(both[..., 0]), of(both[..., 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            return 100 * (x - base) / (base + epsilon)

    return combined([own, other], change, unit=one.unit, version=one.version)
