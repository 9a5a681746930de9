"""Token beliefs, weighted answer by answer."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from unbelief.models.stats import AnswerStats, Needs
from unbelief.objectives.base import ForgetTerm, Level
from unbelief.objectives.forget.bst import BST
from unbelief.objectives.forget.npow import answer_npo_weight


@dataclass(frozen=True)
class BSTW(ForgetTerm):
    r"""BS-T under NPO's weight: answers that are forgotten already are left alone.

    .. math:: L = \mathrm{sg}[w] \sum_i \langle t^i, \log\pi(\cdot) \rangle, \qquad
              w = 2\sigma\big(\beta(\log\pi(y) - \log\pi_o(y))\big)

    with the soft target t of `bs-t`. λ = 0 is NPOW, and so has NPO's gradient. One value (nats) per
    answer: a sum over its tokens, as in the authors' code.

    Attributes:
        weight: λ, 0.2 in the authors' configuration.
        top_k: k, 20 in the authors' configuration.
        beta: β of the weight, 0.1 in the authors' configuration.
    """

    weight: float = 0.2
    top_k: int = 20
    beta: float = 0.1

    name: ClassVar[str] = "bs-tw"
    level: ClassVar[Level] = "sequence"
    source: ClassVar[str] = "code of Li et al. 2026, LLM Unlearning with LLM Beliefs"

    def __post_init__(self) -> None:
        _ = self.beliefs  # checks weight and top_k
        if not 0 < self.beta < math.inf:
            raise ValueError(f"beta must be positive, not {self.beta}")

    @property
    def beliefs(self) -> BST:
        """The token term under the weight."""
        return BST(weight=self.weight, top_k=self.top_k)

    @property
    def needs(self) -> Needs:
        """Beliefs of the current model, reference log-probabilities of the answer."""
        return replace(self.beliefs.needs, reference_logp=True)

    def values(self, stats: AnswerStats) -> Tensor:
        """(A,) weighted soft-target log-likelihood of each answer."""
        tokens = self.beliefs.values(stats)
        return answer_npo_weight(stats, self.beta) * stats.sum_per_answer(tokens)

    def diagnostics(self, stats: AnswerStats) -> dict[str, Tensor]:
        """Those of `bs-t`, and the weight of each answer."""
        weight = answer_npo_weight(stats, self.beta)
        return {**self.beliefs.diagnostics(stats), "npo_weight": weight}
