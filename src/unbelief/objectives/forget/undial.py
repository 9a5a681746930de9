"""Self-distillation with the answer's logits lowered."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from unbelief.models.stats import AnswerStats, Needs
from unbelief.objectives.base import ForgetTerm, Level, Preset


@dataclass(frozen=True)
class UNDIAL(ForgetTerm):
    r"""Learn the original model's distribution with the answer's logit lowered by β.

    .. math:: L = \mathrm{KL}(t \,\Vert\, \pi), \qquad
              t = \mathrm{softmax}(z_o - \beta e_{y^i}), \qquad dL/dz = \pi - t

    It differs from the cross entropy of the paper by the entropy of t, which is constant, so that
    the value is 0 where the goal is reached. With Z = S + e^{-β} π_o(y), S = Σ_{v≠y} π_o(v), t is
    π_o / Z but for t(y) = e^{-β} π_o(y) / Z, and so

    .. math:: L = \frac{1}{Z} \Big( \sum_{v \neq y} \pi_o(v) \ln \frac{\pi_o(v)}{\pi(v)}
              + e^{-\beta} \pi_o(y) \Big(\ln\frac{\pi_o(y)}{\pi(y)} - \beta\Big) \Big) - \ln Z

    which needs no tensor over the vocabulary. Sums over the others are made without the target:
    of an answer known by heart S is 1e-9, and 1 - π_o(y) would be rounding. One value (nats) per
    token.

    Attributes:
        strength: β, 10 in OpenUnlearning's TOFU setting, with learning rate 1e-4 and, as here, no
            retain term (α = 0); `retain=nll` adds one.
    """

    strength: float = 10.0

    name: ClassVar[str] = "undial"
    level: ClassVar[Level] = "token"
    source: ClassVar[str] = (
        "Dong et al. 2024, UNDIAL: Self-Distillation with Adjusted Logits, Eq. 2-3"
    )

    presets: ClassVar[dict[str, Preset]] = {
        "undial": Preset("the original's distribution, answer lowered, as teacher", retain=None)
    }

    def __post_init__(self) -> None:
        if not 0 < self.strength < math.inf:
            raise ValueError(f"strength must be positive, not {self.strength}")

    @property
    def needs(self) -> Needs:
        """The original model's distribution, and its log-probability of the answer."""
        return Needs(kl="others", reference_logp=True)

    def values(self, stats: AnswerStats) -> Tensor:
        """(T,) divergences from the adjusted distribution."""
        assert stats.kl is not None and stats.ref_others is not None
        assert stats.ref_logp is not None
        left = (stats.ref_logp - self.strength).exp()  # e^{-β} π_o(y)
        z = (stats.ref_others + left).clamp_min(torch.finfo(left.dtype).tiny)
        own = left * (stats.ref_logp - self.strength - stats.logp)
        return (stats.kl + own) / z - z.log()
