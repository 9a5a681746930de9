"""Saturation and importance as one weight."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from unbelief.models.stats import AnswerStats
from unbelief.objectives.base import ForgetTerm, Level, Preset


@dataclass(frozen=True)
class SatImp(ForgetTerm):
    r"""Gradient ascent on what is known but not certain.

    .. math:: L = \mathrm{sg}\big[\pi(y^i)^{\beta_1} (1 - \pi(y^i))^{\beta_2}\big] \log\pi(y^i)

    The first factor leaves tokens alone that are forgotten already (saturation), the second those
    that any text would have predicted (importance). One value (nats) per token; β₂ = 0 is WGA.

    Attributes:
        beta1: β₁, 5 in OpenUnlearning's configuration and in the authors' advice.
        beta2: β₂, 1 in OpenUnlearning's configuration (with γ = 0.1); the authors advise 0.1.
    """

    beta1: float = 5.0
    beta2: float = 1.0

    name: ClassVar[str] = "satimp"
    level: ClassVar[Level] = "token"
    source: ClassVar[str] = (
        "Yang et al. 2025, Exploring Criteria of Loss Reweighting to Enhance LLM Unlearning"
    )
    presets: ClassVar[dict[str, Preset]] = {
        "satimp": Preset("gradient ascent weighted by saturation and importance", forget_weight=0.1)
    }

    def __post_init__(self) -> None:
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")

    def values(self, stats: AnswerStats) -> Tensor:
        """(T,) weighted log-probabilities."""
        known = stats.logp.detach()
        # 1 - π without cancellation; rounding can bring log π above 0.
        uncertain = (-torch.expm1(known)).clamp_min(0)
        return (self.beta1 * known).exp() * uncertain.pow(self.beta2) * stats.logp
