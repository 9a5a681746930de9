"""What a patch is asked for. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from unbelief.calibrate.request import PairRequest
from unbelief.errors import RequestError

Granularity = Literal["layer", "attention", "mlp", "norm", "component"]
Outside = Literal["embeddings", "final_norm", "head", "other"]


@dataclass(frozen=True, kw_only=True)
class PatchRequest(PairRequest):
    """Two models, and how the parts to exchange are chosen.

    Attributes:
        retrained: A model that never saw the forget data: the yardstick under attack, and needed
            for `forgetting="forget_quality"`.
        forget_test: Forget records for the report; with it `forget` serves the choice as a whole.
        granularity: What is exchanged: whole layers, one component of every layer, or `component`
            for attention, MLP and norms of every layer each by itself.
        also: Parts outside the layers that may be chosen too; else they stay the original's.
        utility: Metric on retain records; higher must mean that more is kept.
        forgetting: Metric on forget records, of which less is better, or `forget_quality`.
        top_k: How many parts are exchanged; None chooses.
        attacks: Tried on the patched model, each `NAME` or `NAME:option=value`.
        drift_records: Records of each set whose hidden states are compared; 0 compares none.
    """

    retrained: str | None = None
    forget_test: str | None = None
    granularity: Granularity = "layer"
    also: tuple[str, ...] = ()
    utility: str = "probability"
    forgetting: str = "extraction_strength"
    top_k: int | None = None
    attacks: tuple[str, ...] = ("relearn", "paraphrase")
    drift_records: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.granularity not in get_args(Granularity):
            raise RequestError(
                f"{self.granularity!r} is no granularity",
                where="--granularity",
                remedy=f"one of {', '.join(get_args(Granularity))}",
            )
        for name in self.also:
            if name not in get_args(Outside):
                raise RequestError(
                    f"{name!r} is no part outside the layers",
                    where="--also",
                    remedy=f"of {', '.join(get_args(Outside))}",
                )
        if self.top_k is not None and self.top_k < 1:
            raise RequestError("--top-k must be 1 or more", where="--top-k", remedy="such as 4")
        if self.drift_records < 0:
            raise RequestError(
                "--drift-records must not be negative", where="--drift-records", remedy="0 or more"
            )
        if self.forgetting == "forget_quality" and self.retrained is None:
            raise RequestError(
                "forget_quality compares with a retrained model",
                where="--forgetting",
                remedy="give --retrained, or choose extraction_strength",
            )
