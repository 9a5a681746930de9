"""Attention along paths: a token that many sequences share goes through the model once.

    prompt ─ answer 1          paths: prompt
       └──── answer 2                 prompt, answer 1
                                      prompt, answer 2

The model runs on one sequence, [prompt, answer 1, answer 2], in which every token has the position
it has on its path. Only attention needs to know of paths: Transformers lets it be chosen by name
(`AttentionInterface`), and the one chosen here compares each path's own tokens with the path, by
the attention that the model had before. A mask over the whole sequence would say the same and
compare every token with all the others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

_NAME = "unbelief_paths"
_SIMILAR = 0.6  # of a block's longest path is its shortest one, at least
# Tokens of a path up to which matrix products are faster on a CPU than the kernel of
# `scaled_dot_product_attention`: twice as fast at 64, half as fast at 1,024.
_SHORT = 128


@dataclass(frozen=True, slots=True)
class Block:
    """R paths of similar length.

    Attributes:
        queries: (R, L) int64 the paths' own tokens, filled up on the right with the first of them.
        keys: (R, K) int64 all of their tokens, likewise.
        mask: (R, 1, L, K) what is added to the scores: 0 where a token sees another, else the
            lowest finite number. Not -inf: a token that sees nothing (a hidden first one) would be
            NaN, and 0 · NaN is NaN for those who give it no weight.
    """

    queries: Tensor
    keys: Tensor
    mask: Tensor


@dataclass(frozen=True, slots=True)
class Paths:
    """Paths over the N tokens of one sequence.

    Attributes:
        blocks: Every token is a query on one path.
        size: N.
    """

    blocks: tuple[Block, ...]
    size: int
    _places: dict[tuple[int, int, torch.device], _Places] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def places(self, heads: int, groups: int, device: torch.device) -> _Places:
        """Where queries of so many heads, keys of so many groups and results are."""
        key = (heads, groups, device)
        if key not in self._places:
            self._places[key] = _Places.of(self, heads, groups, device)
        return self._places[key]


@dataclass(frozen=True, slots=True)
class _Places:
    """Indices into rows of one head's numbers. H heads, G groups of keys.

    Attributes:
        queries: Per block (R, H, L) into (N · H, D).
        keys: Per block (R, G, K) into (N · G, D).
        masks: Per block its mask.
        results: (N, H) into the results (R · H · L, D) of all blocks.
    """

    queries: tuple[Tensor, ...]
    keys: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    results: Tensor

    @staticmethod
    def of(paths: Paths, heads: int, groups: int, device: torch.device) -> _Places:
        queries = [_of_heads(block.queries.to(device), heads) for block in paths.blocks]
        keys = [_of_heads(block.keys.to(device), groups) for block in paths.blocks]
        masks = [block.mask.to(device) for block in paths.blocks]
        # A row is filled up with a token of its own, whose result is the same wherever it is taken.
        all_queries = torch.cat([index.flatten() for index in queries])
        results = torch.empty(paths.size * heads, dtype=torch.long, device=device)
        results[all_queries] = torch.arange(len(all_queries), device=device)
        return _Places(tuple(queries), tuple(keys), tuple(masks), results.view(-1, heads))


def _of_heads(tokens: Tensor, heads: int) -> Tensor:
    """(R, H, L) rows of (N · H, D) for (R, L) tokens."""
    return tokens[:, None] * heads + torch.arange(heads, device=tokens.device)[:, None]


def paths_of(
    tokens: Sequence[np.ndarray], seen: np.ndarray, *, dtype: torch.dtype, device: torch.device
) -> Paths:
    """Paths from the tokens of each.

    Args:
        tokens: (n,) int64 each. Every token is on some path, and always behind the same others. Its
            result comes from the first one it is on.
        seen: (N,) bool, the tokens that others may attend to.
        dtype: The model's.
        device: Where they go.
    """
    is_new, own = np.ones(len(seen), dtype=bool), list[tuple[np.ndarray, int]]()
    for path in tokens:
        shared = len(path) - int(is_new[path].sum())
        is_new[path] = False
        if shared < len(path):
            own.append((path, shared))
    blocks = []
    for group in _similar(own):
        queries = _filled([path[shared:] for path, shared in group])
        keys = _filled([path for path, _ in group])
        depth = _filled([np.arange(shared, len(path)) for path, shared in group])
        visible = np.arange(keys.shape[1]) <= depth[:, :, None]
        if not seen.all():
            visible &= seen[keys][:, None]
        mask = torch.zeros(visible.shape, dtype=dtype)
        mask.masked_fill_(~torch.from_numpy(visible), torch.finfo(dtype).min)
        its = (torch.from_numpy(queries), torch.from_numpy(keys), mask[:, None])
        blocks.append(Block(*(x.to(device) for x in its)))
    return Paths(tuple(blocks), len(seen))


def _filled(rows: Sequence[np.ndarray]) -> np.ndarray:
    """(R, L) of rows of up to L, each filled up with its first."""
    out = np.repeat([row[0] for row in rows], max(map(len, rows))).reshape(len(rows), -1)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


def _similar(own: Sequence[tuple[np.ndarray, int]]) -> Iterator[list[tuple[np.ndarray, int]]]:
    group: list[tuple[np.ndarray, int]] = []
    for one in sorted(own, key=lambda o: -len(o[0])):
        if group and len(one[0]) < _SIMILAR * len(group[0][0]):
            yield group
            group = []
        group.append(one)
    yield group


def has_paths(config: Any) -> bool:
    """Whether a model's attention can be asked for paths."""
    return getattr(config, "_attn_implementation", None) in ("eager", "sdpa")


