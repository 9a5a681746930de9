"""Teacher-forced statistics of answers: a few numbers per token, from as few tokens as possible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unbelief.measure.jobs import Answer, Question, row_of
from unbelief.measure.packs import Batch, Pack, batches_of, halves
from unbelief.models.dense import stats_from_logits
from unbelief.models.head import TokenInputs, answer_stats
from unbelief.models.inside import original_forward
from unbelief.models.runner import AnswerModel
from unbelief.models.stats import AnswerStats, Needs

_PROBES = 4  # questions on which packs are compared with plain rows
# Largest and mean |Δ log π| in nats at which both are called the same: what another order of
# summation makes, far below what an answer that sees another answer makes.
_TOLERANCE = {torch.bfloat16: (1.0, 0.05), torch.float16: (0.2, 0.01)}
_TOLERANCE_SINGLE = (1e-3, 1e-4)


@dataclass(frozen=True, slots=True)
class Scored:
    """An answer and its statistics.

    Attributes:
        answer: What was scored.
        token_ids: (n,) int32 the scored tokens.
        logp: (n,) float32 log-probability, nats.
        hit: (n,) bool, most probable token; False where the model gave NaN.
        entropy: (n,) float32, nats.
        variance: (n,) float32 variance of ln π under π, nats².
    """

    answer: Answer
    token_ids: np.ndarray
    logp: np.ndarray
    hit: np.ndarray
    entropy: np.ndarray
    variance: np.ndarray


def score(model: AnswerModel, batch: Batch) -> Iterator[Scored]:
    """Score the answers of a batch; one that does not fit into memory is halved.

    Args:
        model: In eval mode.
        batch: One forward.
    """
    pending = [batch]
    while pending:
        now = pending.pop()
        try:
            stats = packed_stats(model, now.packs) if now.packed else _plain(model, now.packs)
        except torch.OutOfMemoryError:
            smaller = halves(now)
            if not smaller:
                raise
            pending.extend(reversed(smaller))
            continue
        yield from _split(stats, now.packs)


def _plain(model: AnswerModel, packs: Sequence[Pack]) -> AnswerStats:
    rows = [row_of(p.prompt_ids, p.hidden, a) for p in packs for a in p.answers]
    return model.stats(rows, Needs(), moments=True)


def _split(stats: AnswerStats, packs: Sequence[Pack]) -> Iterator[Scored]:
    assert stats.hit is not None and stats.entropy is not None and stats.variance is not None
    logp, entropy, variance = (
        t.float().cpu().numpy() for t in (stats.logp, stats.entropy, stats.variance)
    )
    hit = stats.hit.cpu().numpy() & ~np.isnan(logp)  # the arg max of NaN is any token
    start = 0
    for pack in packs:
        for answer in pack.answers:
            ids = np.array(answer.ids if pack.prompt_ids else answer.ids[1:], dtype=np.int32)
            part = slice(start, start + len(ids))
            start = part.stop
            yield Scored(answer, ids, logp[part], hit[part], entropy[part], variance[part])


@torch.no_grad()
def packed_stats(model: AnswerModel, packs: Sequence[Pack]) -> AnswerStats:
    """Statistics of the answers of some packs, pack after pack.

    Every answer's positions continue the prompt's, as if it stood alone; the additive mask (R, 1,
    L, L) lets it see the prompt and itself. Prompts are not empty.
    """
    inputs, row, predictor, tokens = _inputs(model, packs)

    def call() -> Tensor:
        if model.head_path == "head":
            out = model.inner.base_model(**inputs, use_cache=False).last_hidden_state
        else:
            out = original_forward(model.inner)(**inputs, use_cache=False).logits
        return out[row, predictor]

    predicting = model.within(model.model, call)
    if model.head_path == "head":
        return answer_stats(predicting, model.head(), tokens, Needs(), moments=True)
    return stats_from_logits(predicting.float(), tokens, Needs(), moments=True)


def _inputs(
    model: AnswerModel, packs: Sequence[Pack]
) -> tuple[dict[str, Tensor], Tensor, Tensor, TokenInputs]:
    width = max(p.length for p in packs)
    shape = (len(packs), width)
    ids, position = np.full(shape, model.pad_id), np.zeros(shape, dtype=np.int64)
    # Which answer a token is of: 0 the prompt, -1 padding and hidden positions (as keys).
    group = np.full(shape, -1)
    row, predictor, target, counts = list[int](), list[int](), list[int](), list[int]()
    hidden: list[tuple[int, int]] = []
    for i, pack in enumerate(packs):
        start = len(pack.prompt_ids)
        ids[i, :start], position[i, :start] = pack.prompt_ids, np.arange(start)
        group[i, :start] = 0
        hidden += [(i, k) for k in pack.hidden]
        for j, answer in enumerate(pack.answers):
            stop = start + len(answer.ids)
            ids[i, start:stop], group[i, start:stop] = answer.ids, j + 1
            hidden += [(i, start + k) for k in answer.hidden]
            position[i, start:stop] = len(pack.prompt_ids) + np.arange(len(answer.ids))
            row += [i] * len(answer.ids)
            predictor += [len(pack.prompt_ids) - 1, *range(start, stop - 1)]
            target += answer.ids
            counts.append(len(answer.ids))
            start = stop
    as_key = group.copy()
    for i, position_of in hidden:
        as_key[i, position_of] = -1
    device = model.device
    segment = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    inputs = {
        "input_ids": torch.from_numpy(ids).to(device),
        "position_ids": torch.from_numpy(position).to(device),
        "attention_mask": _mask(
            torch.from_numpy(group).to(device),
            torch.from_numpy(as_key).to(device),
            model.inner.dtype,
        ),
    }
    tokens = TokenInputs(
        torch.tensor(target, device=device),
        segment.to(device),
        len(counts),
        torch.ones(len(target), device=device),
    )
    return inputs, torch.tensor(row, device=device), torch.tensor(predictor, device=device), tokens


def _mask(group: Tensor, as_key: Tensor, dtype: torch.dtype) -> Tensor:
    """(R, 1, L, L) added to attention scores: 0 where seen, else the lowest finite number.

    Not -inf: a position that sees nothing (padding, a hidden first token) would be NaN, and 0 · NaN
    is NaN for those who give it no weight.
    """
    same = as_key[:, None, :] == group[:, :, None]
    seen = (same | (as_key == 0)[:, None, :]) & (as_key >= 0)[:, None, :]
    seen = seen & torch.ones_like(seen[0]).tril()
    mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min)[:, None]


def window_of(config: Any) -> int | None:
    """Longest sequence in which every token sees all before it; None if there is no limit."""
    config = config.get_text_config(decoder=True)
    found = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min((w for w in found if w is not None), default=None)


def can_pack(model: AnswerModel, questions: Sequence[Question]) -> tuple[bool, str]:
    """Whether packs say what plain rows say, tried on a few questions, and why in a sentence.

    Args:
        model: In eval mode.
        questions: What will be scored.
    """
    config: Any = model.inner.config
    kind = getattr(config, "_attn_implementation", None)
    if kind not in ("eager", "sdpa"):
        return False, f"plain rows: attention {kind!r} takes no mask of its own"
    batches = batches_of(questions, packed=True, window=window_of(config), tokens=1 << 62)
    shared = [p for b in batches if b.packed for p in b.packs]
    if not shared:
        return False, "plain rows: there is nothing to pack"
    step = max(1, (len(shared) - 1) // (_PROBES - 1))
    probes = shared[::step][: _PROBES - 1] + shared[-1:]  # the longest, the shortest, some between
    try:
        packed = torch.cat([packed_stats(model, [p]).logp for p in probes])
    except torch.OutOfMemoryError:
        raise
    except (TypeError, ValueError, AttributeError, RuntimeError, IndexError, KeyError) as error:
        return False, f"plain rows: packs fail with {type(error).__name__}: {error}"
    plain = torch.cat([_plain(model, [p]).logp for p in probes])
    both = packed.isnan() & plain.isnan()
    difference = torch.where(both, 0.0, (packed - plain).abs()).nan_to_num(torch.inf)
    worst, mean = float(difference.max()), float(difference.mean())
    most, most_mean = _TOLERANCE.get(model.inner.dtype, _TOLERANCE_SINGLE)
    if worst > most or mean > most_mean:
        return False, f"plain rows: packs differ from them by up to {worst:.1e} nats"
    return True, f"packs: checked against plain rows, at most {worst:.1e} nats apart"
