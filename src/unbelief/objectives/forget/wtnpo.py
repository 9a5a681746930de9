"""Weighted token-wise NPO."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from unbelief.models.stats import AnswerStats, Needs
from unbelief.objectives.base import ForgetTerm, Level
from unbelief.objectives.forget.tnpo import token_npo_weight


@dataclass(frozen=True)
class WTNPO(ForgetTerm):
    r"""TNPO times WGA's confidence weight.

    .. math:: L = \mathrm{sg}\Big[\frac{2\pi^{\beta+\alpha}}{\pi^\beta + \pi_o^\beta}\Big]
              \log\pi(y^i)

    One value per token; α = 0 is TNPO.

    Attributes:
        beta: 4 in the authors' code.
        alpha: 1.5 in the authors' code.
    """

    beta: float = 4.0
    alpha: float = 1.5

    name: ClassVar[str] = "wtnpo"
    level: ClassVar[Level] = "token"
    source: ClassVar[str] = "Wang et al. 2025, G-effect, WTNPO"

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise ValueError(f"beta must be positive, not {self.beta}")
        if not 0 <= self.alpha < math.inf:
            raise ValueError(f"alpha must not be negative, not {self.alpha}")

    @property
    def needs(self) -> Needs:
        """Reference log-probabilities of every token."""
        return Needs(reference_logp=True)

    def values(self, stats: AnswerStats) -> Tensor:
        """(T,) weighted log-probabilities."""
        confidence = (self.alpha * stats.logp.detach()).exp()
        return token_npo_weight(stats, self.beta) * confidence * stats.logp
