"""Forward and backward of the output embedding on a few rows, in buffers that are used again.

What the formulas are, and why they suffice, is told in `unbelief.models.head`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unbelief.models.chunk import HeadWeights, Raw, TokenInputs
from unbelief.models.products import largest, logits_into, times
from unbelief.models.stats import Needs

_BLOCK = 1 << 16  # numbers of a block of logits on a CPU: with two copies they stay in its cache
_BLOCK_DEVICE = 1 << 24  # the same elsewhere: 64 MiB


class ChunkKernel:
    """Forward and backward of the output embedding on a few rows, in buffers used again.

    Args:
        head: Output embedding of the current model.
        needs: Which statistics to compute.
        dtype: Dtype of the matrix products (statistics are always fp32).
        ref_head: Output embedding of the original model, where a divergence is needed.
        buffers: Memory to work in, used again by whoever is given the same dictionary: fresh
            pages cost a CPU about a twentieth of a step.
    """

    def __init__(
        self,
        head: HeadWeights,
        needs: Needs,
        dtype: torch.dtype,
        ref_head: HeadWeights | None = None,
        buffers: dict[str, Tensor] | None = None,
    ):
        self.needs, self.dtype = needs, dtype
        self.head, self.ref_head = head, ref_head
        self.weight = head.weight.detach().to(dtype)
        self.ref_weight = None if ref_head is None else ref_head.weight.detach().to(dtype)
        self._buffers = {} if buffers is None else buffers

    def forward(
        self,
        hidden: Tensor,
        tokens: TokenInputs,
        ref_hidden: Tensor | None = None,
        *,
        moments: Tensor | None = None,
    ) -> Raw:
        """Statistics of one chunk; leaves π and what backward needs in the buffers.

        Args:
            hidden: (T, d) hidden states at the predicting positions.
            tokens: The scored tokens.
            ref_hidden: The original model's, where a divergence is needed.
            moments: (T,) bool, of which tokens also the entropy and the variance of ln π under π
                are wanted; those of the others are NaN.
        """
        z = self._logits("z", hidden, self.weight, self.head, tokens.temperature)
        top_ids, z_top = self._beliefs(z, tokens)
        z_target = z.gather(1, tokens.target[:, None]).squeeze(1)
        z_max, argmax = self._largest(z, top_ids, z_top)
        z_mean = z.mean(dim=1) if self.needs.mean_logp else None
        log_ratio = self._log_ratio(z, ref_hidden, tokens)
        ref_others = self._ref_pi(len(z)).sum(dim=1) if self.needs.kl == "others" else None
        if self.head.map.softcap is not None:
            self._keep("capped", z)
        entropy, variance = (None, None) if moments is None else self._moments(z, z_max, moments)
        torch.softmax(z, dim=1, out=z)
        # log Σ exp z = z_max - log π_max, and π_max >= 1/V never underflows.
        lse = z_max - z.gather(1, argmax[:, None]).squeeze(1).log()
        square = torch.linalg.vector_norm(z, dim=1).square() if self.needs.diagnostics else None
        lse_others = self._others(z, tokens.target, lse) if self.needs.log_others else None
        kl = None if log_ratio is None else self._divergence(z, log_ratio, lse)
        hit = argmax == tokens.target
        return Raw(
            z_target,
            lse,
            z_top,
            z_mean,
            lse_others,
            kl,
            top_ids,
            hit,
            square,
            ref_others,
            entropy,
            variance,
        )

    def _moments(self, z: Tensor, z_max: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Entropy of π and variance of ln π under π, each (rows,); NaN where not wanted."""
        # A few rows at a time, so that all passes but the first find them in the processor's cache.
        step = max(1, (_BLOCK_DEVICE if z.is_cuda else _BLOCK) // z.shape[1])
        found = z.new_full((2, len(z)), torch.nan)
        for rows in wanted.nonzero().squeeze(1).split(step):
            found[:, rows] = self._moments_of_rows(z, z_max, rows)
        return found[0], found[1]

    def _moments_of_rows(self, z: Tensor, z_max: Tensor, rows: Tensor) -> Tensor:
        """The same for some rows, (2, rows).

        With d = z - z_max, S = Σ exp d and m = Σ exp(d) d / S,

            H = ln S - m,    Var = Σ exp(d) (d - m)² / S.

        The variance is summed around the mean: where π is nearly certain, or nearly even between
        many tokens, second minus squared first moment would cancel.
        """
        d, e, product = (self._buffer(name, len(rows), z.device) for name in ("d", "e", "product"))
        # What is out of float's range has no share in the sums: it is not to be 0 times infinity.
        floor = math.log(torch.finfo(z.dtype).tiny)
        torch.index_select(z, 0, rows, out=d).sub_(z_max[rows, None]).clamp_(min=floor)
        total = torch.exp(d, out=e).sum(dim=1)
        mean = torch.mul(e, d, out=product).sum(dim=1).div_(total)
        d.sub_(mean[:, None])
        variance = torch.mul(e, d, out=product).mul_(d).sum(dim=1).div_(total)
        return torch.stack([total.log() - mean, variance])

    def backward(self, tokens: TokenInputs, raw: Raw, grads: Sequence[Tensor | None]) -> Tensor:
        """dL/d(W h + b) of the chunk just computed, formed in the buffer of π."""
        by_name = dict(zip(raw.named_leaves(), grads, strict=True))
        pi = self._buffers["z"][: len(tokens.target)]
        g_lse, g_kl = by_name["lse"], by_name.get("kl")
        dz_kl = None if g_kl is None else self._divergence_grad(pi, raw, g_kl)
        factor = torch.zeros_like(raw.lse) if g_lse is None else g_lse
        g_others, at = by_name.get("lse_others"), tokens.target[:, None]
        if g_others is None:
            pi.mul_(factor[:, None])
        else:
            # The others' own distribution is π without the target, renormalised.
            assert raw.lse_others is not None
            own = pi.gather(1, at) * factor[:, None]
            pi.mul_((factor + g_others * (raw.lse - raw.lse_others).exp())[:, None])
            pi.scatter_(1, at, own)
        if by_name["z_target"] is not None:
            pi.scatter_add_(1, at, by_name["z_target"][:, None])
        if raw.top_ids is not None and by_name["z_top"] is not None:
            pi.scatter_add_(1, raw.top_ids, by_name["z_top"])
        g_mean = by_name.get("z_mean")
        if g_mean is not None:
            pi.add_(g_mean[:, None], alpha=1 / pi.shape[1])
        if dz_kl is not None:
            pi.add_(dz_kl)
        scale = self.head.map.scale / tokens.temperature
        if self.head.map.softcap is not None:
            capped = self._buffers["capped"][: len(pi)].mul_(
                tokens.temperature / self.head.map.softcap
            )
            pi.mul_(capped.square_().neg_().add_(1.0))  # d/dz c·tanh(z/c) = 1 - tanh²
        return pi if scale == 1.0 else pi.mul_(scale)

    def _others(self, pi: Tensor, target: Tensor, lse: Tensor) -> Tensor:
        """Log-sum-exp of all logits but the target's, from π: no 1 - π, which would cancel."""
        at = target[:, None]
        own = pi.gather(1, at)
        total = pi.scatter_(1, at, 0.0).sum(dim=1)
        pi.scatter_(1, at, own)
        return lse + total.clamp_min(torch.finfo(pi.dtype).tiny).log()

    def grad_hidden(self, dz: Tensor) -> Tensor:
        """dL/dh = dL/dz · W."""
        return times(dz.to(self.dtype), self.weight)

    def add_grad_weight(self, total: Tensor, dz: Tensor, hidden: Tensor) -> None:
        """Total += (dL/dz)ᵀ h, summed in fp32."""
        if dz.is_cuda and self.dtype in (torch.bfloat16, torch.float16):
            # fp32 accumulation inside and outside the product, tensor cores for the product.
            product: Any = torch.mm
            total.add_(product(dz.to(self.dtype).t(), hidden, out_dtype=torch.float32))
        else:
            total.addmm_(dz.t(), hidden.float())

    def _buffer(self, name: str, rows: int, device: torch.device) -> Tensor:
        have = self._buffers.get(name)
        if have is None or len(have) < rows:
            have = torch.empty(rows, self.weight.shape[0], dtype=torch.float32, device=device)
            self._buffers[name] = have
        return have[:rows]

    def _keep(self, name: str, values: Tensor) -> None:
        self._buffer(name, len(values), values.device).copy_(values)

    def _logits(
        self, name: str, hidden: Tensor, weight: Tensor, head: HeadWeights, temperature: float
    ) -> Tensor:
        z = self._buffer(name, len(hidden), hidden.device)
        if self.dtype == torch.float32:
            logits_into(z, hidden.float(), weight)
        else:
            z.copy_(hidden.to(self.dtype) @ weight.t())
        if head.bias is not None:
            z.add_(head.bias.detach())
        if head.map.scale != 1.0:
            z.mul_(head.map.scale)
        if head.map.softcap is not None:
            z.div_(head.map.softcap).tanh_().mul_(head.map.softcap)
        return z if temperature == 1.0 else z.div_(temperature)

    def _beliefs(self, z: Tensor, tokens: TokenInputs) -> tuple[Tensor | None, Tensor | None]:
        if not self.needs.top_k:
            return None, None
        if self.needs.beliefs_from != "policy":
            if tokens.ref_topk_ids is None:
                raise ValueError("beliefs of the original model were asked for but not given")
            return tokens.ref_topk_ids, z.gather(1, tokens.ref_topk_ids)
        values, ids = z.topk(min(self.needs.top_k, z.shape[1]), dim=1)
        return ids, values

    def _largest(
        self, z: Tensor, top_ids: Tensor | None, z_top: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if top_ids is None or z_top is None or self.needs.beliefs_from != "policy":
            return largest(z)
        return z_top[:, 0], top_ids[:, 0]  # they are sorted

    def _log_ratio(
        self, z: Tensor, ref_hidden: Tensor | None, tokens: TokenInputs
    ) -> Tensor | None:
        """Z - log π_o in a buffer (log π / π_o up to the log-sum-exp of z)."""
        if self.needs.kl is None:
            return None
        if ref_hidden is None or self.ref_head is None or self.ref_weight is None:
            raise ValueError("a divergence needs the original model's hidden states")
        z_o = self._logits("ref", ref_hidden, self.ref_weight, self.ref_head, tokens.temperature)
        z_o.sub_(torch.logsumexp(z_o, dim=1, keepdim=True))
        if self.needs.kl != "reverse":
            ref_pi = torch.exp(z_o, out=self._buffer("ref_pi", len(z), z.device))
            if self.needs.kl == "others":
                ref_pi.scatter_(1, tokens.target[:, None], 0.0)
        return z_o.neg_().add_(z)

    def _ref_pi(self, rows: int) -> Tensor:
        """π_o of the chunk; 0 at the target where only the others count."""
        return self._buffers["ref_pi"][:rows]

    def _divergence(self, pi: Tensor, log_ratio: Tensor, lse: Tensor) -> Tensor:
        log_ratio.sub_(lse[:, None])
        if self.needs.kl != "reverse":
            return -torch.linalg.vecdot(self._ref_pi(len(pi)), log_ratio)
        return torch.linalg.vecdot(pi, log_ratio)

    def _divergence_grad(self, pi: Tensor, raw: Raw, g_kl: Tensor) -> Tensor:
        """D KL/dz: π - π_o (forward) or π (log π/π_o - KL) (reverse).

        Of the others alone it is S π - π_o, with S the sum of π_o over them.
        """
        if self.needs.kl != "reverse":
            ref_pi = self._ref_pi(len(pi)).neg_()
            if raw.ref_others is None:
                return ref_pi.add_(pi).mul_(g_kl[:, None])
            return ref_pi.addcmul_(pi, raw.ref_others[:, None]).mul_(g_kl[:, None])
        assert raw.kl is not None
        log_ratio = self._buffers["ref"][: len(pi)]
        return log_ratio.sub_(raw.kl[:, None]).mul_(pi).mul_(g_kl[:, None])
