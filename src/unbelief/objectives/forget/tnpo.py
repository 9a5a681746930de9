"""Token-wise NPO and its weighted form."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from unbelief.models.stats import AnswerStats, Needs
from unbelief.objectives.base import ForgetTerm, Level


@dataclass(frozen=True)
class TNPO(ForgetTerm):
    r"""NPO's reweighting applied to every token.

    .. math:: L = \mathrm{sg}[w_i] \log\pi(y^i), \qquad
              w_i = \frac{2\pi^\beta}{\pi^\beta + \pi_o^\beta}
                  = 2\sigma\big(\beta(\log\pi - \log\pi_o)\big)

    One value per token; w = 1 exactly at π = π_o (the released code adds 1e-5 to the denominator,
    which mutes improbable tokens).

    Attributes:
        beta: 4 in the authors' code.
    """

    beta: float = 4.0

    name: ClassVar[str] = "tnpo"
    level: ClassVar[Level] = "token"
    source: ClassVar[str] = "Wang et al. 2025, G-effect, TNPO"

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise ValueError(f"beta must be positive, not {self.beta}")

    @property
    def needs(self) -> Needs:
        """Reference log-probabilities of every token."""
        return Needs(reference_logp=True)

    def values(self, stats: AnswerStats) -> Tensor:
        """(T,) weighted log-probabilities."""
        return token_npo_weight(stats, self.beta) * stats.logp


def token_npo_weight(stats: AnswerStats, beta: float) -> Tensor:
    """(T,) 2σ(β(log π - log π_o)), without gradient."""
    assert stats.ref_logp is not None
    return 2 * (beta * (stats.logp.detach() - stats.ref_logp)).sigmoid()
