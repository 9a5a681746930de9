"""Forget quality: a two-sample test of the truth ratios against the retrained model's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from unbelief.scores.base import Aggregate, Better, Statistic
from unbelief.scores.comparing import NO_REFERENCE, expect, scored_for_both
from unbelief.scores.statistics import missing


@dataclass(frozen=True)
class ForgetQuality(Aggregate):
    r"""p-value of the exact two-sided Kolmogorov-Smirnov test of raw truth ratios.

    Both samples are the same n items: of this model and of the retrained model. With
    :math:`h = n D` and D the largest distance of the two empirical distributions,

    .. math:: p = 2 \sum_{k \ge 1} (-1)^{k-1} \binom{2n}{n - kh} \Big/ \binom{2n}{n}

    In [0, 1] as `p`, (−∞, 0] as `ln` or `log10`. High means "cannot be told from the retrained
    model"; over-unlearned models score near 0 again. p depends on n: only values of the same n may
    be compared, and the smallest possible one is 2 / C(2n, n). The test takes items as
    independent; there is no interval. Its input must be the raw ratio (`truth_ratio`): the test
    does not change under a monotone map, but min(r, 1/r) is not one.

    Items that lack a score for either model are left out for both and counted. Different item
    sets are refused: the field has published tests of 40 items against 200.

    Attributes:
        scale: `p`, its natural logarithm (the beliefs and G-effect papers) or `log10` (plots of
            the TOFU paper). Computed in logarithms, so that tiny p do not become 0.

    Source: TOFU (Maini et al. 2024); Hodges 1958 for the exact distribution.
    """

    name: ClassVar[str] = "forget_quality"
    summary: ClassVar[str] = "KS test of truth ratios against the retrained model"
    unit: ClassVar[str] = "probability"
    source: ClassVar[str] = "TOFU, arXiv 2401.06121"
    better: ClassVar[Better] = "higher"
    limits: ClassVar[tuple[float, float]] = (-math.inf, 1.0)
    needs_reference: ClassVar[bool] = True

    scale: Literal["p", "ln", "log10"] = "p"

    def combine(
        self, inputs: Sequence[Statistic], reference: Sequence[Statistic] | None
    ) -> Statistic:
        """The test of the one input against the same of the retrained model."""
        (own,) = expect(inputs, 1, self.name)
        unit = {"p": "probability", "ln": "ln probability", "log10": "log10 probability"}[
            self.scale
        ]
        if reference is None:
            return missing(NO_REFERENCE, unit=unit, version=self.version)
        (other,) = expect(reference, 1, self.name)
        pairs, reason = scored_for_both(own, other)
        if reason:
            return missing(reason, unit=unit, version=self.version)
        log_p = ks_log_p(pairs[:, 0], pairs[:, 1])
        value = {"p": math.exp(log_p), "ln": log_p, "log10": log_p / math.log(10)}[self.scale]
        lost = len(own.scores) - len(pairs)
        return Statistic(
            value=value,
            n=len(pairs),
            n_unscored=lost,
            reasons={"not scored for both models": lost} if lost else {},
            unit=unit,
            version=self.version,
            interval="none (a p-value)",
        )


def ks_log_p(one: np.ndarray, two: np.ndarray) -> float:
    """Ln p of the exact two-sided two-sample KS test of two samples of equal size.

    Agrees with `scipy.stats.ks_2samp(method="exact")` where that does not underflow. Values that
    occur in both samples count on both sides, as in the usual statistic.

    Raises:
        ValueError: The samples are empty or differ in size.
    """
    n = len(one)
    if n == 0 or len(two) != n:
        raise ValueError(f"samples of {n} and {len(two)} values; equal, positive sizes are needed")
    everything = np.concatenate([one, two])
    left = np.searchsorted(np.sort(one), everything, side="right")
    right = np.searchsorted(np.sort(two), everything, side="right")
    return ks_lattice_log_p(n, int(np.abs(left - right).max()))


def ks_lattice_log_p(n: int, h: int) -> float:
    """Ln P(nD ≥ h) for two samples of n continuous values.

    By reflection, paths that leave a band of half-width h; summed from the smallest term outwards
    (Horner) in logarithms, so that nothing cancels or underflows.
    """
    if h <= 0:
        return 0.0

    def log_binomial(k: int) -> float:
        return math.lgamma(2 * n + 1) - math.lgamma(n - k + 1) - math.lgamma(n + k + 1)

    inner = -math.inf
    for k in range(n // h, 0, -1):
        step = log_binomial(k * h) - log_binomial((k - 1) * h)
        inner = step + _log1m_exp(inner)
    return min(0.0, math.log(2) + inner)


def _log1m_exp(x: float) -> float:
    """ln(1 − e^x) for x < 0."""
    return math.log1p(-math.exp(x)) if x < -math.log(2) else math.log(-math.expm1(x))
