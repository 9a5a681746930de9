"""Weighted gradient ascent."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from unbelief.models.stats import AnswerStats
from unbelief.objectives.base import ForgetTerm, Level


@dataclass(frozen=True)
class WGA(ForgetTerm):
    r"""Gradient ascent weighted by the token's own confidence, which undoes 1/π in the gradient.

    .. math:: L = \mathrm{sg}[\pi(y^i)]^\alpha \log \pi(y^i)

    One value (nats) per token; α = 0 is GA.

    Attributes:
        alpha: Exponent; 1.0 in the beliefs paper and OpenUnlearning, 5 in the G-effect code.
    """

    alpha: float = 1.0

    name: ClassVar[str] = "wga"
    level: ClassVar[Level] = "token"
    source: ClassVar[str] = "Wang et al. 2025, G-effect, WGA"

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < math.inf:
            raise ValueError(f"alpha must not be negative, not {self.alpha}")

    def values(self, stats: AnswerStats) -> Tensor:
        """(T,) weighted log-probabilities."""
        return (self.alpha * stats.logp.detach()).exp() * stats.logp