@contextmanager
def along(config: Any, paths: Paths) -> Iterator[dict[str, Tensor]]:
    """Let a model attend along paths while the block runs.

    Args:
        config: The model's.
        paths: What its only sequence consists of.

    Yields:
        What its forward must be given besides ids and positions.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(_NAME, _attend)
    kind = config._attn_implementation
    token = _CURRENT.set((paths, kind))
    config._attn_implementation = _NAME
    try:
        # A mask of four dimensions is handed on as it is; with none, one would be made.
        mask = torch.zeros((1, 1, 1, 1), dtype=torch.bool, device=paths.blocks[0].keys.device)
        yield {"attention_mask": mask}
    finally:
        config._attn_implementation = kind
        _CURRENT.reset(token)


_CURRENT: ContextVar[tuple[Paths, str]] = ContextVar("paths")


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """(1, N, H, D) from queries (1, H, N, D), keys and values (1, G, N, D)."""
    paths, kind = _CURRENT.get()
    places = paths.places(query.shape[1], key.shape[1], query.device)
    query, key, value = (x[0].transpose(0, 1).flatten(0, 1) for x in (query, key, value))
    may_be_short = kind == "sdpa" and query.device.type == "cpu" and query.dtype == torch.float32
    may_be_short &= all(options.get(name) is None for name in ("position_bias", "softcap"))
    own, found = _own_attention(module, kind), []
    for q, k, mask in zip(places.queries, places.keys, places.masks, strict=True):
        rows = (F.embedding(q, query), F.embedding(k, key), F.embedding(k, value), mask)
        if may_be_short and mask.shape[-1] <= _SHORT:
            out = _products(*rows, options.get("scaling"))
        else:
            out = own(module, *rows, **options)[0].transpose(1, 2)
        found.append(out.flatten(0, 2))
    return F.embedding(places.results, torch.cat(found))[None], None


def _products(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None
) -> Tensor:
    """What `sdpa` gives, (R, H, L, D), by matrix products."""
    rows, heads, length, size = query.shape
    if key.shape[1] != heads:
        key, value = (x.repeat_interleave(heads // x.shape[1], dim=1) for x in (key, value))
    q, k, v = (x.flatten(0, 1) for x in (query, key, value))
    scale = size**-0.5 if scaling is None else scaling
    scores = torch.baddbmm(q.new_zeros(()), q, k.transpose(1, 2), beta=0, alpha=scale)
    scores.view(rows, heads, length, -1).add_(mask)
    return torch.bmm(scores.softmax(-1), v).view(rows, heads, length, -1)


def _own_attention(module: nn.Module, kind: str) -> Callable[..., tuple[Tensor, Any]]:
    """What the module would have called: eager attention is a function beside its class."""
    from transformers import AttentionInterface

    if kind == "eager":
        eager: Callable[..., tuple[Tensor, Any]]
        eager = sys.modules[type(module).__module__].eager_attention_forward
        return eager
    return AttentionInterface()[kind]
