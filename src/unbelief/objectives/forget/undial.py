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
    the value is 0 where the goal is reached. With c = 1 - e^{-β} and Z = 1 - c π_o(y), t is
    (π_o - c π_o(y) e_y) / Z, and so

    .. math:: L = \frac{\mathrm{KL}(\pi_o \Vert \pi) + c\,\pi_o(y) \log\frac{\pi(y)}{\pi_o(y)}
              - \beta e^{-\beta} \pi_o(y)}{Z} - \log Z

    which needs no tensor over the vocabulary. One value (nats) per token.

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
        return Needs(kl="forward", reference_logp=True)

    def values(self, stats: AnswerStats) -> Tensor:
        """(T,) divergences from the adjusted distribution."""
        assert stats.kl is not None and stats.ref_logp is not None
        kept = math.exp(-self.strength)
        p_o = stats.ref_logp.exp()
        # Z = (1 - π_o) + e^{-β} π_o; rounding can bring log π_o above 0.
        z = (-torch.expm1(stats.ref_logp)).clamp_min(0) + kept * p_o
        moved = (1 - kept) * p_o * (stats.logp - stats.ref_logp)
        return (stats.kl + moved - self.strength * kept * p_o) / z - z.log()
