"""Reading an answer out of a middle layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from unbelief.errors import RequestError
from unbelief.interventions.base import Context, ModelIntervention, Need, Option
from unbelief.interventions.seeded import seeded

if TYPE_CHECKING:
    from unbelief.models.runner import AnswerModel

Depth = Literal["1/3", "2/3", "last"]
Start = Literal["own", "random"]


@dataclass(frozen=True)
class Probe(ModelIntervention):
    """The first l layers, the final norm and a linear unembedding trained on retain answers.

    What unlearning removed only from the last layers is still there before them. The layers are the
    model's own, shared and frozen; the new output embedding is trained with −log π on retain data
    alone, so it learns to read the layer and nothing of what was forgotten. The result is a model
    like any other: it is scored and it generates. Measure it on retain data too: a probe that
    cannot read what is known says nothing about what was forgotten.

    Attributes:
        depth: l as a share of the L layers: `1/3`, `2/3` (rounded, at least 1) or `last`.
        layers: l itself; 0 goes by depth.
        start: `own` starts from the model's output embedding (the logit lens); `random` from a new
            one as OpenUnlearning does, which takes far more training to read anything.
        num_train_epochs: Passes over the retain data.
        max_steps: Optimiser steps; above 0 it beats epochs.
        examples: Only so many retain records, drawn by the seed; 0 takes all.
        learning_rate: Of every step (AdamW, constant).
        batch_size: Answers per step.
        seed: Of draws and order.
    """

    depth: Depth = "2/3"
    layers: int = 0
    start: Start = "own"
    num_train_epochs: float = 10.0
    max_steps: int = 0
    examples: int = 0
    learning_rate: float = 1e-4
    batch_size: int = 32
    seed: int = 0

    name: ClassVar[str] = "probe"
    asks_for: ClassVar[str] = "weights; retain data"
    cost: ClassVar[str] = (
        "one pass of the layers over the retain data and training of one matrix; main memory for "
        "the hidden states of all retain answer tokens"
    )
    source: ClassVar[str] = (
        "Dorna et al. 2025, OpenUnlearning, App. E (11 of 16 layers, retain data, 1e-4, 10 "
        "epochs); Patil et al. 2024 (logit lens), arXiv 2309.17410"
    )
    off: ClassVar[Mapping[str, Option]] = {"depth": "last", "num_train_epochs": 0.0}

    def __post_init__(self) -> None:
        if self.depth not in ("1/3", "2/3", "last"):
            raise ValueError("depth must be 1/3, 2/3 or last")
        if self.start not in ("random", "own"):
            raise ValueError("start must be random or own")
        for name in ("layers", "num_train_epochs", "max_steps", "examples"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or above, not {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, not {self.batch_size}")

    @property
    def needs(self) -> tuple[Need, ...]:
        """Retain data, if anything is trained."""
        return ("retain",) if self.num_train_epochs or self.max_steps else ()

    def layer_count(self, total: int) -> int:
        """How many of `total` layers are kept.

        Raises:
            RequestError: The model has fewer than asked for.
        """
        if self.layers > total:
            raise RequestError(
                f"layers={self.layers}, and the model has {total}",
                where=self.name,
                remedy=f"choose 1 to {total}",
            )
        share = {"1/3": 1 / 3, "2/3": 2 / 3, "last": 1.0}[self.depth]
        return self.layers or max(1, round(share * total))

    @contextmanager
    def applied(self, model: AnswerModel, context: Context) -> Iterator[AnswerModel]:
        """A smaller model with a head of its own; the model it was made of stays usable.

        Raises:
            RequestError: There is no retain data, or the output is not a plain matrix product.
            GuardError: The loss is not finite.
        """
        self.require(context)
        from unbelief.beliefs.asking import unwrap
        from unbelief.interventions.finetune import Recipe, rows_of
        from unbelief.interventions.linear_head import fresh_head, train_head
        from unbelief.interventions.truncated import layers_name, truncated
        from unbelief.interventions.weights import without_dropout
        from unbelief.models.runner import AnswerModel

        inner: Any = unwrap(model.model)
        self._check_head(inner)
        backbone = getattr(inner, inner.base_model_prefix)
        count = self.layer_count(len(getattr(backbone, layers_name(inner))))
        own = inner.get_output_embeddings()
        head = fresh_head(own, random=self.start == "random", seed=self.seed)
        probed = AnswerModel(truncated(inner, count, head), pad_id=model.pad_id)
        if probed.head_path != "head":
            raise RequestError(
                f"the output of this model cannot be trained by itself: {probed.head_note}",
                where=self.name,
                remedy="leave this attack out",
            )
        named = [(record.id, record) for record in context.retain]
        if self.examples:
            named.sort(key=lambda pair: seeded(self.seed, "probe", pair[0]).random())
            named = named[: self.examples]
        steps = self.max_steps or math.ceil(
            self.num_train_epochs * math.ceil(len(named) / self.batch_size)
        )
        recipe = Recipe(
            learning_rate=self.learning_rate,
            weight_decay=0.0,
            max_grad_norm=0.0,
            batch_size=self.batch_size,
            seed=self.seed,
        )
        if steps:
            with without_dropout(probed.inner):
                train_head(probed, rows_of(named, probed, context), recipe, steps)
        yield probed

    def _check_head(self, inner: Any) -> None:
        from torch import nn

        own = inner.get_output_embeddings()
        if type(own) is not nn.Linear or not own.weight.is_floating_point():
            raise RequestError(
                f"the output embedding is a {type(own).__name__}, not a plain Linear",
                where=self.name,
                remedy="load the model without quantisation and without an adapter on its head",
            )
