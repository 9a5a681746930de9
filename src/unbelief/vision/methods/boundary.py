"""Boundary shrink."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from unbelief.vision.learning import Task, batches, logits_of, step
from unbelief.vision.method import Outcome, SGDMethod


@dataclass(frozen=True)
class BoundaryShrink(SGDMethod):
    r"""BS: every image of D_f gets the label of the nearest wrong class, as θ_o sees it.

    .. math:: x' = \mathrm{clip}(x + \epsilon\, \mathrm{sign} \nabla_x \ell(f_{\theta_o}(x), y)),
              \qquad y' = \arg\max f_{\theta_o}(x')

    x' is rounded to 1/255; the loss is cross-entropy of the current model on (x, y'). Where the
    step does not cross a boundary, y' = y and the image is trained on its own label, as published.

    Attributes:
        bound: ε in [0, 1] pixel values.
    """

    learning_rate: float = 1e-5
    bound: float = 0.1

    name: ClassVar[str] = "bs"
    label: ClassVar[str] = "BS"
    source: ClassVar[str] = "Chen et al. 2023, boundary unlearning; settings of its code"

    def apply(self, model: nn.Module, task: Task) -> Outcome:
        """Labels from θ_o once, then `epochs` passes over D_f."""
        near = torch.cat(
            [
                nearest(model, *task.batch(part, None), self.bound)
                for part in task.forget.split(self.batch_size)
            ]
        )
        other = float((near != task.labels[task.forget]).float().mean())
        optimizer, generator = self.optimizer(model), task.generator()
        places = torch.arange(len(task.forget))
        for _ in range(self.epochs):
            model.train()
            for part in batches(places, self.batch_size, generator):
                images, _ = task.batch(task.forget[part], None)
                step(optimizer, cross_entropy(model(images), near[part]))
        return Outcome(model, log={"share_across_a_boundary": other})


def nearest(model: nn.Module, images: Tensor, labels: Tensor, bound: float) -> Tensor:
    """(N,) what the model calls the images after one step up the loss."""
    model.eval()
    moving = images.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(cross_entropy(model(moving), labels), moving)
    moved = (images + bound * slope.sign()).clamp(0, 1)
    return logits_of(model, (moved * 255).round() / 255).argmax(1)
