"""Random labels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from unbelief.vision.learning import Task, batches, step
from unbelief.vision.method import Outcome, SGDMethod


@dataclass(frozen=True)
class RandomLabels(SGDMethod):
    """RL: cross-entropy on D_f with labels drawn from all classes, and on D_un as they are.

    The true label may be drawn too, as published.

    Attributes:
        joined: False: each epoch a pass over D_f with fresh labels per batch, then one over D_un
            (the published way on CIFAR-10). True: D_f is relabelled once per epoch and shuffled
            among D_un (CIFAR-100).
    """

    joined: bool = False

    name: ClassVar[str] = "rl"
    label: ClassVar[str] = "RL"
    source: ClassVar[str] = "Golatkar et al. 2020; settings of Unlearn-Saliency"

    def apply(self, model: nn.Module, task: Task) -> Outcome:
        """`epochs` passes over D_f and D_un."""
        optimizer = self.optimizer(model)
        self.relabel(model, task, lambda loss: step(optimizer, loss))
        return Outcome(model)

    def relabel(self, model: nn.Module, task: Task, take: Callable[[Tensor], None]) -> None:
        """The passes, with the step left to the caller."""
        generator = task.generator()
        everything = torch.cat([task.forget, task.rest])
        is_forget = torch.zeros(len(task.labels), dtype=torch.bool)
        is_forget[task.forget] = True
        for _ in range(self.epochs):
            model.train()
            drawn = torch.randint(task.classes, task.labels.shape, generator=generator)
            for index in [everything] if self.joined else [task.forget, task.rest]:
                for part in batches(index, self.batch_size, generator):
                    images, labels = task.batch(part, generator)
                    wrong = drawn[part].to(labels.device)
                    chosen = torch.where(is_forget[part].to(labels.device), wrong, labels)
                    take(cross_entropy(model(images), chosen))
