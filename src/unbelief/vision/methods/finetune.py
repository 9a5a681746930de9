"""Going on with the remaining data."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from unbelief.vision.learning import Task, descend
from unbelief.vision.method import Outcome, SGDMethod


@dataclass(frozen=True)
class FineTune(SGDMethod):
    """FT: cross-entropy on D_un; forgetting is left to forgetfulness."""

    name: ClassVar[str] = "ft"
    label: ClassVar[str] = "FT"
    source: ClassVar[str] = "Warnecke et al. 2023; settings of Unlearn-Sparse"

    def apply(self, model: nn.Module, task: Task) -> Outcome:
        """`epochs` passes over D_un."""
        optimizer, generator = self.optimizer(model), task.generator()
        for _ in range(self.epochs):
            descend(model, task, task.rest, optimizer, self.batch_size, generator)
        return Outcome(model)
