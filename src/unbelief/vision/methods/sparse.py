"""Fine-tuning towards sparse weights."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from unbelief.vision.learning import Task, descend
from unbelief.vision.method import Outcome, SGDMethod


@dataclass(frozen=True)
class Sparse(SGDMethod):
    r"""L1-sparse: fine-tuning on D_un with a falling L1 penalty on all weights.

    .. math:: L_e = \ell(D_{un}) + \alpha \Big(1 - \frac{e}{E - E_0}\Big) \|\theta\|_1

    The norm is a sum over all parameters, so α must shrink as they grow in number.

    Attributes:
        alpha: α; 5e-4 is remembered for ResNet-18, the repository's own default 0.2 erases it.
        without: E_0, epochs at the end without penalty.
    """

    alpha: float = 5e-4
    without: int = 0

    name: ClassVar[str] = "l1-sparse"
    label: ClassVar[str] = "L1-sparse"
    source: ClassVar[str] = "Jia et al. 2023; settings of Unlearn-Sparse"

    def apply(self, model: nn.Module, task: Task) -> Outcome:
        """`epochs` passes over D_un."""
        if not 0 <= self.without < self.epochs:
            raise ValueError("without must be at least 0 and less than epochs")
        optimizer, generator = self.optimizer(model), task.generator()
        parameters = list(model.parameters())
        for epoch in range(self.epochs):
            weight = self.alpha * max(0.0, 1 - epoch / (self.epochs - self.without))

            def loss(logits: Tensor, labels: Tensor, weight: float = weight) -> Tensor:
                norm = torch.stack([p.abs().sum() for p in parameters]).sum()
                return cross_entropy(logits, labels) + weight * norm

            descend(model, task, task.rest, optimizer, self.batch_size, generator, loss)
        return Outcome(model)
