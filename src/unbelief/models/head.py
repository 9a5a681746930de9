"""The answer head: log-probabilities and their gradients without full-vocabulary tensors.

Only hidden states of scored positions meet the output embedding, a chunk of rows at a time. With
logits z = f(W h) of one chunk, every statistic an objective uses is a function of few numbers per
token: the target's logit z_y, the logits z_j of k chosen tokens, and the log-sum-exp. So for any
objective L of those,

    dL/dz = g_y e_y + Σ_j g_j e_j + g_lse π        (π = softmax z, g = gradients of L)

which is formed in place in the chunk's own buffer and multiplied out to dL/dh and dL/dW at once.
That is three matrix products per token (logits, dh, dW), the least possible, and memory for one
chunk, whatever the vocabulary and the number of tokens.

Chunks hold whole answers, so that objectives over sequences (NPO) know their answer's sum before
the gradient is formed. An answer longer than a chunk is walked through twice (four products).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unbelief.models.chunk import (
    HeadWeights,
    LogitMap,
    Mask,
    Raw,
    TokenInputs,
    concatenate,
    cut,
    product_dtype,
    stats_of,
    which_tokens,
)
from unbelief.models.direct import grad_of, takes_direct_gradients
from unbelief.models.kernel import ChunkKernel
from unbelief.models.stats import AnswerStats, Needs

__all__ = [
    "HeadJob",
    "HeadWeights",
    "LogitMap",
    "TokenInputs",
    "answer_loss",
    "answer_spans",
    "answer_stats",
    "chunk_rows",
]

CHUNK_BYTES = 128 * 2**20
_CPU_ROWS = 256  # of one product, where nothing is differentiated: more take memory, not less time

LossOfStats = Callable[[AnswerStats], Tensor]


def answer_spans(segment: Tensor, n_answers: int, chunk: int) -> list[tuple[int, int, int, int]]:
    """Group whole answers into spans of at most `chunk` tokens.

    Returns:
        (first token, last token, first answer, last answer), ends exclusive. A single answer
        longer than `chunk` gets a span of its own.
    """
    counts = torch.bincount(segment, minlength=n_answers).tolist()
    spans, start, first, size = [], 0, 0, 0
    for answer, count in enumerate(counts):
        if size and size + count > chunk:
            spans.append((start, start + size, first, answer))
            start, first, size = start + size, answer, 0
        size += count
    spans.append((start, start + size, first, n_answers))
    return spans


def chunk_rows(vocabulary: int, chunk_bytes: int | None = None) -> int:
    """Rows of fp32 logits that fit a chunk."""
    return max(16, (chunk_bytes or CHUNK_BYTES) // (4 * vocabulary))


@dataclass(frozen=True, slots=True)
class HeadJob:
    """One objective side over a contiguous range of tokens.

    Attributes:
        tokens: The range's inputs.
        needs: Statistics the loss uses.
        loss: Scalar function of the statistics, additive over answers.
        ref_hidden: (T, d) hidden states of the original model, where needed.
        ref_head: The original model's output embedding, where needed.
    """

    tokens: TokenInputs
    needs: Needs
    loss: LossOfStats
    ref_hidden: Tensor | None = None
    ref_head: HeadWeights | None = None


class _AnswerLoss(torch.autograd.Function):
    """Loss of head jobs over hidden states; gradients are formed in forward, chunk by chunk."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        logit_map: LogitMap,
        jobs: Sequence[HeadJob],
        dtype: torch.dtype,
        chunk: int,
        direct: bool,
        buffers: dict[str, Tensor],
    ) -> Tensor:
        head = HeadWeights(weight, bias, logit_map)
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grads = _Gradients(
            torch.zeros_like(hidden) if needs_hidden else None,
            _weight_gradient(weight, direct) if needs_weight else None,
            torch.zeros(len(weight), dtype=torch.float32, device=weight.device)
            if needs_bias
            else None,
        )
        total, offset = hidden.new_zeros((), dtype=torch.float32), 0
        # Autocast would re-cast the products and does not know `out=`; dtypes are explicit here.
        with torch.autocast(hidden.device.type, enabled=False):
            for job in jobs:
                stop = offset + len(job.tokens.target)
                view = grads.rows(offset, stop)
                total += _run_job(head, job, hidden[offset:stop], view, dtype, chunk, buffers)
                offset = stop
        ctx.grads, ctx.direct = grads, direct
        ctx.dtypes = (hidden.dtype, weight.dtype)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        grads: _Gradients | None = ctx.grads
        if grads is None:
            raise RuntimeError("an answer loss can be differentiated once: compute it again")
        returned_weight = grads.weight
        if ctx.direct and grads.weight is not None:
            # What is in `.grad` already cannot be scaled any more.
            if grad_outputs[0] != 1:
                raise RuntimeError("direct gradients need the loss itself to be differentiated")
            returned_weight = None
        out = []
        for tensor in (grads.hidden, returned_weight, grads.bias):
            if tensor is not None:
                tensor = tensor.mul_(grad_outputs[0])
            out.append(tensor)
        if out[1] is not None:
            out[1] = out[1].to(ctx.dtypes[1])
        ctx.grads = None
        return (*out, None, None, None, None, None, None)


@dataclass(frozen=True, slots=True)
class _Gradients:
    hidden: Tensor | None
    weight: Tensor | None
    bias: Tensor | None

    def rows(self, start: int, stop: int) -> _Gradients:
        """The part of the hidden gradient that belongs to some rows; the rest is shared."""
        part = None if self.hidden is None else self.hidden[start:stop]
        return _Gradients(part, self.weight, self.bias)


