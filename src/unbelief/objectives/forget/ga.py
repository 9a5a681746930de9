"""Gradient ascent on the answers to forget, and its combinations with a retain term."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from unbelief.models.stats import AnswerStats
from unbelief.objectives.base import ForgetTerm, Level, Preset


@dataclass(frozen=True)
class GA(ForgetTerm):
    r"""Gradient ascent: minimise the log-likelihood of the answer.

    .. math:: L = \log \pi(y^i), \qquad dL/dz = e_{y^i} - \pi

    One value (nats) per token. With a retain term this is GradDiff.
    """

    name: ClassVar[str] = "ga"
    level: ClassVar[Level] = "token"
    source: ClassVar[str] = "Jang et al. 2023; Maini et al. 2024 (TOFU), gradient ascent/difference"
    presets: ClassVar[dict[str, Preset]] = {
        "ga": Preset("gradient ascent alone, no retain term", retain=None),
        "graddiff": Preset("gradient ascent plus retain term (GradDiff)"),
        "graddiff-control": Preset(
            "GradDiff with γ = 0.8 = 1-λ: the control every BS-T run is compared with",
            forget_weight=0.8,
        ),
        "gru": Preset(
            "gradient ascent without what hurts the retain data (projection, GRU); inner=METHOD "
            "for another than gradient ascent",
            gradients="rectified",
            around=True,
        ),
    }

    def values(self, stats: AnswerStats) -> Tensor:
        """(T,) log π(y^i)."""
        return stats.logp
