"""What takes long on a chunk of logits, each by the faster library on a CPU.

PyTorch multiplies fp32 matrices with MKL; oneDNN, which it carries for compiled graphs, is 15 to
25 % faster at these shapes (some hundred rows, 128,256 columns, AVX-512) and sums in fp32 as well.
NumPy finds the largest number of a row in a sixth of PyTorch's time.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Columns of logits per product on a CPU. A BLAS that writes far longer rows at once works in memory
# instead of the cache: two thirds of the speed at 128,256 (MKL, two cores, 130 to 384 rows).
_COLUMNS = 1024
# Rows of an output embedding from which on oneDNN is worth it: it keeps a compiled product for each
# of the last 1,024 shapes, a hundred kilobytes and more each, and batches have any number of rows.
# (Filling rows up to multiples of 16 would cost more than the library gains.)
_LARGE = 16_384


def _has_onednn(*tensors: Tensor) -> bool:
    """Whether oneDNN takes these; empty ones and other devices and dtypes it does not."""
    return bool(
        all(t.device.type == "cpu" and t.dtype == torch.float32 and t.numel() for t in tensors)
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _onednn(x: Tensor, weight: Tensor) -> Tensor:
    """X · weightᵀ for (n, a) and (m, a)."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return product


def logits_into(out: Tensor, hidden: Tensor, weight: Tensor) -> None:
    """Out = hidden · weightᵀ, for (n, d), (V, d) and (n, V), all of one dtype."""
    width = len(weight) if out.is_cuda else _COLUMNS
    fast = len(weight) >= _LARGE and _has_onednn(hidden, weight)
    for start in range(0, len(weight), width):
        block = slice(start, start + width)
        if fast:
            out[:, block] = _onednn(hidden, weight[block])
        else:
            torch.mm(hidden, weight[block].t(), out=out[:, block])


def times(dz: Tensor, weight: Tensor) -> Tensor:
    """Dz · weight, (n, d), for (n, V) and (V, d)."""
    fast = len(weight) >= _LARGE and _has_onednn(dz, weight)
    return _onednn(dz, weight.t()) if fast else dz @ weight


def largest(z: Tensor) -> tuple[Tensor, Tensor]:
    """Largest number of every row of (n, V) and where it is first, (n,) each; NaN before all."""
    if z.is_cuda or z.dtype != torch.float32 or not z.is_contiguous():
        return z.max(dim=1)
    at = torch.from_numpy(z.detach().numpy().argmax(axis=1))
    return z.gather(1, at[:, None]).squeeze(1), at
