"""Weights in fewer bits, as they are deployed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from unbelief.interventions.base import Context, ModelIntervention

if TYPE_CHECKING:
    from unbelief.models.runner import AnswerModel

Scheme = Literal["nf4", "int4", "int3", "int2", "int8"]


@dataclass(frozen=True)
class Quantise(ModelIntervention):
    """Weights of linear layers rounded to few values: small changes of unlearning round away.

    Simulated, so it runs anywhere: weights are rounded and kept in their own dtype, activations are
    left alone. `int8` is s_i · round(W_ij / s_i) with s_i = max_j |W_ij| / 127 per output channel;
    `int4`, `int3` and `int2` do the same per block of consecutive weights with 7, 3 and 1 instead
    of 127; `nf4` takes the nearest of 16 normal quantiles per block, s = max |W|. bitsandbytes and
    torchao round alike (their kernels add errors of their own arithmetic); audit with them where
    they are what is deployed.

    Attributes:
        scheme: `nf4`, `int4`, `int3`, `int2` or `int8`.
        block: Weights per scale; `int8` has one scale per output channel whatever this is.
        embeddings: Also round input and output embeddings, which are usually left out.
    """

    scheme: Scheme = "nf4"
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
        if self.scheme not in ("nf4", "int4", "int3", "int2", "int8"):
            raise ValueError("scheme must be nf4, int4, int3, int2 or int8")
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
        from unbelief.interventions.rounding import round_blocks, round_nf4, round_rows
        from unbelief.interventions.weights import kept

        chosen = linear_weights(model.inner, embeddings=self.embeddings)
        with kept(weight for weight, _ in chosen):
            with torch.no_grad():
                for weight, transposed in chosen:
                    rows = weight.T if transposed else weight
                    if self.scheme == "nf4":
                        rounded = round_nf4(rows, self.block)
                    elif self.scheme == "int8":
                        rounded = round_rows(rows, 8)
                    else:
                        rounded = round_blocks(rows, int(self.scheme[-1]), self.block)
                    weight.copy_(rounded.T if transposed else rounded)
            yield model
