"""Flattening predictions, as far as a bound on the retain loss allows."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from unbelief.models.stats import AnswerStats, Needs
from unbelief.objectives.base import ForgetTerm, Level, Preset


@dataclass(frozen=True)
class PDU(ForgetTerm):
    r"""Primal-dual unlearning: make the prediction uniform at the answer's tokens.

    .. math:: L = \Big(\max_v z_v - \tfrac{1}{V} \sum_v z_v\Big)^2, \qquad
              dL/dz = 2\,(\max z - \bar z)\,(e_{\arg\max} - \tfrac{1}{V})

    It is bounded, has its minimum 0 at the uniform distribution and does not look at the answer's
    own token. One value (nats²) per token. Its partner is `weights=primal-dual`, which raises α
    while the retain loss is above a bound and lowers it below: 0.3 nats, step 1 and a warm-up of 5
    epochs in OpenUnlearning's TOFU setting, whose notes advise a first α of 50 to 100.
    """

    name: ClassVar[str] = "pdu"
    level: ClassVar[Level] = "token"
    source: ClassVar[str] = "Entesari et al. 2025, constrained entropic unlearning (PDU)"
    presets: ClassVar[dict[str, Preset]] = {
        "pdu": Preset(
            "flat predictions under a constraint on the retain loss (primal-dual)",
            weights="primal-dual",
        )
    }

    @property
    def needs(self) -> Needs:
        """The largest and the mean log-probability."""
        return Needs(top_k=1, mean_logp=True)

    def values(self, stats: AnswerStats) -> Tensor:
        """(T,) squared distance of the largest logit from their mean."""
        assert stats.topk_logp is not None and stats.mean_logp is not None
        return (stats.topk_logp[:, 0] - stats.mean_logp).square()
