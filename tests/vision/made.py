"""A task on generated images that a linear look can tell apart: nothing is read or downloaded."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unbelief.vision.learning import Task, Training, train
from unbelief.vision.models import SmallCNN

CLASSES, PER_CLASS = 4, 30
PLAN = Training(epochs=4, learning_rate=0.03, milestones=(3,), batch_size=20, augment=False)


def made_images(seed: int = 0) -> tuple[Tensor, Tensor]:
    """8x8 images: each class is a bright quarter, with noise. Classes 0 and 1 share a grey bar."""
    drawn = torch.Generator().manual_seed(seed)
    labels = torch.arange(CLASSES).repeat_interleave(PER_CLASS)
    images = 0.7 * torch.rand(len(labels), 1, 8, 8, generator=drawn)
    for i, label in enumerate(labels.tolist()):
        row, column = 4 * (label // 2), 4 * (label % 2)
        images[i, 0, row : row + 4, column : column + 4] += 0.3
    return images.clamp(0, 1), labels


def made_task(beyond: int = 0, *, norm: str = "group", seed: int = 0) -> Task:
    """Forget class 0; with `beyond`, a sibling is meant too."""
    images, labels = made_images()
    return Task(
        images=images,
        labels=labels,
        forget=torch.arange(PER_CLASS),
        rest=torch.arange(PER_CLASS, len(labels)),
        classes=CLASSES,
        beyond=beyond,
        fresh=lambda s: fresh_model(s, norm),
        training=PLAN,
        seed=seed,
    )


def fresh_model(seed: int, norm: str = "group") -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SmallCNN(CLASSES, 1, norm)  # type: ignore[arg-type]


def trained(task: Task) -> nn.Module:
    """A model that knows all classes."""
    return train(task.fresh(0), task, torch.arange(len(task.labels)), 0)
