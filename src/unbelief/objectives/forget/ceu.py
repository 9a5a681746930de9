"""Cross entropy to the model's own distribution without the answer's token."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from unbelief.models.stats import AnswerStats, Needs
from unbelief.objectives.base import ForgetTerm, Level, Preset


@dataclass(frozen=True)
class CEU(ForgetTerm):
    r"""CE-U: learn one's own distribution with the answer's token taken out.

    .. math:: L_{CEU} = -\sum_v t_v \log\pi(v), \qquad
              t = \mathrm{sg}\big[\mathrm{softmax}(z \text{ with } z_y = -\infty)\big]

    Since t is π without y, renormalised, dL/dz = π - t = π_y / (1 - π_y) · (e_y - π): gradient
    ascent weighted by the token's odds, and at the same time the gradient of

    .. math:: L = -\log\big(1 - \pi(y^i)\big)

    which is what is computed: the same steps (unlikelihood training) without t, and a value that
    falls to 0 as the token is forgotten. The log-sum-exp of the other tokens keeps it exact where π
    is nearly 1. One value (nats) per token. The released code leaves out the first answer token;
    here all count. Like it, the method has no retain term; `retain=nll` adds one.
    """

    name: ClassVar[str] = "ce-u"
    level: ClassVar[Level] = "token"
    source: ClassVar[str] = (
        "Yang 2025, CE-U: Cross Entropy Unlearning; Welleck et al. 2020 (unlikelihood)"
    )

    presets: ClassVar[dict[str, Preset]] = {
        "ce-u": Preset(
            "cross entropy to the model's own distribution without the answer's token", retain=None
        )
    }

    @property
    def needs(self) -> Needs:
        """The probability of all other tokens."""
        return Needs(log_others=True)

    def values(self, stats: AnswerStats) -> Tensor:
        """(T,) -log(1 - π(y^i))."""
        assert stats.log_others is not None
        return -stats.log_others
