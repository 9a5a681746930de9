r"""The forget part of one optimiser step on one record: rows, loss, and residuals G = dL/dz.

For a soft target t with Σ_v t_v = 1 and L = ⟨t, log π(z)⟩, which is minimised,

    G = dL/dz = t − π            (Σ_v G_v = 0)
    GA:    t = e_y               G_GA = e_y − π
    BS-T:  t = (1−λ) e_y + λ q   G = G_GA + λ (q − e_y),  q the renormalised top k, detached

so off the target (v ≠ y) G_v = G_GA,v + λ q_v. Written for the negative log-likelihood, π − t, the
same reads G_GA,v − λ q_v; a formula that mixes the two does not sum to zero. BS-S (Theorem 5.3) is
the sum over the target and N beliefs with ω_0 = 1 − λ_S and ω_j = λ_S / N.

Source: Li et al. 2026, Lemma 5.1, Theorems 5.2 and 5.3; signs settled by the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unbelief.diagnose.exact import ExactModel, Parameters
from unbelief.errors import RequestError
from unbelief.models.dense import stats_from_logits
from unbelief.models.head import TokenInputs
from unbelief.models.stats import AnswerStats
from unbelief.objectives import BSS, BST, GA, Objective
from unbelief.tokens.batch import Row, TokenBatch
from unbelief.tokens.encode import Encoded
from unbelief.train.plan import Plan


@dataclass(frozen=True)
class Update:
    """One step on one record, as the trainer would make it, without its retain rows.

    Attributes:
        model: Before the step; it is the original model too, so references are its own.
        objective: What is minimised; only its forget term counts.
        rows: The target (ω = 1 − λ) and its beliefs (ω = λ / N).
    """

    model: ExactModel
    objective: Objective
    rows: tuple[Row, ...]

    @classmethod
    def of(
        cls,
        model: ExactModel,
        objective: Objective,
        record: Encoded,
        beliefs: Sequence[tuple[int, ...]] = (),
    ) -> Update:
        """The step on a record with its beliefs; () without BS-S.

        Raises:
            RequestError: The objective acts on hidden states or on divergences, or BS-S lacks its
                beliefs.
        """
        forget = objective.forget
        if not forget.needs.logits:
            raise RequestError(
                f"{forget.name} acts on hidden states, not on logits",
                where="method",
                remedy="choose a method whose loss is made of log-probabilities",
            )
        if getattr(forget, "answers", "targets") != "targets":
            raise RequestError(
                f"{forget.name} compares the target with another answer",
                where="method",
                remedy="choose a method whose rows are targets and beliefs",
            )
        if forget.needs.kl is not None:
            raise RequestError(
                f"{forget.name} compares the whole distribution with the original model's, which "
                "before the first step is the model's own",
                where="method",
                remedy="choose a method whose loss is made of log-probabilities",
            )
        if isinstance(forget, BSS) != bool(beliefs):
            raise RequestError(
                f"{len(beliefs)} beliefs for {forget.name}",
                where="beliefs",
                remedy="give beliefs with bs-s, and only then",
            )
        plan = _plan(objective, record)
        return cls(model, objective, tuple(plan.forget_rows(0, {record.record_id: beliefs})))

    def batch(self) -> TokenBatch:
        """The rows as tensors."""
        return self.model.batch(self.rows)

    def loss(self, logits: Tensor, batch: TokenBatch) -> Tensor:
        """The loss by its definition, from (T, V) logits."""
        stats = self.objective.select(self._stats(logits, batch))
        return self.objective.loss("forget", stats, self._scale(stats))

    def residuals(self) -> Tensor:
        """(T, V) G = dL/dz at every position of every row, ω and reduction included."""
        batch = self.batch()
        leaf = self.model.logits(batch).detach().requires_grad_()
        with torch.enable_grad():
            (found,) = torch.autograd.grad(self.loss(leaf, batch), leaf)
        return found

    def gradient(self) -> Parameters:
        """The gradient g = Jᵀ G, by autograd through the whole model."""
        batch = self.batch()
        with torch.enable_grad():
            own = {n: p.detach().requires_grad_() for n, p in self.model.parameters.items()}
            loss = self.loss(self.model.logits(batch, own), batch)
            found = torch.autograd.grad(loss, list(own.values()), allow_unused=True)
        pairs = zip(own.items(), found, strict=True)
        return {name: torch.zeros_like(p) if g is None else g for (name, p), g in pairs}

    def _stats(self, logits: Tensor, batch: TokenBatch) -> AnswerStats:
        needs, temperature = self.objective.forget.needs, self.objective.temperature
        tokens = TokenInputs(
            batch.target,
            batch.row,
            len(batch.rows),
            torch.ones(len(batch.row), dtype=logits.dtype, device=logits.device),
            temperature,
        )
        if needs.reference_logp or needs.beliefs_from != "policy":
            with torch.no_grad():  # before the first step all models are the original
                own = self.model.logits(batch) / temperature
                ref = own.log_softmax(dim=-1)
            k = min(needs.top_k, ref.shape[1])
            ids = ref.topk(k, dim=1).indices if k else None
            tokens = replace(
                tokens,
                ref_logp=ref.gather(1, batch.target[:, None]).squeeze(1),
                ref_topk_ids=ids,
                ref_topk_logp=None if ids is None else ref.gather(1, ids),
            )
        return stats_from_logits(logits, tokens, needs)

    def _scale(self, stats: AnswerStats) -> Tensor:
        """Coefficient of each row's token sum or value, (R,), as in the trainer's `StepLoss`."""
        record = Encoded("", self.rows[0].prompt_ids, self.rows[0].answer_ids)
        answers = {"": [r.answer_ids for r in self.rows[1:]]}
        counts = _plan(self.objective, record).step(0, answers).counts
        length = stats.length
        weight = torch.tensor([r.weight for r in self.rows], dtype=length.dtype).to(length.device)
        scale = torch.zeros_like(weight)
        for i, row in enumerate(self.rows):
            at = slice(i, i + 1)
            scale[at] = self.objective.answer_scale(
                "forget", weight[at], length[at], counts[row.kind]
            )
        return scale

    def scale_of_rows(self) -> Tensor:
        """(R,) ω of each row with γ and the reduction: what its token sum counts."""
        batch = self.batch()
        with torch.no_grad():
            return self._scale(self._stats(self.model.logits(batch), batch))


def soft_target(term: GA | BST, logits: Tensor, target: Tensor) -> Tensor:
    """The t of Theorem 5.2, (T, V): e_y for GA, (1−λ) e_y + λ q for BS-T.

    Args:
        term: BS-T with beliefs of the policy.
        logits: (T, V).
        target: (T,) ids.

    Raises:
        ValueError: Beliefs of the original model, or ones that carry gradients.
    """
    hot = torch.zeros_like(logits).scatter(1, target[:, None], 1.0)
    if isinstance(term, GA):
        return hot
    if term.beliefs_from != "policy" or not term.detach:
        raise ValueError("the closed form is that of detached beliefs of the policy")
    logp = logits.log_softmax(dim=-1)
    ids = logp.topk(min(term.top_k, logp.shape[1]), dim=1).indices
    q = (logp.gather(1, ids) / term.belief_temperature).softmax(dim=-1)
    belief = torch.zeros_like(logits).scatter(1, ids, q)
    return (1 - term.weight) * hot + term.weight * belief


def closed_form(term: GA | BST, logits: Tensor, target: Tensor) -> Tensor:
    """G = t − π per token, (T, V), without ω and reduction."""
    return soft_target(term, logits, target) - logits.softmax(dim=-1)


def _plan(objective: Objective, record: Encoded) -> Plan:
    forget = objective.forget
    return Plan(
        forget=[record],
        retain=[],
        pairs_per_step=1,
        epochs=1,
        belief_weight=forget.weight if isinstance(forget, BSS) else 0.0,
        keep_fraction=objective.keep_fraction,
    )
