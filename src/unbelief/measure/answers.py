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
from unbelief.measure.tree import Tree, tree_of
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
        entropy: (n,) float32, nats; None where no moments are wanted.
        variance: (n,) float32 variance of ln π under π, nats²; likewise.
    """

    answer: Answer
    token_ids: np.ndarray
    logp: np.ndarray
    hit: np.ndarray
    entropy: np.ndarray | None
    variance: np.ndarray | None


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
    return model.stats(rows, Needs(), moments=_moments(packs).to(model.device))


def _scored_ids(pack: Pack, answer: Answer) -> tuple[int, ...]:
    """The tokens that something predicts."""
    return answer.ids if pack.prompt_ids else answer.ids[1:]


def _moments(packs: Sequence[Pack]) -> Tensor:
    """(T,) bool, of which scored tokens moments are wanted."""
    each = [(a.moments, len(_scored_ids(pack, a))) for pack in packs for a in pack.answers]
    wanted, counts = (torch.tensor(column) for column in zip(*each, strict=True))
    return wanted.repeat_interleave(counts)


def _split(stats: AnswerStats, packs: Sequence[Pack]) -> Iterator[Scored]:
    assert stats.hit is not None and stats.entropy is not None and stats.variance is not None
    logp, entropy, variance = (
        t.float().cpu().numpy() for t in (stats.logp, stats.entropy, stats.variance)
    )
    hit = stats.hit.cpu().numpy() & ~np.isnan(logp)  # the arg max of NaN is any token
    start = 0
    for pack in packs:
        for answer in pack.answers:
            ids = np.array(_scored_ids(pack, answer), dtype=np.int32)
            part = slice(start, start + len(ids))
            start = part.stop
            moments = (entropy[part], variance[part]) if answer.moments else (None, None)
            yield Scored(answer, ids, logp[part], hit[part], *moments)


@torch.no_grad()
def packed_stats(model: AnswerModel, packs: Sequence[Pack]) -> AnswerStats:
    """Statistics of the answers of some packs, pack after pack, each token of a tree once.

    Prompts are not empty.
    """
    trees = [tree_of(pack) for pack in packs]
    inputs = _inputs(model, trees)
    row, predictor, target = _scored(packs, trees, model.device)
    index = _of_answers(packs, trees).to(model.device)
    wanted = torch.zeros_like(target, dtype=torch.bool)
    wanted[index[_moments(packs).to(model.device)]] = True

    def call() -> Tensor:
        if model.head_path == "head":
            out = model.inner.base_model(**inputs, use_cache=False).last_hidden_state
        else:
            out = original_forward(model.inner)(**inputs, use_cache=False).logits
        return out[row, predictor]

    predicting = model.within(model.model, call)
    ones = torch.ones(len(target), device=model.device)
    tokens = TokenInputs(target, torch.zeros_like(target), 1, ones)
    if model.head_path == "head":
        stats = answer_stats(predicting, model.head(), tokens, Needs(), moments=wanted)
    else:
        stats = stats_from_logits(predicting.float(), tokens, Needs(), moments=wanted)
    return _picked(stats, index, [len(a.ids) for pack in packs for a in pack.answers])


def _inputs(model: AnswerModel, trees: Sequence[Tree]) -> dict[str, Tensor]:
    """Ids, positions and the additive mask (R, 1, L, L) of inner tokens, right-padded.

    Where a token sees another the mask is 0, else the lowest finite number. Not -inf: a position
    that sees nothing (padding, a hidden first token) would be NaN, and 0 · NaN is NaN for those
    who give it no weight.
    """
    inner = [np.flatnonzero(tree.inner) for tree in trees]
    shape = (len(trees), max(map(len, inner)))
    ids, position = np.full(shape, model.pad_id), np.zeros(shape, dtype=np.int64)
    seen = np.zeros((*shape, shape[1]), dtype=bool)
    for i, (tree, its) in enumerate(zip(trees, inner, strict=True)):
        n = len(its)
        ids[i, :n], position[i, :n] = tree.ids[its], tree.depth[its]
        seen[i, :n, :n] = tree.seen[np.ix_(its, its)]
    dtype, device = model.inner.dtype, model.device
    mask = torch.zeros(seen.shape, dtype=dtype, device=device)
    mask.masked_fill_(~torch.from_numpy(seen).to(device), torch.finfo(dtype).min)
    return {
        "input_ids": torch.from_numpy(ids).to(device),
        "position_ids": torch.from_numpy(position).to(device),
        "attention_mask": mask[:, None],
    }


def _scored(
    packs: Sequence[Pack], trees: Sequence[Tree], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Row, predicting column and id of every token behind the prompts."""
    starts = [len(pack.prompt_ids) for pack in packs]
    row = [np.full(len(t.ids) - n, i) for i, (n, t) in enumerate(zip(starts, trees, strict=True))]
    column = [np.cumsum(t.inner) - 1 for t in trees]
    predictor = [c[t.parent[n:]] for n, t, c in zip(starts, trees, column, strict=True)]
    target = [t.ids[n:] for n, t in zip(starts, trees, strict=True)]
    found = [torch.from_numpy(np.concatenate(its)).to(device) for its in (row, predictor, target)]
    return found[0], found[1], found[2]


def _of_answers(packs: Sequence[Pack], trees: Sequence[Tree]) -> Tensor:
    """(T,) which of the trees' scored tokens each of the answers' tokens is."""
    places, start = [], 0
    for pack, tree in zip(packs, trees, strict=True):
        places.append(tree.places - len(pack.prompt_ids) + start)
        start += len(tree.ids) - len(pack.prompt_ids)
    return torch.from_numpy(np.concatenate(places))


def _picked(stats: AnswerStats, index: Tensor, lengths: Sequence[int]) -> AnswerStats:
    """Statistics of the trees' tokens as those of the answers' tokens."""
    counts = torch.tensor(lengths)
    assert stats.hit is not None and stats.entropy is not None and stats.variance is not None
    return AnswerStats(
        logp=stats.logp[index],
        segment=torch.repeat_interleave(torch.arange(len(counts)), counts).to(index.device),
        weight=stats.weight[index],
        n_answers=len(counts),
        hit=stats.hit[index],
        entropy=stats.entropy[index],
        variance=stats.variance[index],
    )


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
