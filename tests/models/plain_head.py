"""The answer head's definition, written out with full logits in double precision.

Shares no code with `models.head` or `models.dense`: it is what both are tested against.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unbelief.models.head import HeadJob, HeadWeights, LogitMap, TokenInputs
from unbelief.models.stats import AnswerStats, Needs

EVERYTHING = LogitMap(scale=0.3, softcap=2.0)


@dataclass
class Case:
    """Random hidden states (T, d), an output embedding (V, d), their originals, and tokens."""

    hidden: Tensor
    weight: Tensor
    bias: Tensor
    ref_hidden: Tensor
    ref_weight: Tensor
    tokens: TokenInputs
    map: LogitMap

    @property
    def leaves(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.hidden, self.weight, self.bias

    @property
    def head(self) -> HeadWeights:
        return HeadWeights(self.weight, self.bias, self.map)

    @property
    def ref_head(self) -> HeadWeights:
        return HeadWeights(self.ref_weight, self.bias.detach(), self.map)

    def to(self, dtype: torch.dtype) -> Case:
        """The same numbers in another dtype, as fresh leaves."""
        cast = {k: getattr(self, k).detach().to(dtype) for k in _TENSORS}
        for name in ("hidden", "weight", "bias"):
            cast[name].requires_grad_(True)
        return replace(self, **cast)

    def job(self, needs: Needs, loss: object) -> HeadJob:
        ref = (self.ref_hidden, self.ref_head) if needs.kl else (None, None)
        return HeadJob(self.tokens, needs, loss, *ref)  # type: ignore[arg-type]


_TENSORS = ("hidden", "weight", "bias", "ref_hidden", "ref_weight")


def make_case(
    lengths: tuple[int, ...] = (7, 20, 5, 33),
    *,
    vocabulary: int = 101,
    width: int = 16,
    logit_map: LogitMap = LogitMap(),  # noqa: B008 - frozen
    temperature: float = 1.0,
    ref_top_k: int = 0,
    seed: int = 0,
) -> Case:
    """Answers of the given lengths; `ref_top_k` puts the original's beliefs among the inputs."""
    g = torch.Generator().manual_seed(seed)
    n = sum(lengths)
    case = Case(
        torch.randn(n, width, generator=g),
        torch.randn(vocabulary, width, generator=g),
        torch.randn(vocabulary, generator=g),
        torch.randn(n, width, generator=g),
        torch.randn(vocabulary, width, generator=g),
        TokenInputs(
            torch.randint(vocabulary, (n,), generator=g),
            torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)),
            len(lengths),
            torch.rand(n, generator=g) + 0.1,
            temperature,
        ),
        logit_map,
    ).to(torch.float32)
    if not ref_top_k:
        return case
    z_o = plain_logits(case.ref_hidden, case.ref_head)
    logp, ids = (z_o / temperature).log_softmax(-1).topk(ref_top_k)
    tokens = replace(case.tokens, ref_topk_ids=ids, ref_topk_logp=logp.float())
    return replace(case, tokens=tokens)


def plain_logits(hidden: Tensor, head: HeadWeights) -> Tensor:
    """z = f(W h + b), nothing else; products in the given dtype, the rest in at least fp32."""
    z = hidden @ head.weight.t()
    if head.bias is not None:
        z = z + head.bias
    if z.dtype == torch.bfloat16:
        z = z.float()
    z = z * head.map.scale
    return z if head.map.softcap is None else head.map.softcap * torch.tanh(z / head.map.softcap)


def plain_stats(case: Case, needs: Needs) -> AnswerStats:
    """Every statistic by its definition, from the (T, V) log-probabilities."""
    tokens = case.tokens
    rows = torch.arange(len(tokens.target))
    logp = torch.log_softmax(plain_logits(case.hidden, case.head) / tokens.temperature, dim=-1)
    ref = torch.log_softmax(
        plain_logits(case.ref_hidden, case.ref_head) / tokens.temperature, dim=-1
    )
    ids = tokens.ref_topk_ids
    if needs.top_k and needs.beliefs_from == "policy":
        ids = logp.detach().topk(min(needs.top_k, logp.shape[1])).indices
    top = None if not needs.top_k else logp.gather(1, ids)
    chooser = top if tokens.ref_topk_logp is None else tokens.ref_topk_logp
    kl = ref_others = None
    if needs.kl == "forward":
        kl = (ref.exp() * (ref - logp)).sum(-1)
    elif needs.kl == "reverse":
        kl = (logp.exp() * (logp - ref)).sum(-1)
    elif needs.kl == "others":
        others = torch.ones_like(ref, dtype=torch.bool)
        others[rows, tokens.target] = False
        kl = (ref.exp() * (ref - logp)).where(others, 0.0).sum(-1)
        ref_others = ref.exp().where(others, 0.0).sum(-1)
    return AnswerStats(
        logp=logp[rows, tokens.target],
        segment=tokens.segment,
        weight=tokens.weight,
        n_answers=tokens.n_answers,
        hit=logp.argmax(-1) == tokens.target,
        topk_ids=ids if needs.top_k else None,
        topk_logp=top,
        topk_mass=chooser.detach().exp().sum(-1) if needs.top_k else None,
        ref_topk_logp=tokens.ref_topk_logp,
        ref_logp=tokens.ref_logp,
        kl=kl,
        ref_others=ref_others,
        log_others=torch.log1p(-logp[rows, tokens.target].exp()) if needs.log_others else None,
        mean_logp=logp.sum(-1) / logp.shape[-1] if needs.mean_logp else None,
        square_mass=(logp.detach().exp() ** 2).sum(-1) if needs.diagnostics else None,
        entropy=-mean_logp(logp).detach(),
        variance=(logp.exp() * (logp - mean_logp(logp)[:, None]) ** 2).sum(-1).detach(),
    )


def mean_logp(logp: Tensor) -> Tensor:
    return (logp.exp() * logp).sum(-1)
