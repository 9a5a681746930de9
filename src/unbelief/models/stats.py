"""What the answer head yields about scored tokens: the named arrays objectives are functions of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Needs:
    """What a term asks of the model; the union over an objective is computed once.

    Attributes:
        reference_logp: Log-probability of each scored token under the original model.
        top_k: Size of the belief set (0: none).
        beliefs_from: Which model's top-k defines the beliefs: the policy, the original, or an
            average of the policy's weights along the run.
        decay: Of that average, per step.
        kl: Full-vocabulary divergence to the original model: `forward` is KL(π_o ‖ π), `reverse`
            is KL(π ‖ π_o), `others` the part of the forward one that is not the target's,
            Σ_{v≠y} π_o(v) ln(π_o(v) / π(v)), exact also where π_o(y) is nearly 1.
        hidden_layer: Index of the decoder layer whose output is wanted at scored positions.
        reference_hidden: The same layer's output of the original model.
        log_others: log(1 - π(y)) of the target, exact also where π(y) is nearly 1.
        mean_logp: Mean over the vocabulary of log π, which says how peaked π is.
        diagnostics: Σ_v π(v)² per token, from which norms of residuals follow.
    """

    reference_logp: bool = False
    top_k: int = 0
    beliefs_from: Literal["policy", "reference", "average"] = "policy"
    decay: float = 0.0
    kl: Literal["forward", "reverse", "others"] | None = None
    hidden_layer: int | None = None
    reference_hidden: bool = False
    log_others: bool = False
    mean_logp: bool = False
    diagnostics: bool = False

    @property
    def logits(self) -> bool:
        """Whether anything of the output distribution is needed."""
        return self.hidden_layer is None

    @property
    def reference_distribution(self) -> bool:
        """Whether a forward pass of the original model is needed in every step."""
        return self.kl is not None or self.reference_hidden


@dataclass(frozen=True, slots=True)
class AnswerStats:
    """Statistics of T scored tokens of A answers, all from one set of rows.

    Attributes:
        logp: (T,) log π(y_i | x, y_<i), nats, differentiable.
        segment: (T,) answer of each token, 0 .. A-1, not decreasing.
        weight: (T,) float weight of each token (0 excludes it).
        n_answers: A.
        hit: (T,) whether y_i is the most probable token.
        topk_ids: (T, k) belief tokens.
        topk_logp: (T, k) log π of the belief tokens, differentiable.
        topk_mass: (T,) S_k, their total probability under the model that chose them.
        ref_topk_logp: (T, k) log-probabilities of the belief tokens under the model whose beliefs
            they are, where that is not the policy.
        ref_logp: (T,) log π_o(y_i | x, y_<i).
        kl: (T,) divergence to the original model, nats, differentiable.
        ref_others: (T,) Σ_{v≠y} π_o(v), with the divergence of the others.
        square_mass: (T,) Σ_v π(v)².
        log_others: (T,) log Σ_{v≠y} π(v), nats, differentiable.
        mean_logp: (T,) (1/V) Σ_v log π(v), nats, differentiable.
        hidden: (T, d) output of the wanted layer at the scored tokens, differentiable.
        ref_hidden: (T, d) the same of the original model.
        entropy: (T,) −Σ_v π(v) ln π(v), nats; NaN for tokens of which it was not asked.
        variance: (T,) variance of ln π(v) under π, nats²; likewise.
        alternative: (T,) bool; which tokens belong to the alternative where an answer and its
            alternative are one entry.
    """

    logp: Tensor
    segment: Tensor
    weight: Tensor
    n_answers: int
    hit: Tensor | None = None
    topk_ids: Tensor | None = None
    topk_logp: Tensor | None = None
    topk_mass: Tensor | None = None
    ref_topk_logp: Tensor | None = None
    ref_logp: Tensor | None = None
    kl: Tensor | None = None
    ref_others: Tensor | None = None
    square_mass: Tensor | None = None
    log_others: Tensor | None = None
    mean_logp: Tensor | None = None
    hidden: Tensor | None = None
    ref_hidden: Tensor | None = None
    entropy: Tensor | None = None
    variance: Tensor | None = None
    alternative: Tensor | None = None

    def sum_per_answer(self, values: Tensor) -> Tensor:
        """Σ over an answer's tokens of weight · value: (T,) -> (A,)."""
        total = torch.zeros(self.n_answers, dtype=values.dtype, device=values.device)
        return total.index_add(0, self.segment, values * self.weight)

    @property
    def length(self) -> Tensor:
        """(A,) total token weight per answer (its length where every weight is 1)."""
        total = torch.zeros(self.n_answers, dtype=self.weight.dtype, device=self.weight.device)
        return total.index_add(0, self.segment, self.weight)

    def with_weight(self, weight: Tensor) -> AnswerStats:
        """The same statistics with other token weights."""
        return replace(self, weight=weight)
