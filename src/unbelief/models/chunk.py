"""What goes into the answer head and what comes out of it, for a few rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unbelief.models.stats import AnswerStats

Mask = bool | Tensor
"""All tokens, none of them, or those of a (T,) bool."""


@dataclass(frozen=True, slots=True)
class LogitMap:
    """What a model does to `W h + b` before the softmax.

    Attributes:
        scale: Multiplier (Granite divides by `logits_scaling`, Cohere multiplies by `logit_scale`).
        softcap: c in c·tanh(z / c) (Gemma), or None.
    """

    scale: float = 1.0
    softcap: float | None = None


@dataclass(frozen=True, slots=True)
class HeadWeights:
    """Output embedding (V, d), optional bias (V,) and the map applied to their result."""

    weight: Tensor
    bias: Tensor | None = None
    map: LogitMap = LogitMap()


@dataclass(frozen=True, slots=True)
class TokenInputs:
    """Per-token inputs of the head that are not hidden states. T tokens of A answers.

    Attributes:
        target: (T,) ids of the scored tokens.
        segment: (T,) answer of each token, contiguous and not decreasing.
        n_answers: A.
        weight: (T,) token weights.
        temperature: Logits are divided by this before the softmax.
        ref_logp: (T,) log-probabilities under the original model.
        ref_topk_ids: (T, k) the original model's beliefs.
        ref_topk_logp: (T, k) their log-probabilities under the original model.
    """

    target: Tensor
    segment: Tensor
    n_answers: int
    weight: Tensor
    temperature: float = 1.0
    ref_logp: Tensor | None = None
    ref_topk_ids: Tensor | None = None
    ref_topk_logp: Tensor | None = None

    def slice(self, start: int, stop: int, first: int, last: int) -> TokenInputs:
        """Tokens start..stop, which are the answers first..last (exclusive)."""

        def cut(t: Tensor | None) -> Tensor | None:
            return None if t is None else t[start:stop]

        return TokenInputs(
            self.target[start:stop],
            self.segment[start:stop] - first,
            last - first,
            self.weight[start:stop],
            self.temperature,
            cut(self.ref_logp),
            cut(self.ref_topk_ids),
            cut(self.ref_topk_logp),
        )


@dataclass(slots=True)
class Raw:
    """Leaves of the small graph an objective is differentiated through. T tokens."""

    z_target: Tensor
    lse: Tensor
    z_top: Tensor | None
    z_mean: Tensor | None
    lse_others: Tensor | None
    kl: Tensor | None
    top_ids: Tensor | None
    hit: Tensor
    square_mass: Tensor | None
    ref_others: Tensor | None = None
    entropy: Tensor | None = None
    variance: Tensor | None = None

    def leaves(self) -> list[Tensor]:
        """The tensors to differentiate by, in a fixed order."""
        return list(self.named_leaves().values())

    def named_leaves(self) -> dict[str, Tensor]:
        """The same by name."""
        names = ("z_target", "lse", "z_top", "z_mean", "lse_others", "kl")
        return {name: t for name in names if (t := getattr(self, name)) is not None}


def stats_of(raw: Raw, tokens: TokenInputs) -> AnswerStats:
    """Statistics an objective sees, as functions of the chunk's leaves."""
    mass = None
    topk_logp = None if raw.z_top is None else raw.z_top - raw.lse[:, None]
    if topk_logp is not None:
        chooser = topk_logp if tokens.ref_topk_logp is None else tokens.ref_topk_logp
        mass = chooser.detach().exp().sum(dim=1)
    return AnswerStats(
        logp=raw.z_target - raw.lse,
        segment=tokens.segment,
        weight=tokens.weight,
        n_answers=tokens.n_answers,
        hit=raw.hit,
        topk_ids=raw.top_ids,
        topk_logp=topk_logp,
        topk_mass=mass,
        log_others=None if raw.lse_others is None else raw.lse_others - raw.lse,
        mean_logp=None if raw.z_mean is None else raw.z_mean - raw.lse,
        ref_topk_logp=tokens.ref_topk_logp,
        ref_logp=tokens.ref_logp,
        kl=raw.kl,
        ref_others=raw.ref_others,
        square_mass=raw.square_mass,
        entropy=raw.entropy,
        variance=raw.variance,
    )


def concatenate(raws: Sequence[Raw]) -> Raw:
    """Pieces of one answer, one after the other."""

    def cat(name: str) -> Any:
        parts = [getattr(raw, name) for raw in raws]
        return None if parts[0] is None else torch.cat(parts)

    return Raw(*(cat(name) for name in Raw.__slots__))


def cut(raw: Raw, start: int, stop: int) -> Raw:
    """Tokens start..stop."""

    def part(name: str) -> Any:
        value = getattr(raw, name)
        return None if value is None else value[start:stop]

    return Raw(*(part(name) for name in Raw.__slots__))


def which_tokens(moments: Mask, tokens: TokenInputs) -> Tensor | None:
    """(T,) bool of which tokens moments are wanted; None: of none."""
    if isinstance(moments, Tensor):
        return moments
    return torch.ones_like(tokens.target, dtype=torch.bool) if moments else None


def product_dtype(hidden: Tensor, weight: Tensor) -> torch.dtype:
    """Dtype of the head's matrix products: autocast's where it is on, else the weight's."""
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return weight.dtype
