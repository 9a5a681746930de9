"""Cross entropy to the model's own distribution without the answer's token."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from unbelief.models.stats import AnswerStats
from unbelief.objectives.base import ForgetTerm, Level

# Log-probabilities near 0 are known to about this much, so 1 - π cannot be told from it either.
_RESOLUTION = 1e-6


@dataclass(frozen=True)
class CEU(ForgetTerm):
    r"""CE-U: learn one's own distribution with the answer's token taken out.

    .. math:: L_{CEU} = -\sum_v t_v \log\pi(v), \qquad
              t = \mathrm{sg}\big[\mathrm{softmax}(z \text{ with } z_y = -\infty)\big]

    Since t is π without y, renormalised, dL/dz = π - t = π_y / (1 - π_y) · (e_y - π): gradient
    ascent weighted by the token's odds, and at the same time the gradient of

    .. math:: L = -\log\big(1 - \pi(y^i)\big)

    which is what is computed: the same steps (unlikelihood training), from the target's
    log-probability alone, and a value that falls to 0 as the token is forgotten. Where 1 - π is not
    above 1e-6, what single precision can tell, the gradient is damped. One value (nats) per token.
    The released code leaves out the first answer token and has no retain term; here all tokens
    count, and `retain=none` leaves the retain term out.
    """

    name: ClassVar[str] = "ce-u"
    level: ClassVar[Level] = "token"
    source: ClassVar[str] = (
        "Yang 2025, CE-U: Cross Entropy Unlearning; Welleck et al. 2020 (unlikelihood)"
    )

    def values(self, stats: AnswerStats) -> Tensor:
        """(T,) -log(1 - π(y^i))."""
        logp = stats.logp - stats.logp.detach().clamp_min(0)  # rounding can bring it above 0
        return -(_RESOLUTION - torch.expm1(logp)).log()
