"""Cutting the work into batches: which answers are decoded together, and how many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unbelief.beliefs.asking import unwrap
from unbelief.beliefs.decoding import Decoding
from unbelief.errors import RequestError

BatchSize = int | Literal["auto"]
_MAX_ROWS = {"cpu": 256}  # other devices: _MAX_ROWS_DEVICE
_MAX_ROWS_DEVICE = 2048
_CPU_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Unit:
    """Samples `first .. first + count - 1` of one prompt, which share its prefill."""

    prompt: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What is decoded together. P prompts, n samples each, R = P n rows, L prompt columns.

    Attributes:
        input_ids: (P, L) left-padded prompts.
        mask: (P, L) 1 on prompt tokens.
        keys: (R,) noise key of each answer, row p n + j for sample j of prompt p.
        samples: n.
        drafts: (P, D) tokens that answers may begin with, -1 behind their end; None without any.
    """

    input_ids: Tensor
    mask: Tensor
    keys: Tensor
    samples: int
    drafts: Tensor | None = None

    @property
    def positions(self) -> Tensor:
        """(P, L) position ids; 0 on padding."""
        return (self.mask.cumsum(-1) - 1).clamp(min=0)


def plan(lengths: Sequence[int], samples: int, batch_size: int) -> list[list[Unit]]:
    """Split the work into batches of at most `batch_size` answers, longest prompts first.

    Prompts of similar length share a batch (little padding). A prompt with more samples than fit
    is split by samples. All units of a batch have the same number of samples.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    rows = max(1, batch_size)
    if samples > rows:
        return [
            [Unit(p, first, min(rows, samples - first))]
            for p in order
            for first in range(0, samples, rows)
        ]
    units = [Unit(p, 0, samples) for p in order]
    step = rows // samples
    return [units[i : i + step] for i in range(0, len(units), step)]


def halved(units: list[Unit], *, by_sample: bool) -> list[list[Unit]]:
    """Cut a batch in two, a single prompt by its samples; nothing when it cannot be cut."""
    if len(units) > 1:
        middle = len(units) // 2
        return [units[:middle], units[middle:]]
    (unit,) = units
    if unit.count == 1 or not by_sample:
        return []
    half = unit.count // 2
    return [
        [Unit(unit.prompt, unit.first, half)],
        [Unit(unit.prompt, unit.first + half, unit.count - half)],
    ]


def resolve_batch_size(
    model: nn.Module,
    prompts: Sequence[tuple[int, ...]],
    decoding: Decoding,
    batch_size: BatchSize = "auto",
) -> int:
    """Answers to decode at once: as given, or what fits into the memory at hand.

    An answer of at most T tokens (prompt included) takes 2 layers kv_heads head_dim T numbers of
    cache, of which up to three copies live while it grows or shrinks, and about 24 bytes per
    vocabulary entry while a token is chosen.

    Raises:
        RequestError: `batch_size` is below 1.
    """
    if batch_size != "auto":
        if batch_size < 1:
            raise RequestError(
                f"batch_size is {batch_size}", where="batch_size", remedy="give 1 or more, or auto"
            )
        return batch_size
    whole: Any = unwrap(model).config
    config = whole.get_text_config(decoder=True)
    weight = next(model.parameters())
    heads = getattr(config, "num_attention_heads", 1)
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    tokens = max(len(p) for p in prompts) + decoding.max_new_tokens
    per_cache = 2 * config.num_hidden_layers * kv_heads * head_dim * tokens * weight.element_size()
    per_row = 3 * per_cache + 24 * config.vocab_size
    if weight.device.type == "cuda":
        memory, most = int(0.5 * torch.cuda.mem_get_info(weight.device)[0]), _MAX_ROWS_DEVICE
    else:
        memory, most = _CPU_BYTES, _MAX_ROWS.get(weight.device.type, _MAX_ROWS_DEVICE)
    return max(1, min(most, memory // per_row))
