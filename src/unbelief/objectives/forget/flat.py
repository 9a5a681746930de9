"""Moving answer and alternative apart by an f-divergence."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from unbelief.models.stats import AnswerStats
from unbelief.objectives.alternatives import AlternativeTerm
from unbelief.objectives.base import Level, Preset

Divergence = Literal[
    "total-variation",
    "kl",
    "reverse-kl",
    "jeffrey",
    "squared-hellinger",
    "pearson",
    "neyman",
    "jensen-shannon",
]


@dataclass(frozen=True)
class FLAT(AlternativeTerm):
    r"""Only forget data: raise the alternative and lower the answer as an f-divergence weighs them.

    .. math:: L = -g(P_{alt}) + f^*\big(g(P_y)\big)

    with P the mean probability of an answer's tokens. It is the negative of the variational form
    D_f(p, q) = sup_T E_p[T] - E_q[f*(T)], with f*(t) = sup_u (u t - f(u)) and T = g(P), where g
    maps the real line into the domain of f* (the output activations of f-GAN). One value per answer
    and its alternative. The released code takes the mean over padded rows, so that its scale
    depends on the padding; here it is over the answer's own tokens.

    Attributes:
        divergence: f; `total-variation` as in the released code's default.
        alternatives: `refusals` (the paper's template answers) or `model`.
        samples: Alternatives per record, one per epoch in turn.
        sampling_temperature: Of the model's alternatives.
        max_new_tokens: Longest alternative of the model.
    """

    divergence: Divergence = "total-variation"

    name: ClassVar[str] = "flat"
    level: ClassVar[Level] = "sequence"
    source: ClassVar[str] = (
        "Wang et al. 2025, FLAT: LLM Unlearning via Loss Adjustment with Only Forget Data; "
        "Nowozin et al. 2016 (f-GAN), Table 6"
    )
    presets: ClassVar[dict[str, Preset]] = {
        "flat": Preset("answer against refusal by an f-divergence, forget data only", retain=None)
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.divergence not in get_args(Divergence):
            known = ", ".join(get_args(Divergence))
            raise ValueError(f"divergence is one of {known}, not {self.divergence!r}")

    def values(self, stats: AnswerStats) -> Tensor:
        """(A,) the loss of each pair."""
        assert stats.alternative is not None
        g, conjugate = FORMS[self.divergence]
        return -g(_mean_probability(stats, stats.alternative)) + conjugate(
            _mean_probability(stats, ~stats.alternative)
        )


def _mean_probability(stats: AnswerStats, chosen: Tensor) -> Tensor:
    """(A,) mean π of the chosen tokens."""
    half = stats.with_weight(stats.weight * chosen)
    return half.sum_per_answer(half.logp.exp()) / half.length.clamp_min(1e-12)


def _jeffrey_conjugate(t: Tensor) -> Tensor:
    """F*(t) of f(u) = (u - 1) ln u.

    The supremum is at u = 1/w with w + ln w = 1 - t (Lambert's W of e^{1-t}), found by Newton's
    method. Held fixed it also gives the derivative, u, since f* is stationary there.
    """
    goal, w = 1 - t.detach(), torch.ones_like(t)
    for _ in range(20):
        w = (w - w * (w + w.log() - goal) / (1 + w)).clamp_min(1e-30)
    u = 1 / w
    return u * t - (u - 1) * u.log()


# Per divergence g(v) and f*(g(v)); above each, f and f*.
_LN2 = 0.6931471805599453
FORMS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    # ½ |u - 1|;  t on [-½, ½]
    "total-variation": (lambda v: v.tanh() / 2, lambda v: v.tanh() / 2),
    # u ln u;  e^{t-1}
    "kl": (lambda v: v, lambda v: (v - 1).exp()),
    # -ln u;  -1 - ln(-t)
    "reverse-kl": (lambda v: -(-v).exp(), lambda v: v - 1),
    # (u - 1) ln u;  see there
    "jeffrey": (lambda v: v, _jeffrey_conjugate),
    # (√u - 1)²;  t / (1 - t)
    "squared-hellinger": (lambda v: -torch.expm1(-v), lambda v: v.expm1()),
    # (u - 1)²;  t² / 4 + t
    "pearson": (lambda v: v, lambda v: v.square() / 4 + v),
    # (1 - u)² / u;  2 - 2 √(1 - t)
    "neyman": (lambda v: -torch.expm1(-v), lambda v: -2 * torch.expm1(-v / 2)),
    # u ln u - (u + 1) ln((u + 1) / 2);  -ln(2 - e^t)
    "jensen-shannon": (lambda v: _LN2 - F.softplus(-v), lambda v: v + F.softplus(-v) - _LN2),
}
