"""Weights in fewer bits, as they are deployed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from unbelief.interventions.base import Context, ModelIntervention

if TYPE_CHECKING:
    from torch import Tensor

    from unbelief.models.runner import AnswerModel

Levels = Literal["auto", "normal", "integer"]


@dataclass(frozen=True)
class Quantise(ModelIntervention):
    """Weights of linear layers rounded to few values: small changes of unlearning round away.

    Simulated, so it runs anywhere: weights are rounded and kept in their own dtype, activations are
    left alone. With 8 bits W' = s_i · round(W_ij / s_i), s_i = max_j |W_ij| / 127 per output
    channel. With 4, 3 or 2 bits the same per block of consecutive weights, with 7, 3 or 1 instead
    of 127; `normal` levels (NF4) take the nearest of 16 normal quantiles times s = max |W| of the
    block. bitsandbytes and torchao round alike (their kernels add errors of their own arithmetic);
    audit with them where they are what is deployed.

    Attributes:
        bits: 8, 4, 3 or 2 per weight.
        levels: `normal` (4 bits only) or `integer`; `auto` is normal with 4 bits, else integer.
        block: Weights per scale; with 8 bits there is one scale per output channel whatever this
            is.
        embeddings: Also round input and output embeddings, which are usually left out.
    """

    bits: int = 4
    levels: Levels = "auto"
    block: int = 64
    embeddings: bool = False

    name: ClassVar[str] = "quantise"
    asks_for: ClassVar[str] = "weights"
    cost: ClassVar[str] = "seconds, and a copy of the rounded weights in main memory"
    source: ClassVar[str] = (
        "Zhang et al. 2025, Catastrophic Failure of LLM Unlearning via Quantization, arXiv "
        "2410.16454; Dettmers et al. 2022 (int8) and 2023 (NF4)"
    )

    def __post_init__(self) -> None:
        if self.bits not in (8, 4, 3, 2):
            raise ValueError(f"bits must be 8, 4, 3 or 2, not {self.bits}")
        if self.levels not in ("auto", "normal", "integer"):
            raise ValueError("levels must be auto, normal or integer")
        if self.levels == "normal" and self.bits != 4:
            raise ValueError(f"levels=normal has 4 bits, not {self.bits}")
        if self.block < 2:
            raise ValueError(f"block must be 2 or more, not {self.block}")

    @contextmanager
    def applied(self, model: AnswerModel, context: Context) -> Iterator[AnswerModel]:
        """The model with rounded weights.

        Raises:
            RequestError: The model has no linear layers to round, is quantised already, or keeps
                weights in a form of its own.
        """
        import torch

        from unbelief.interventions.linear import linear_weights
        from unbelief.interventions.weights import kept

        chosen = linear_weights(model.inner, embeddings=self.embeddings)
        with kept(weight for weight, _ in chosen):
            with torch.no_grad():
                for weight, transposed in chosen:
                    rounded = self._rounded(weight.T if transposed else weight)
                    weight.copy_(rounded.T if transposed else rounded)
            yield model

    def _rounded(self, rows: Tensor) -> Tensor:
        """(out, in) weights after rounding."""
        from unbelief.interventions.rounding import round_blocks, round_nf4, round_rows

        if self.bits == 8:
            return round_rows(rows, 8)
        if self.bits == 4 and self.levels != "integer":
            return round_nf4(rows, self.block)
        return round_blocks(rows, self.bits, self.block)
