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
from unbelief.models.paths import Paths, along, has_paths, paths_of
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
    """Statistics of the answers of some packs, pack after pack, each token of their tree once.

    Prompts are not empty.
    """
    tree = tree_of(packs)
    inputs, paths = _inputs(model, tree)
    predictor, target, index = _scored(tree, model.device)
    wanted = torch.zeros_like(target, dtype=torch.bool)
    wanted[index[_moments(packs).to(model.device)]] = True

    def call() -> Tensor:
        with along(model.inner.config, paths) as more:
            if model.head_path == "head":
                backbone = model.inner.base_model
                out = backbone(**inputs, **more, use_cache=False).last_hidden_state
            else:
                out = original_forward(model.inner)(**inputs, **more, use_cache=False).logits
        return out[0, predictor]

    predicting = model.within(model.model, call)
    ones = torch.ones(len(target), device=model.device)
    tokens = TokenInputs(target, torch.zeros_like(target), 1, ones)
    if model.head_path == "head":
        stats = answer_stats(predicting, model.head(), tokens, Needs(), moments=wanted)
    else:
        stats = stats_from_logits(predicting.float(), tokens, Needs(), moments=wanted)
    return _picked(stats, index, [len(a.ids) for pack in packs for a in pack.answers])


def _inputs(model: AnswerModel, tree: Tree) -> tuple[dict[str, Tensor], Paths]:
    """Ids and positions (1, N) of a tree's inner tokens, and the paths they are on."""
    inner = tree.inner
    column = np.cumsum(inner) - 1
    paths = [column[prompt] for prompt in tree.prompts]
    for prompt, answers in zip(tree.prompts, tree.answers, strict=True):
        paths += [column[np.concatenate([prompt, answer[:-1]])] for answer in answers]
    found = {"input_ids": tree.ids[inner], "position_ids": tree.depth[inner]}
    inputs = {name: torch.from_numpy(its)[None].to(model.device) for name, its in found.items()}
    dtype, device = model.inner.dtype, model.device
    return inputs, paths_of(paths, tree.seen[inner], dtype=dtype, device=device)


def _scored(tree: Tree, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """What is scored: the S tokens of a tree that are some answer's.

    Returns:
        (S,) inner token that predicts each; (S,) its id; (T,) which of them each token of the
        answers is, answer after answer.
    """
    of_answers = np.concatenate([answer for answers in tree.answers for answer in answers])
    scored = np.zeros(len(tree.ids), dtype=bool)
    scored[of_answers] = True
    predictor = (np.cumsum(tree.inner) - 1)[tree.parent[scored]]
    found = (predictor, tree.ids[scored], (np.cumsum(scored) - 1)[of_answers])
    predicting, target, index = (torch.from_numpy(its).to(device) for its in found)
    return predicting, target, index


def _picked(stats: AnswerStats, index: Tensor, lengths: Sequence[int]) -> AnswerStats:
    """Statistics of a tree's tokens as those of the answers' tokens."""
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
    if not has_paths(config):
        kind = getattr(config, "_attn_implementation", None)
        return False, f"plain rows: attention {kind!r} takes no paths"
    batches = batches_of(questions, packed=True, window=window_of(config), tokens=1 << 62)
    shared = [p for b in batches if b.packed for p in b.packs]
    if not shared:
        return False, "plain rows: there is nothing to pack"
    step = max(1, (len(shared) - 1) // (_PROBES - 1))
    probes = shared[::step][: _PROBES - 1] + shared[-1:]  # the longest, the shortest, some between
    try:
        packed = packed_stats(model, probes).logp  # in one sequence, as they will be
    except torch.OutOfMemoryError:
        raise
    except (TypeError, ValueError, AttributeError, RuntimeError, IndexError, KeyError) as error:
        return False, f"plain rows: packs fail with {type(error).__name__}: {error}"
    plain = _plain(model, probes).logp
    both = packed.isnan() & plain.isnan()
    difference = torch.where(both, 0.0, (packed - plain).abs()).nan_to_num(torch.inf)
    worst, mean = float(difference.max()), float(difference.mean())
    most, most_mean = _TOLERANCE.get(model.inner.dtype, _TOLERANCE_SINGLE)
    if worst > most or mean > most_mean:
        return False, f"plain rows: packs differ from them by up to {worst:.1e} nats"
    return True, f"packs: checked against plain rows, at most {worst:.1e} nats apart"
