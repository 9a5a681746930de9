"""Harmonic means: model utility, memorization, utility and their aggregate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unbelief.scores.base import Aggregate, Better, Statistic
from unbelief.scores.comparing import expect
from unbelief.scores.statistics import combined, missing


def harmonic_mean(values: np.ndarray) -> np.ndarray:
    """Harmonic mean over the last axis of numbers of 0 or more; 0 where one of them is 0."""
    values = np.asarray(values, float)
    with np.errstate(divide="ignore", over="ignore"):
        return values.shape[-1] / (1 / values).sum(axis=-1)


@dataclass(frozen=True)
class HarmonicMean(Aggregate):
    r"""Harmonic mean of any number of numbers of 0 or more.

    .. math:: H = K \Big/ \sum_{k=1}^{K} 1/x_k

    0 when one of them is exactly 0 (no ε is added); without value when one of them has none, and
    when one is negative.
    """

    name: ClassVar[str] = "harmonic_mean"
    summary: ClassVar[str] = "harmonic mean; 0 if one part is 0, unscored if one is missing"
    unit: ClassVar[str] = "share"
    source: ClassVar[str] = "by definition"
    better: ClassVar[Better] = "higher"
    limits: ClassVar[tuple[float, float]] = (0.0, np.inf)

    def combine(
        self, inputs: Sequence[Statistic], reference: Sequence[Statistic] | None
    ) -> Statistic:
        """The harmonic mean of all inputs."""
        if not inputs:
            raise ValueError(f"{self.name} needs at least one number")
        return _harmonic(inputs, self)


@dataclass(frozen=True)
class ModelUtility(Aggregate):
    """Harmonic mean of nine numbers: what the model can still do beside the forget set.

    Probability, ROUGE-L recall and truth ratio (`truth_ratio_true_better`), each on retain data,
    real authors and world facts; on the latter two the probability is the `choice_probability`. In
    [0, 1]; exactly 0 when one of the nine is 0.

    Source: TOFU (Maini et al. 2024).
    """

    name: ClassVar[str] = "model_utility"
    summary: ClassVar[str] = "harmonic mean of nine numbers on data to keep"
    unit: ClassVar[str] = "share"
    source: ClassVar[str] = "TOFU, arXiv 2401.06121"
    better: ClassVar[Better] = "higher"

    def combine(
        self, inputs: Sequence[Statistic], reference: Sequence[Statistic] | None
    ) -> Statistic:
        """The harmonic mean of the nine, in any order."""
        return _harmonic(expect(inputs, 9, self.name), self)


@dataclass(frozen=True)
class Memorization(Aggregate):
    """Harmonic mean of four complements: 1 − ES, 1 − EM, 1 − paraphrase probability, 1 − TR.

    Extraction strength, exact memorization, `probability` of the paraphrased answer and
    `truth_ratio_prob_mean`, all on the forget set. In [0, 1], higher means less memorised. It has
    no target: a model that is broken scores above the retrained one (0.58 on TOFU). Read it beside
    `distance_to_retrained`.

    Source: OpenUnlearning (Dorna et al. 2025), appendix F; not normalised, as in the beliefs paper.
    """

    name: ClassVar[str] = "memorization"
    summary: ClassVar[str] = "harmonic mean of 1 − ES, 1 − EM, 1 − paraphrase probability, 1 − TR"
    unit: ClassVar[str] = "share"
    source: ClassVar[str] = "OpenUnlearning, arXiv 2506.12618"
    better: ClassVar[Better] = "higher"

    def combine(
        self, inputs: Sequence[Statistic], reference: Sequence[Statistic] | None
    ) -> Statistic:
        """The harmonic mean of the complements of the four, in any order."""
        return _harmonic(expect(inputs, 4, self.name), self, complement=True)


@dataclass(frozen=True)
class Utility(Aggregate):
    """Harmonic mean of model utility and fluency.

    Fluency is the mean probability that a gibberish classifier calls the greedy answers to the
    forget prompts clean. With anything else in its place use `utility_original_fluency` or
    `harmonic_mean`: the number is another one. In [0, 1].

    Source: OpenUnlearning (Dorna et al. 2025), appendix F.
    """

    name: ClassVar[str] = "utility"
    summary: ClassVar[str] = "harmonic mean of model utility and fluency"
    unit: ClassVar[str] = "share"
    source: ClassVar[str] = "OpenUnlearning, arXiv 2506.12618"
    better: ClassVar[Better] = "higher"

    def combine(
        self, inputs: Sequence[Statistic], reference: Sequence[Statistic] | None
    ) -> Statistic:
        """The harmonic mean of the two."""
        return _harmonic(expect(inputs, 2, self.name), self)


@dataclass(frozen=True)
class UtilityOriginalFluency(Aggregate):
    """Harmonic mean of model utility and `original_fluency`: utility without a classifier.

    Not comparable with published `utility`: the fluency is another one. In [0, 1].
    """

    name: ClassVar[str] = "utility_original_fluency"
    summary: ClassVar[str] = "harmonic mean of model utility and fluency under the original model"
    unit: ClassVar[str] = "share"
    source: ClassVar[str] = "unbelief"
    better: ClassVar[Better] = "higher"

    def combine(
        self, inputs: Sequence[Statistic], reference: Sequence[Statistic] | None
    ) -> Statistic:
        """The harmonic mean of the two."""
        return _harmonic(expect(inputs, 2, self.name), self)


@dataclass(frozen=True)
class Agg(Aggregate):
    """Harmonic mean of memorization and utility: the one number of published tables.

    In [0, 1]. It rewards over-forgetting: the best public TOFU model by it is a broken one, above
    the retrained model (0.64). Read it beside `distance_to_retrained`.

    Source: OpenUnlearning (Dorna et al. 2025) and the beliefs paper (arXiv 2510.19422).
    """

    name: ClassVar[str] = "agg"
    summary: ClassVar[str] = "harmonic mean of memorization and utility"
    unit: ClassVar[str] = "share"
    source: ClassVar[str] = "arXiv 2510.19422"
    better: ClassVar[Better] = "higher"

    def combine(
        self, inputs: Sequence[Statistic], reference: Sequence[Statistic] | None
    ) -> Statistic:
        """The harmonic mean of the two."""
        return _harmonic(expect(inputs, 2, self.name), self)


def _harmonic(
    inputs: Sequence[Statistic], one: Aggregate, *, complement: bool = False
) -> Statistic:
    def parts(values: np.ndarray) -> np.ndarray:
        return 1 - values if complement else values

    known = [one.value for one in inputs if one.value is not None]
    for value in known:
        if parts(np.array(value)) < 0:
            what = "above 1" if complement else "negative"
            return missing(f"a part is {what} ({value:.3g})", unit=one.unit, version=one.version)
    return combined(
        inputs, lambda values: harmonic_mean(parts(values)), unit=one.unit, version=one.version
    )
