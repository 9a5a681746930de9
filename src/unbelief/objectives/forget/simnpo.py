"""SimNPO: NPO without a reference model, length-normalised."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from unbelief.models.stats import AnswerStats
from unbelief.objectives.base import ForgetTerm, Level, Preset


@dataclass(frozen=True)
class SimNPO(ForgetTerm):
    r"""Reference-free NPO on the mean log-probability.

    .. math:: L = -\frac{2}{\beta} \log\sigma\Big(-\frac{\beta}{|y|}\log\pi(y) - \delta\Big)

    One value per answer. The margin δ stands outside β as in the paper (OpenUnlearning multiplies
    it by β; both are 0 by default).

    Attributes:
        beta: 4.5 in the authors' TOFU setting, which also weights the forget term by 0.125.
        margin: δ, 0 in the authors' TOFU setting.
    """

    beta: float = 4.5
    margin: float = 0.0

    name: ClassVar[str] = "simnpo"
    level: ClassVar[Level] = "sequence"
    source: ClassVar[str] = "Fan et al. 2024, Simplicity Prevails (SimNPO), Eq. 4"
    presets: ClassVar[dict[str, Preset]] = {
        "simnpo": Preset("reference-free, length-normalised NPO", forget_weight=0.125)
    }

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise ValueError(f"beta must be positive, not {self.beta}")

    def values(self, stats: AnswerStats) -> Tensor:
        """(A,) the loss of each answer."""
        mean_logp = stats.sum_per_answer(stats.logp) / stats.length.clamp_min(1e-12)
        return 2 / self.beta * F.softplus(self.beta * mean_logp + self.margin)
