"""Gradient ascent."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn
from torch.nn.functional import cross_entropy

from unbelief.vision.learning import Task, descend
from unbelief.vision.method import Outcome, SGDMethod


@dataclass(frozen=True)
class Ascent(SGDMethod):
    """GA: minus cross-entropy on D_f alone, in training mode as published.

    With batch normalisation the running statistics follow D_f; that is the published method.
    """

    learning_rate: float = 1e-4
    epochs: int = 5

    name: ClassVar[str] = "ga"
    label: ClassVar[str] = "GA"
    source: ClassVar[str] = "Thudi et al. 2022; settings of Unlearn-Sparse"

    def apply(self, model: nn.Module, task: Task) -> Outcome:
        """`epochs` passes over D_f."""
        optimizer, generator = self.optimizer(model), task.generator()
        for _ in range(self.epochs):
            descend(
                model, task, task.forget, optimizer, self.batch_size, generator,
                loss=lambda logits, labels: -cross_entropy(logits, labels),
            )  # fmt: skip
        return Outcome(model)