def _run_job(
    head: HeadWeights,
    job: HeadJob,
    hidden: Tensor,
    grads: _Gradients,
    dtype: torch.dtype,
    chunk: int,
    buffers: dict[str, Tensor],
) -> Tensor:
    kernel = ChunkKernel(head, job.needs, dtype, job.ref_head, buffers)
    total = hidden.new_zeros((), dtype=torch.float32)
    for start, stop, first, last in answer_spans(job.tokens.segment, job.tokens.n_answers, chunk):
        tokens = job.tokens.slice(start, stop, first, last)
        pieces = [(i, min(i + chunk, stop)) for i in range(start, stop, chunk)]
        raws = [_piece(kernel, job, hidden, a, b) for a, b in pieces]
        raw = raws[0] if len(raws) == 1 else concatenate(raws)
        loss, leaf_grads = _differentiate(raw, tokens, job.loss)
        total += loss
        for a, b in pieces:
            if len(pieces) > 1:  # the buffers hold the last piece: compute this one again
                _piece(kernel, job, hidden, a, b)
            part = cut(raw, a - start, b - start)
            part_grads = [None if g is None else g[a - start : b - start] for g in leaf_grads]
            dz = kernel.backward(_piece_tokens(job.tokens, a, b), part, part_grads)
            if grads.hidden is not None:
                grads.hidden[a:b] = kernel.grad_hidden(dz)
            if grads.weight is not None:
                kernel.add_grad_weight(grads.weight, dz, hidden[a:b].to(dtype))
            if grads.bias is not None:
                grads.bias.add_(dz.sum(dim=0))
    return total


def _piece_tokens(tokens: TokenInputs, start: int, stop: int) -> TokenInputs:
    return tokens.slice(start, stop, 0, tokens.n_answers)


def _piece(kernel: ChunkKernel, job: HeadJob, hidden: Tensor, start: int, stop: int) -> Raw:
    ref = None if job.ref_hidden is None else job.ref_hidden[start:stop]
    return kernel.forward(hidden[start:stop], _piece_tokens(job.tokens, start, stop), ref)


def _differentiate(
    raw: Raw, tokens: TokenInputs, loss: LossOfStats
) -> tuple[Tensor, Sequence[Tensor | None]]:
    with torch.enable_grad():
        leaves = raw.leaves()
        for leaf in leaves:
            leaf.requires_grad_(True)
        value = loss(stats_of(raw, tokens))
        if not value.requires_grad:
            return value.detach(), [None] * len(leaves)
        grads = torch.autograd.grad(value, leaves, allow_unused=True)
    for leaf in leaves:
        leaf.requires_grad_(False)
    return value.detach(), grads


def _weight_gradient(weight: Tensor, direct: bool) -> Tensor:
    if direct:
        return grad_of(weight)
    return torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)


def answer_loss(
    hidden: Tensor,
    head: HeadWeights,
    jobs: Sequence[HeadJob],
    *,
    direct: bool = False,
    chunk_bytes: int | None = None,
    buffers: dict[str, Tensor] | None = None,
) -> Tensor:
    """Sum of the jobs' losses as a function of hidden states and the output embedding.

    Args:
        hidden: (T, d) hidden states at the positions that predict the scored tokens, job after job.
        head: Output embedding; gradients flow to its weight and bias where they require them.
        jobs: One per objective side, in the order of `hidden`.
        direct: Add the weight's gradient to its `.grad` at once instead of returning it in
            backward; the result must then be differentiated as it is, unscaled.
        chunk_bytes: Size of the logits buffer (default 128 MiB).
        buffers: Where the buffers stay, for the next call to use them again.

    Returns:
        Scalar. Its backward is cheap: the gradients were formed on the way.
    """
    chunk = chunk_rows(head.weight.shape[0], chunk_bytes)
    dtype = product_dtype(hidden, head.weight)
    direct = direct and torch.is_grad_enabled() and takes_direct_gradients(head.weight)
    kept = {} if buffers is None else buffers
    return _AnswerLoss.apply(
        hidden, head.weight, head.bias, head.map, jobs, dtype, chunk, direct, kept
    )


@torch.no_grad()
def answer_stats(
    hidden: Tensor,
    head: HeadWeights,
    tokens: TokenInputs,
    needs: Needs,
    *,
    moments: Mask = False,
    chunk_bytes: int | None = None,
) -> AnswerStats:
    """Statistics without gradients, for measurement and for the reference cache.

    Args:
        hidden: (T, d) hidden states at the predicting positions.
        head: Output embedding.
        tokens: The scored tokens.
        needs: Which statistics.
        moments: Of which tokens also the entropy and the variance of ln π under π (else NaN).
        chunk_bytes: Size of the logits buffer (default 128 MiB; on a CPU no more than 256 rows).
    """
    chunk = chunk_rows(head.weight.shape[0], chunk_bytes)
    if chunk_bytes is None and not hidden.is_cuda:
        chunk = min(chunk, _CPU_ROWS)
    dtype = product_dtype(hidden, head.weight)
    kernel, raws, of = ChunkKernel(head, needs, dtype), [], which_tokens(moments, tokens)
    with torch.autocast(hidden.device.type, enabled=False):
        for start in range(0, len(hidden), chunk):
            stop = min(start + chunk, len(hidden))
            its = None if of is None else of[start:stop]
            piece = _piece_tokens(tokens, start, stop)
            raws.append(kernel.forward(hidden[start:stop], piece, moments=its))
    return stats_of(concatenate(raws), tokens)
