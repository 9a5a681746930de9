"""OpenUnlearning's normalised scores, under names of their own.

Its paper divides by the values of the model before unlearning and leaves details open. The most
literal reading is implemented; with the official logs it gives 0 for the original model and 0.347
for the retrained one where the paper prints 0 and 0.31. **Do not compare with its Table 3.**
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from unbelief.scores.aggregates.harmonic import harmonic_mean
from unbelief.scores.base import Aggregate, Better, Statistic
from unbelief.scores.comparing import NO_ORIGINAL, expect
from unbelief.scores.statistics import combined, missing


@dataclass(frozen=True)
class MemorizationNormalised(Aggregate):
    r"""Memorization with each part divided by the original model's.

    .. math:: H\big(\max(0, 1 - x_k / x_k^{original})\big)_{k=1..4}

    Inputs as for `memorization`. In [0, 1]; 0 for the original model and for any model that
    knows more than it in one part.

    Source: OpenUnlearning (Dorna et al. 2025), appendix F, read literally.
    """

    name: ClassVar[str] = "memorization_normalised"
    summary: ClassVar[str] = "memorization relative to the original model"
    unit: ClassVar[str] = "share"
    source: ClassVar[str] = "OpenUnlearning, arXiv 2506.12618"
    better: ClassVar[Better] = "higher"
    needs_reference: ClassVar[bool] = True
    reference_model: ClassVar[Literal["retrained", "original"]] = "original"

    def combine(
        self, inputs: Sequence[Statistic], reference: Sequence[Statistic] | None
    ) -> Statistic:
        """The harmonic mean of the normalised complements."""

        def formula(both: np.ndarray) -> np.ndarray:
            own, original = both[..., :4], both[..., 4:]
            with np.errstate(divide="ignore", invalid="ignore"):
                return harmonic_mean(np.maximum(0.0, 1 - own / original))

        return _over_original(self, expect(inputs, 4, self.name), reference, formula)


@dataclass(frozen=True)
class ModelUtilityNormalised(Aggregate):
    """Model utility divided by the original model's. In [0, ∞); 1 for the original model.

    Source: OpenUnlearning (Dorna et al. 2025), appendix F.
    """

    name: ClassVar[str] = "model_utility_normalised"
    summary: ClassVar[str] = "model utility relative to the original model"
    unit: ClassVar[str] = "ratio"
    source: ClassVar[str] = "OpenUnlearning, arXiv 2506.12618"
    better: ClassVar[Better] = "higher"
    limits: ClassVar[tuple[float, float]] = (0.0, np.inf)
    needs_reference: ClassVar[bool] = True
    reference_model: ClassVar[Literal["retrained", "original"]] = "original"

    def combine(
        self, inputs: Sequence[Statistic], reference: Sequence[Statistic] | None
    ) -> Statistic:
        """The ratio of the one number."""

        def formula(both: np.ndarray) -> np.ndarray:
            with np.errstate(divide="ignore", invalid="ignore"):
                return both[..., 0] / both[..., 1]

        return _over_original(self, expect(inputs, 1, self.name), reference, formula)


def _over_original(
    one: Aggregate,
    inputs: Sequence[Statistic],
    reference: Sequence[Statistic] | None,
    formula: Callable[[np.ndarray], np.ndarray],
) -> Statistic:
    if reference is None:
        return missing(NO_ORIGINAL, unit=one.unit, version=one.version)
    original = expect(reference, len(inputs), one.name)
    if any(part.value == 0 for part in original):
        return missing(
            "a value of the original model is 0: there is no ratio",
            unit=one.unit,
            version=one.version,
        )
    return combined([*inputs, *original], formula, unit=one.unit, version=one.version)
