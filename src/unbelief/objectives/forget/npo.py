"""Negative preference optimisation."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from unbelief.models.stats import AnswerStats, Needs
from unbelief.objectives.base import ForgetTerm, Level


@dataclass(frozen=True)
class NPO(ForgetTerm):
    r"""Negative preference optimisation, on summed log-probabilities.

    .. math:: L = \frac{2}{\beta} \log\Big(1 + \big(\pi(y)/\pi_o(y)\big)^\beta\Big)

    One value per answer. At π = π_o it is (2/β) ln 2 and its gradient equals GA's on the sum.

    Attributes:
        beta: Inverse temperature, 0.1 in the paper.
    """

    beta: float = 0.1

    name: ClassVar[str] = "npo"
    level: ClassVar[Level] = "sequence"
    source: ClassVar[str] = "Zhang et al. 2024, Negative Preference Optimization, Eq. 3"

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise ValueError(f"beta must be positive, not {self.beta}")

    @property
    def needs(self) -> Needs:
        """Reference log-probabilities of the answer."""
        return Needs(reference_logp=True)

    def values(self, stats: AnswerStats) -> Tensor:
        """(A,) the loss of each answer."""
        assert stats.ref_logp is not None
        ratio = stats.sum_per_answer(stats.logp - stats.ref_logp)
        return 2 / self.beta * F.softplus(self.beta * ratio)
