"""Rows of token ids to padded tensors, with the answer's tokens addressed explicitly.

Rows are right-padded. In a causal model nothing after a token can change it, so scored positions
never see padding and no attention mask is needed for teacher forcing; `attention_mask` is there
for whoever wants one and is a true mask (padding only, also where pad equals eos).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unbelief.types import TargetKind


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence of a batch.

    Attributes:
        key: Names the row in caches, for example `forget.jsonl:12` or `forget.jsonl:12#belief1`.
        kind: What the row is in the objective.
        prompt_ids: Context, not scored.
        answer_ids: Scored tokens.
        weight: ω, the share of this row within its forget pair (1 for retain rows).
        hidden: Positions that nothing attends to (see `Encoded.hidden`).
        pair: Rows with the same name here are one answer of the objective and stay together; empty
            for a row by itself.
    """

    key: str
    kind: TargetKind
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    weight: float = 1.0
    hidden: tuple[int, ...] = ()
    pair: str = ""

    @property
    def length(self) -> int:
        """Prompt plus answer, in tokens."""
        return len(self.prompt_ids) + len(self.answer_ids)

    @property
    def first_scored(self) -> int:
        """Position of the first scored token: position 0 has nothing that predicts it."""
        return max(len(self.prompt_ids), 1)

    @property
    def n_scored(self) -> int:
        """Number of scored tokens."""
        return self.length - self.first_scored


def grouped(rows: Sequence[Row]) -> list[tuple[Row, ...]]:
    """Rows with those they are paired with, in order; the rows of a pair follow each other."""
    groups: list[list[Row]] = []
    for row in rows:
        if row.pair and groups and groups[-1][0].pair == row.pair:
            groups[-1].append(row)
        else:
            groups.append([row])
    return [tuple(group) for group in groups]


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Rows as tensors. R rows, L padded length, T scored tokens in row order.

    Attributes:
        rows: The rows, in batch order.
        input_ids: (R, L) token ids, right-padded.
        lengths: (R,) real tokens per row.
        row: (T,) row of each scored token.
        position: (T,) position of each scored token; the model predicts it at `position - 1`.
        target: (T,) id of each scored token.
    """

    rows: tuple[Row, ...]
    input_ids: Tensor
    lengths: Tensor
    row: Tensor
    position: Tensor
    target: Tensor

    @property
    def attention_mask(self) -> Tensor:
        """(R, L) 1 on real tokens, 0 on padding, whatever ids they have."""
        columns = torch.arange(self.input_ids.shape[1], device=self.input_ids.device)
        return (columns < self.lengths[:, None]).long()

    def to(self, device: torch.device | str) -> TokenBatch:
        """The same batch on another device."""
        return TokenBatch(
            self.rows,
            self.input_ids.to(device),
            self.lengths.to(device),
            self.row.to(device),
            self.position.to(device),
            self.target.to(device),
        )


def collate(rows: Sequence[Row], pad_id: int) -> TokenBatch:
    """Pad rows to one length and address their scored tokens.

    Args:
        rows: At least one row; each must have at least one scored token.
        pad_id: Fills the right-hand side; any id will do, since it is never seen.

    Raises:
        ValueError: A row has no scored token, or there are no rows.
    """
    if not rows:
        raise ValueError("a batch needs at least one row")
    for r in rows:
        if r.n_scored < 1:
            raise ValueError(f"row {r.key!r} has no scored token")
    width = max(r.length for r in rows)
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    row, position = [], []
    for i, r in enumerate(rows):
        ids[i, : r.length] = torch.tensor(r.prompt_ids + r.answer_ids)
        row.append(torch.full((r.n_scored,), i))
        position.append(torch.arange(r.first_scored, r.length))
    row_t, position_t = torch.cat(row), torch.cat(position)
    lengths = torch.tensor([r.length for r in rows])
    return TokenBatch(tuple(rows), ids, lengths, row_t, position_t, ids[row_t, position_t])


def length_buckets(
    lengths: Sequence[int], *, max_padding: float = 0.1, max_buckets: int = 4
) -> list[list[int]]:
    """Split rows into few groups of similar length.

    A forward over rows of unequal length computes on padding; more, smaller forwards compute less
    on padding and pay more overhead. The split minimises padded tokens for each number of groups
    (dynamic programming over the sorted lengths) and takes the smallest number that keeps padding
    below `max_padding` of the real tokens.

    Returns:
        Row indices per group, each group sorted by falling length.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    n, real = len(order), sum(lengths)
    # cost[k][j]: padded size of the first j sorted rows in k groups.
    infinite = float("inf")
    cost = [[0.0] + [infinite] * n]
    cut: list[list[int]] = [[0] * (n + 1)]
    for k in range(1, min(max_buckets, n) + 1):
        row_cost, row_cut = [infinite] * (n + 1), [0] * (n + 1)
        for j in range(1, n + 1):
            for i in range(j):
                value = cost[k - 1][i] + lengths[order[i]] * (j - i)
                if value < row_cost[j]:
                    row_cost[j], row_cut[j] = value, i
        cost.append(row_cost)
        cut.append(row_cut)
        if row_cost[n] <= (1 + max_padding) * real:
            break
    k, end, groups = len(cost) - 1, n, []
    while k > 0:
        start = cut[k][end]
        groups.append(order[start:end])
        k, end = k - 1, start
    return [g for g in reversed(groups) if g]
