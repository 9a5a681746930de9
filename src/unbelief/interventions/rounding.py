"""Weights rounded to few values, and back: what a quantised model computes with.

Only the rounding is simulated: products run in the weights' own dtype, on any device.
"""

from __future__ import annotations

from functools import cache
from statistics import NormalDist

import torch
from torch import Tensor

BLOCK = 64


@cache
def nf4_levels() -> tuple[float, ...]:
    """The 16 levels of NormalFloat4, from −1 to 1, ascending.

    With offset δ = 0.9677083 and Φ⁻¹ the normal quantile function: eight levels above zero are
    Φ⁻¹ at 8 equal steps from δ down to (not including) 0.5, seven below are −Φ⁻¹ at 7 such steps,
    0 is a level, and all are divided by the largest.

    Source: Dettmers et al. 2023, QLoRA, arXiv 2305.14314; δ as in bitsandbytes.
    """
    delta, normal = 0.9677083, NormalDist()

    def quantiles(count: int) -> list[float]:
        return [normal.inv_cdf(delta + (0.5 - delta) * i / count) for i in range(count)]

    levels = sorted([*quantiles(8), 0.0, *(-q for q in quantiles(7))])
    return tuple(level / max(levels) for level in levels)


def round_rows(weight: Tensor, bits: int) -> Tensor:
    """Symmetric integers with one scale per row.

    s_i = max_j |W_ij| / m with m = 2^(bits−1) − 1; W'_ij = s_i · round(W_ij / s_i). A row of zeros
    stays zero. Ties go to the even integer.

    Args:
        weight: (out, in), any floating dtype.
        bits: Per weight, 2 to 8.
    """
    most = 2 ** (bits - 1) - 1
    values = weight.float()
    scale = values.abs().amax(dim=1, keepdim=True) / most
    return _scaled(values, scale).round().mul(scale).to(weight.dtype)


def round_blocks(weight: Tensor, bits: int, block: int = BLOCK) -> Tensor:
    """Symmetric integers with one scale per block of consecutive weights.

    As `round_rows`, with blocks of the weights in row-major order instead of rows; the last block
    may be shorter.
    """
    most = 2 ** (bits - 1) - 1
    blocks = _blocks(weight, block)
    scale = blocks.abs().amax(dim=1, keepdim=True) / most
    return _unblocked(_scaled(blocks, scale).round().mul(scale), weight)


def round_nf4(weight: Tensor, block: int = BLOCK) -> Tensor:
    """NormalFloat4: per block, W' = s · (level nearest to W / s) with s = max |W|.

    A weight halfway between two levels goes to the lower one.
    """
    levels = torch.tensor(nf4_levels(), device=weight.device)
    blocks = _blocks(weight, block)
    scale = blocks.abs().amax(dim=1, keepdim=True)
    nearest = torch.bucketize(_scaled(blocks, scale), (levels[1:] + levels[:-1]) / 2)
    return _unblocked(levels[nearest] * scale, weight)


def _scaled(values: Tensor, scale: Tensor) -> Tensor:
    return values / torch.where(scale > 0, scale, 1.0)


def _blocks(weight: Tensor, block: int) -> Tensor:
    flat = weight.float().reshape(-1)
    return torch.nn.functional.pad(flat, (0, -len(flat) % block)).view(-1, block)


def _unblocked(blocks: Tensor, weight: Tensor) -> Tensor:
    return blocks.reshape(-1)[: weight.numel()].view(weight.shape).to(weight.dtype)
