"""Training loops of small classifiers: batches, steps, normalisation that is held still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

Loss = Callable[[Tensor, Tensor], Tensor]
PADDING = 4  # pixels on each side, of which a random crop takes the place


@dataclass(frozen=True)
class Training:
    """How a model is trained from scratch.

    The defaults are those of Unlearn-Sparse (Jia et al. 2023) for ResNet-18 on CIFAR.

    Attributes:
        epochs: Passes over the data.
        learning_rate: Of SGD; a tenth of it after each milestone.
        milestones: Epochs.
        batch_size: Images per step.
        momentum: Of SGD.
        weight_decay: Of SGD.
        augment: Random crop and flip.
        label_smoothing: Share of the true label's probability that training spreads evenly over
            all labels, in [0, 1). A model trained without any can be certain of everything, and
            then ascent has next to no gradient. Methods after training do not smooth.
    """

    epochs: int = 182
    learning_rate: float = 0.1
    milestones: tuple[int, ...] = (91, 136)
    batch_size: int = 256
    momentum: float = 0.9
    weight_decay: float = 5e-4
    augment: bool = True
    label_smoothing: float = 0.0


@dataclass(frozen=True)
class Task:
    """What an unlearning method is given. It sees nothing else of a scenario.

    Attributes:
        images: (N, C, H, W) all training images in [0, 1].
        labels: (N,) labels in the model's own label domain L_M.
        forget: Indices of D_f, the data handed over.
        rest: Indices of D_un, all others.
        classes: Number of the model's labels.
        beyond: How many of the model's labels in D_un are meant by the request too. Neither data
            nor model tell: with 0 the request means exactly D_f.
        fresh: Gives an untrained model of the same kind from a seed.
        training: How the original was trained.
        seed: Of everything random.
    """

    images: Tensor
    labels: Tensor
    forget: Tensor
    rest: Tensor
    classes: int
    beyond: int
    fresh: Callable[[int], nn.Module]
    training: Training = field(default_factory=Training)
    seed: int = 0

    def generator(self) -> torch.Generator:
        """Fresh randomness of this task."""
        return torch.Generator().manual_seed(self.seed)

    def batch(self, index: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Images and labels; augmented as in training if a generator is given."""
        images = self.images[index]
        if generator is not None and self.training.augment:
            images = augmented(images, generator)
        return images, self.labels[index]


def batches(index: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Shuffled batches; one left over joins the batch before, since it has no variance alone."""
    order = index[torch.randperm(len(index), generator=generator)]
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    yield from parts


def endless(index: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches that begin anew, in a new order, when they are used up."""
    if not len(index):
        raise ValueError("there is nothing to take batches from")
    while True:
        yield from batches(index, size, generator)


def step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One optimiser step down a loss."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def descend(
    model: nn.Module,
    task: Task,
    index: Tensor,
    optimizer: torch.optim.Optimizer,
    size: int,
    generator: torch.Generator,
    loss: Loss = cross_entropy,
) -> None:
    """One pass over some images, a step per batch down `loss(logits, labels)`."""
    model.train()
    for part in batches(index, size, generator):
        images, labels = task.batch(part, generator)
        step(optimizer, loss(model(images), labels))


def train(model: nn.Module, task: Task, index: Tensor, seed: int) -> nn.Module:
    """Train from scratch on some images, as the task's original was."""
    plan = task.training
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(
        model.parameters(), plan.learning_rate, plan.momentum, weight_decay=plan.weight_decay
    )
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(plan.milestones), 0.1)
    loss = partial(cross_entropy, label_smoothing=plan.label_smoothing)
    for _ in range(plan.epochs):
        descend(model, task, index, optimizer, plan.batch_size, generator, loss)
        schedule.step()
    return model


@torch.no_grad()
def logits_of(model: nn.Module, images: Tensor, size: int = 512) -> Tensor:
    """(N, classes) logits in evaluation mode, without augmentation."""
    was = model.training
    model.eval()
    out = torch.cat([model(part) for part in images.split(size)])
    model.train(was)
    return out


@contextmanager
def still_normalisation(model: nn.Module) -> Iterator[None]:
    """Batch normalisation uses its running statistics and leaves them as they are.

    Ascent on images of one class alone would drag the statistics towards that class, and every
    other class would fall with it.
    """
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    moving = [m for m in model.modules() if isinstance(m, kinds) and m.training]
    for module in moving:
        module.eval()
    try:
        yield
    finally:
        for module in moving:
            module.train()


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """A random crop of the padded image, and a flip for every second one (CIFAR's custom)."""
    n, c, h, w = images.shape
    wide = pad(images, (PADDING,) * 4)
    offset = torch.randint(0, 2 * PADDING + 1, (2, n, 1), generator=generator)
    rows, columns = offset[0] + torch.arange(h), offset[1] + torch.arange(w)
    flip = torch.rand(n, 1, generator=generator) < 0.5
    columns = torch.where(flip, columns.flip(1), columns)
    return wide[
        torch.arange(n)[:, None, None, None],
        torch.arange(c)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
