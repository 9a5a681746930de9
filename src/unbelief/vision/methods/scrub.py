"""SCRUB: a student that leaves its teacher on the forget data."""

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from unbelief.vision.learning import Task, batches, step
from unbelief.vision.method import Outcome, SGDMethod


@dataclass(frozen=True)
class Scrub(SGDMethod):
    r"""Away from the teacher θ_o on D_f, near it and right on D_un.

    In each of the first `away` epochs a pass over D_f down -KL; in every epoch one over D_un down

    .. math:: \gamma\, \ell(f(x), y) + \alpha\, KL(p_{\theta_o} \| p_\theta)

    with KL at temperature 4, times 16. The teacher is in evaluation mode, the student is not.

    Attributes:
        gamma: γ.
        alpha: α.
        away: Epochs with a pass over D_f.
        temperature: Of both sides' softmax.
        forget_batch_size: Images of D_f per step.
    """

    learning_rate: float = 5e-4
    epochs: int = 3
    batch_size: int = 128
    gamma: float = 0.99
    alpha: float = 0.001
    away: int = 2
    temperature: float = 4.0
    forget_batch_size: int = 32

    name: ClassVar[str] = "scrub"
    label: ClassVar[str] = "SCRUB"
    source: ClassVar[str] = "Kurmanji et al. 2023; settings of its CIFAR notebook"

    def apply(self, model: nn.Module, task: Task) -> Outcome:
        """`epochs` passes over D_un, the first ones after a pass over D_f."""
        teacher = copy.deepcopy(model).eval()
        optimizer, generator = self.optimizer(model), task.generator()
        for epoch in range(self.epochs):
            model.train()
            if epoch < self.away:
                for part in batches(task.forget, self.forget_batch_size, generator):
                    images, _ = task.batch(part, generator)
                    step(optimizer, -self._divergence(model(images), teacher, images))
            for part in batches(task.rest, self.batch_size, generator):
                images, labels = task.batch(part, generator)
                logits = model(images)
                near = self._divergence(logits, teacher, images)
                step(optimizer, self.gamma * cross_entropy(logits, labels) + self.alpha * near)
        return Outcome(model)

    def _divergence(self, logits: Tensor, teacher: nn.Module, images: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = softmax(teacher(images) / self.temperature, 1)
        said = log_softmax(logits / self.temperature, 1)
        return kl_div(said, wanted, reduction="batchmean") * self.temperature**2
