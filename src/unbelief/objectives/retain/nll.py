"""Keep the likelihood of retain answers."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from unbelief.models.stats import AnswerStats
from unbelief.objectives.base import RetainTerm


@dataclass(frozen=True)
class NLL(RetainTerm):
    r"""Negative log-likelihood of the retain answers: ordinary fine-tuning on what must stay.

    .. math:: L = -\log\pi(y^i)

    One value (nats) per token.
    """

    name: ClassVar[str] = "nll"
    source: ClassVar[str] = "Maini et al. 2024, TOFU, gradient difference"

    def values(self, stats: AnswerStats) -> Tensor:
        """(T,) negative log-probabilities."""
        return -stats.logp
