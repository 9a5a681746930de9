"""Bootstrapping with token beliefs."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from unbelief.models.stats import AnswerStats, Needs
from unbelief.objectives.base import ForgetTerm, Level


@dataclass(frozen=True)
class BST(ForgetTerm):
    r"""BS-T: gradient ascent on the answer and on the model's own top-k beliefs.

    .. math:: L = \langle t^i, \log\pi(\cdot) \rangle, \qquad
              t^i = (1-\lambda)\, e_{y^i} + \lambda\, \mathrm{sg}[q^i]

    with q the model's distribution restricted to its top k tokens and renormalised. Since Σt = 1,
    dL/dz = t - π, which sums to zero over the vocabulary; λ = 0 is GA. The belief part contributes
    λ(q - π): nothing when the top k hold all the mass, so watch `belief_mass` (S_k) and
    `belief_ratio`, and compare with `graddiff-control`. One value (nats) per token.

    Attributes:
        weight: λ, 0.2 in the authors' configuration.
        top_k: k, 20 in the authors' configuration.
        belief_temperature: q ∝ π^(1/τ) within the top k; 1 in the paper.
        beliefs_from: `policy` takes the current model's top k, `reference` the original model's
            (frozen beliefs), `average` those of an average of the weights along the run.
        average_decay: d of that average, which follows the policy after every step:
            θ̄ ← d θ̄ + (1 - d) θ, from θ̄ = θ_o. 1 is the original model, 0 the policy.
        detach: False lets gradients through q: with k = V that is entropy maximisation, a
            different method.
    """

    weight: float = 0.2
    top_k: int = 20
    belief_temperature: float = 1.0
    beliefs_from: Literal["policy", "reference", "average"] = "policy"
    average_decay: float = 0.99
    detach: bool = True

    name: ClassVar[str] = "bs-t"
    level: ClassVar[Level] = "token"
    source: ClassVar[str] = "Li et al. 2026, LLM Unlearning with LLM Beliefs, Eq. 5-6"

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight must lie in [0, 1], not {self.weight}")
        if self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, not {self.top_k}")
        if not 0 < self.belief_temperature < math.inf:
            raise ValueError(f"belief_temperature must be positive, not {self.belief_temperature}")
        if self.beliefs_from not in ("policy", "reference", "average"):
            raise ValueError(
                f"beliefs_from is policy, reference or average, not {self.beliefs_from!r}"
            )
        if not 0 <= self.average_decay <= 1:
            raise ValueError(f"average_decay must lie in [0, 1], not {self.average_decay}")
        if self.beliefs_from != "policy" and not self.detach:
            raise ValueError(
                "beliefs of another model have no gradient: detach=False needs beliefs_from=policy"
            )

    @property
    def needs(self) -> Needs:
        """Top-k beliefs of the current, the original or an averaged model."""
        decay = self.average_decay if self.beliefs_from == "average" else 0.0
        return Needs(
            top_k=self.top_k, beliefs_from=self.beliefs_from, decay=decay, diagnostics=True
        )

    def beliefs(self, stats: AnswerStats) -> Tensor:
        """(T, k) q: tempered, renormalised over the belief tokens."""
        own = stats.topk_logp if self.beliefs_from == "policy" else stats.ref_topk_logp
        assert own is not None
        q = torch.softmax(own / self.belief_temperature, dim=-1)
        return q.detach() if self.detach else q

    def values(self, stats: AnswerStats) -> Tensor:
        """(T,) soft-target log-likelihood."""
        assert stats.topk_logp is not None
        belief = (self.beliefs(stats) * stats.topk_logp).sum(dim=-1)
        return (1 - self.weight) * stats.logp + self.weight * belief

    @torch.no_grad()
    def diagnostics(self, stats: AnswerStats) -> dict[str, Tensor]:
        """S_k and ‖λ(q - π)‖ / ‖(1-λ)(e_y - π)‖ per token."""
        assert stats.topk_logp is not None and stats.topk_mass is not None
        out = {"belief_mass": stats.topk_mass}
        if stats.square_mass is None or self.weight == 1:
            return out
        pi, q, p_y = stats.topk_logp.exp(), self.beliefs(stats), stats.logp.exp()
        # ‖q - π‖² = Σ_v π² + Σ_top (q² - 2qπ);  ‖e_y - π‖² = Σ_v π² + 1 - 2π_y
        belief = stats.square_mass + (q * (q - 2 * pi)).sum(dim=-1)
        target = stats.square_mass + 1 - 2 * p_y
        ratio = self.weight / (1 - self.weight)
        out["belief_ratio"] = ratio * (belief.clamp_min(0) / target.clamp_min(1e-12)).sqrt()
        return out
