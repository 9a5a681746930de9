"""NPO as a weight on gradient ascent."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from unbelief.models.stats import AnswerStats, Needs
from unbelief.objectives.base import ForgetTerm, Level


@dataclass(frozen=True)
class NPOW(ForgetTerm):
    r"""Gradient ascent on whole answers, weighted as NPO weighs them.

    .. math:: L = \mathrm{sg}[w]\, \log\pi(y), \qquad
              w = \frac{2\pi(y)^\beta}{\pi(y)^\beta + \pi_o(y)^\beta}
                = 2\sigma\big(\beta(\log\pi(y) - \log\pi_o(y))\big)

    Its gradient is NPO's exactly; only the value differs, which makes the weight visible. One value
    (nats) per answer, on summed log-probabilities.

    Attributes:
        beta: Inverse temperature, 0.1 in the configuration of the beliefs paper's authors.
    """

    beta: float = 0.1

    name: ClassVar[str] = "npow"
    level: ClassVar[Level] = "sequence"
    source: ClassVar[str] = (
        "Zhang et al. 2024, Negative Preference Optimization, the gradient of Eq. 3"
    )

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise ValueError(f"beta must be positive, not {self.beta}")

    @property
    def needs(self) -> Needs:
        """Reference log-probabilities of the answer."""
        return Needs(reference_logp=True)

    def values(self, stats: AnswerStats) -> Tensor:
        """(A,) weighted log-likelihood of each answer."""
        return answer_npo_weight(stats, self.beta) * stats.sum_per_answer(stats.logp)

    def diagnostics(self, stats: AnswerStats) -> dict[str, Tensor]:
        """The weight of each answer: 1 at the original model, 0 once it is forgotten."""
        return {"npo_weight": answer_npo_weight(stats, self.beta)}


def answer_npo_weight(stats: AnswerStats, beta: float) -> Tensor:
    """(A,) 2σ(β(log π(y) - log π_o(y))) of summed log-probabilities, without gradient."""
    assert stats.ref_logp is not None
    return 2 * (beta * stats.sum_per_answer(stats.logp.detach() - stats.ref_logp)).sigmoid()
