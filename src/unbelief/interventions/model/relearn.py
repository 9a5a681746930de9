"""Fine-tuning that brings back what was only hidden."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from unbelief.interventions.base import Context, ModelIntervention, Need, Option
from unbelief.interventions.seeded import seeded
from unbelief.types import Record

if TYPE_CHECKING:
    from unbelief.models.runner import AnswerModel

Scope = Literal["forget", "full", "retain", "unrelated"]


@dataclass(frozen=True)
class Relearn(ModelIntervention):
    r"""Ordinary fine-tuning of all weights on answers, after which the model is asked again.

    .. math:: L = -\frac{1}{T} \sum_i \log\pi(y^i)

    over the T answer tokens of a batch; AdamW at a constant learning rate, dropout off, float32
    updates whatever the dtype of the weights. On `forget` (the default, one epoch at 2e-5 as in
    OpenUnlearning) the question is how fast the model relearns, which needs the retrained model
    beside it to mean anything. `full` is forget and retain data together, as in UWC. On `retain`
    or `unrelated` records nothing of the forgotten is shown, and whatever comes back was there.
    `curve` gives the model at several step counts of one run.

    Attributes:
        scope: Which records: `forget`, `full`, `retain` or `unrelated`.
        shots: Only so many of them, drawn by the seed (more shots contain fewer); 0 takes all.
        num_train_epochs: Passes over them.
        max_steps: Optimiser steps; above 0 it beats epochs.
        learning_rate: Of every step.
        batch_size: Answers per step.
        weight_decay: Decoupled.
        max_grad_norm: Gradients are scaled down to this norm; 0 leaves them.
        seed: Of the draw and of the order.
    """

    scope: Scope = "forget"
    shots: int = 0
    num_train_epochs: float = 1.0
    max_steps: int = 0
    learning_rate: float = 2e-5
    batch_size: int = 32
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    seed: int = 0

    name: ClassVar[str] = "relearn"
    asks_for: ClassVar[str] = "weights; the records of its scope"
    cost: ClassVar[str] = (
        "fine-tuning: gradients and two moments per weight on the device (12 bytes each in "
        "float32, 18 in bfloat16), and a copy of the weights in main memory"
    )
    source: ClassVar[str] = (
        "Dorna et al. 2025, OpenUnlearning, App. E (forget, 1 epoch, 2e-5); Wang et al. 2025, "
        "Towards Effective Evaluations and Comparisons for LLM Unlearning Methods (full)"
    )
    off: ClassVar[Mapping[str, Option]] = {"num_train_epochs": 0.0}

    def __post_init__(self) -> None:
        if self.scope not in ("forget", "full", "retain", "unrelated"):
            raise ValueError("scope must be forget, full, retain or unrelated")
        for name in ("shots", "num_train_epochs", "max_steps", "weight_decay", "max_grad_norm"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or above, not {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, not {self.batch_size}")

    @property
    def needs(self) -> tuple[Need, ...]:
        """The records of the scope."""
        return ("forget", "retain") if self.scope == "full" else (self.scope,)

    def examples(self, context: Context) -> list[tuple[str, Record]]:
        """The records to train on, named and in an order of their own."""
        named = [
            (f"{which}:{record.id}", record)
            for which in self.needs
            for record in getattr(context, which)
        ]
        if not self.shots:
            return sorted(named, key=lambda pair: pair[0])
        order = sorted(named, key=lambda pair: seeded(self.seed, "shot", pair[0]).random())
        return order[: self.shots]

    def steps(self, context: Context) -> int:
        """Optimiser steps of the whole attack: ⌈epochs · ⌈examples / batch_size⌉⌉."""
        if self.max_steps:
            return self.max_steps
        return math.ceil(
            self.num_train_epochs * math.ceil(len(self.examples(context)) / self.batch_size)
        )

    @contextmanager
    def applied(self, model: AnswerModel, context: Context) -> Iterator[AnswerModel]:
        """The model after all steps."""
        self.require(context)
        with self.curve(model, context, (self.steps(context),)) as points:
            for _, attacked in points:
                yield attacked

    @contextmanager
    def curve(
        self, model: AnswerModel, context: Context, at: Sequence[int]
    ) -> Iterator[Iterator[tuple[int, AnswerModel]]]:
        """The model at several moments of one relearning run.

        Args:
            model: Trained in place; put back when the block ends.
            context: Encoder and records.
            at: Step counts, ascending; 0 is the model as it came. They may go beyond `steps`.

        Returns:
            A context whose value yields (step, model) at each of them, in order.

        Raises:
            RequestError: The context lacks records, or the weights cannot be trained.
            DataError: A record does not fit into the model's context.
            GuardError: The loss is not finite.
        """
        self.require(context)
        if list(at) != sorted(set(at)) or min(at, default=0) < 0:
            raise ValueError(f"step counts must be ascending and 0 or above, not {list(at)}")
        from unbelief.interventions.finetune import Recipe, finetune, rows_of
        from unbelief.interventions.weights import kept, without_dropout

        recipe = Recipe(
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            max_grad_norm=self.max_grad_norm,
            batch_size=self.batch_size,
            seed=self.seed,
        )
        rows = rows_of(self.examples(context), model, context)
        with kept(model.inner.parameters()), without_dropout(model.inner):
            yield ((step, model) for step in finetune(model, rows, recipe, at))
