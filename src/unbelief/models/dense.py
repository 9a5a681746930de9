"""Answer statistics from full logits: the plain definition.

Used where a model's output embedding cannot be called by hand, and as the twin the chunked head is
tested against. Memory grows with tokens × vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unbelief.models.chunk import Mask, which_tokens
from unbelief.models.head import HeadWeights, TokenInputs
from unbelief.models.stats import AnswerStats, Needs


def full_logits(hidden: Tensor, head: HeadWeights) -> Tensor:
    """(T, V) fp32 logits of hidden states (T, d), soft cap and scale included."""
    z = F.linear(hidden.to(head.weight.dtype), head.weight, head.bias).float() * head.map.scale
    cap = head.map.softcap
    return z if cap is None else cap * torch.tanh(z / cap)


def stats_from_logits(
    logits: Tensor,
    tokens: TokenInputs,
    needs: Needs,
    ref_logits: Tensor | None = None,
    *,
    moments: Mask = False,
) -> AnswerStats:
    """Statistics of scored tokens from their full logits, differentiable by autograd.

    Args:
        logits: (T, V) at the predicting positions, already mapped (soft cap, scale).
        tokens: The scored tokens.
        needs: Which statistics.
        ref_logits: (T, V) of the original model, where a divergence is needed.
        moments: Of which tokens also the entropy and the variance of ln π under π (else NaN).
    """
    logp = (logits / tokens.temperature).log_softmax(dim=-1)
    topk_ids = topk_logp = mass = kl = ref_others = None
    if needs.top_k:
        own = logp.detach().topk(min(needs.top_k, logp.shape[1]), dim=1).indices
        topk_ids = own if needs.beliefs_from == "policy" else tokens.ref_topk_ids
        assert topk_ids is not None
        topk_logp = logp.gather(1, topk_ids)
        chooser = topk_logp if tokens.ref_topk_logp is None else tokens.ref_topk_logp
        mass = chooser.detach().exp().sum(dim=1)
    if needs.kl is not None:
        assert ref_logits is not None
        ref = (ref_logits / tokens.temperature).log_softmax(dim=-1)
        above, below = (logp, ref) if needs.kl == "reverse" else (ref, logp)
        share = above.exp()
        if needs.kl == "others":
            share = share.scatter(1, tokens.target[:, None], 0.0)
            ref_others = share.sum(dim=-1)
        kl = (share * (above - below)).sum(dim=-1)
    pi, of = logp.detach().exp(), which_tokens(moments, tokens)
    return AnswerStats(
        logp=logp.gather(1, tokens.target[:, None]).squeeze(1),
        segment=tokens.segment,
        weight=tokens.weight,
        n_answers=tokens.n_answers,
        hit=logits.argmax(dim=1) == tokens.target,
        topk_ids=topk_ids,
        topk_logp=topk_logp,
        topk_mass=mass,
        log_others=_log_others(logp, tokens.target) if needs.log_others else None,
        mean_logp=logp.mean(dim=1) if needs.mean_logp else None,
        ref_topk_logp=tokens.ref_topk_logp,
        ref_logp=tokens.ref_logp,
        kl=kl,
        ref_others=ref_others,
        square_mass=pi.square().sum(dim=1) if needs.diagnostics else None,
        entropy=None if of is None else torch.where(of, _entropy(pi), torch.nan),
        variance=None if of is None else torch.where(of, _variance(pi, logp.detach()), torch.nan),
    )


def _log_others(logp: Tensor, target: Tensor) -> Tensor:
    """Log Σ_{v≠y} π(v), (T,)."""
    return logp.scatter(1, target[:, None], float("-inf")).logsumexp(dim=1)


def _entropy(pi: Tensor) -> Tensor:
    """−Σ_v π(v) ln π(v), (T,)."""
    return torch.special.entr(pi).sum(dim=1)


def _variance(pi: Tensor, logp: Tensor) -> Tensor:
    """Σ_v π(v) (ln π(v) + H)², (T,); tokens without probability have no share in it."""
    seen = torch.where(pi == 0, 0.0, logp)
    mean = (pi * seen).sum(dim=1, keepdim=True)
    return (pi * (seen - mean).square()).sum(dim=1)
