"""How γ and α of an objective move while it trains."""

import math
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class WeightRule:
    """Constant weights; other rules change what they need to.

    Class attributes:
        name: How the command line calls it.
    """

    name: ClassVar[str] = "constant"

    def forget_factor(self, done: float) -> float:
        """What γ is multiplied with after a share of the steps, 0 to 1."""
        return 1.0

    def next_retain_weight(self, weight: float, loss: float, epochs: float) -> float:
        """α of the next step.

        Args:
            weight: α of this step.
            loss: The step's retain loss, without α.
            epochs: Passes over the forget data, this step included.
        """
        return weight


@dataclass(frozen=True)
class Schedule(WeightRule):
    r"""Ascent that is annealed: γ falls in a line to 0 before the end, then α is alone.

    .. math:: \gamma_t = \gamma \max\Big(\frac{T - t - t_0}{T}, 0\Big)

    Source: TARF, Eq. 5.

    Attributes:
        tail: t_0 / T, share of the steps at the end without a forget term.
    """

    tail: float = 0.2

    name: ClassVar[str] = "schedule"

    def __post_init__(self) -> None:
        if not 0 <= self.tail < 1:
            raise ValueError(f"weights.tail must lie in [0, 1), not {self.tail}")

    def forget_factor(self, done: float) -> float:
        """max(1 - t/T - t_0/T, 0)."""
        return max(1.0 - done - self.tail, 0.0)


@dataclass(frozen=True)
class PrimalDual(WeightRule):
    r"""α as the multiplier of the constraint that the retain loss stay below a bound.

    .. math:: \alpha_{t+1} = \max\big(0, \alpha_t + \eta\,(L_{retain} - \epsilon)\big)

    once per step, after a warm-up; the first α is the objective's `retain_weight`.

    Source: Entesari et al. 2025, constrained entropic unlearning (PDU).

    Attributes:
        bound: ε in the retain term's unit; 0.3 nats in OpenUnlearning's TOFU setting.
        step: η, 1 there.
        warmup_epochs: Passes over the forget data before α moves, 5 there.
    """

    bound: float = 0.3
    step: float = 1.0
    warmup_epochs: float = 5.0

    name: ClassVar[str] = "primal-dual"

    def __post_init__(self) -> None:
        if not 0 <= self.bound < math.inf:
            raise ValueError(f"weights.bound must not be negative, not {self.bound}")
        if not 0 < self.step < math.inf:
            raise ValueError(f"weights.step must be positive, not {self.step}")
        if not 0 <= self.warmup_epochs < math.inf:
            raise ValueError(
                f"weights.warmup_epochs must not be negative, not {self.warmup_epochs}"
            )

    def next_retain_weight(self, weight: float, loss: float, epochs: float) -> float:
        """One step of dual ascent."""
        if epochs <= self.warmup_epochs:
            return weight
        return max(0.0, weight + self.step * (loss - self.bound))


CONSTANT = WeightRule()
RULES: dict[str, type[WeightRule]] = {r.name: r for r in (WeightRule, Schedule, PrimalDual)}
"""The rules by name."""
