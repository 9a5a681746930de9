"""Prompt positions that nothing may attend to (see `tokens.Encoded.hidden`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from unbelief.tokens.batch import Row


def hiding(
    forward: Callable[..., Any], rows: Sequence[Row], input_ids: Tensor
) -> dict[str, Tensor]:
    """What a forward must be given besides its ids, so that hidden positions stay hidden.

    A hidden position keeps its place: position ids count it, as they do when nothing is hidden.

    Args:
        forward: What will be called; some models have no `position_ids`.
        rows: R rows.
        input_ids: (R, L) of them, right-padded.

    Returns:
        `attention_mask` (R, L) and `position_ids` (1, L), or nothing when no row hides anything.
    """
    if not any(row.hidden for row in rows):
        return {}
    mask = torch.ones_like(input_ids)
    for i, row in enumerate(rows):
        mask[i, row.length :] = 0
        mask[i, list(row.hidden)] = 0
    masks = {"attention_mask": mask}
    if "position_ids" in inspect.signature(forward).parameters:
        masks["position_ids"] = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
    return masks
