"""TARF: target-aware forgetting."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from unbelief.vision.identify import by_class, by_sample
from unbelief.vision.learning import (
    Task,
    batches,
    endless,
    logits_of,
    step,
    still_normalisation,
)
from unbelief.vision.method import Outcome, SGDMethod


def annealed(k: float, epoch: float, epochs: int, tail: float) -> float:
    r"""Weight of the ascent, which ends `tail` epochs before the run does.

    .. math:: k(t) = \max\Big(k\,\frac{T - t - t_0}{T}, 0\Big)

    Args:
        k: Its scale; k(0) = k (T - t_0) / T.
        epoch: t.
        epochs: T.
        tail: t_0, read as the length of the tail, which is what the formula says.

    Source: TARF, Eq. 5.
    """
    return max(k * (epochs - epoch - tail) / epochs, 0.0)


@dataclass(frozen=True)
class Tarf(SGDMethod):
    r"""Annealed ascent on D_f, and descent on what of D_un is to stay.

    .. math:: L(t) = -k(t)\, \frac{1}{|D_f|} \sum_{D_f} \ell
              + \frac{1}{|D_{un}|} \sum_{D_{un}} \tau(x, y, t)\, \ell

    * Phase I, t < t_1: ascent alone. Then the data of D_un that lost most are taken for meant.
    * Phase II: ascent, and descent on the rest of D_un, one summed loss per step.
    * Phase III, k(t) = 0: descent alone, which approximates retraining.

    How many of the model's labels in D_un are meant is knowledge of the request (`Task.beyond`);
    with none, all of D_un stays. Batch normalisation stands still wherever ascent goes (trap: its
    statistics would follow D_f), so they follow the data that stay.

    Attributes:
        k: Scale of the ascent.
        identify: `class`: as many whole classes as are meant, by their loss of accuracy. `sample`:
            single images, by the change of their loss.
        share: Of D_un that `sample` takes.
        false_retain: `clean`: what was identified is left out; `ascend`: ascent goes there too.
        head: t_1, epochs.
        tail: t_0, epochs.
        still: Hold batch normalisation still under ascent; off only to see what happens.
    """

    k: float = 0.04
    identify: Literal["class", "sample"] = "class"
    share: float = 0.1
    false_retain: Literal["clean", "ascend"] = "clean"
    head: int = 1
    tail: int = 2
    still: bool = True

    name: ClassVar[str] = "tarf"
    label: ClassVar[str] = "TARF"
    finds: ClassVar[bool] = True
    source: ClassVar[str] = "Zhu et al. 2026 (TARF), Eqs. 3 and 5; optimiser settings assumed"

    def apply(self, model: nn.Module, task: Task) -> Outcome:
        """The three phases."""
        if self.head < 0 or self.tail < 0 or self.head + self.tail > self.epochs:
            raise ValueError("head and tail must fit into the epochs")
        optimizer, generator = self.optimizer(model), task.generator()
        before = _seen(model, task)
        for epoch in range(self.head):
            self._ascend(model, task, optimizer, generator, self._weight(epoch))
        after = _seen(model, task)
        found = self._identified(before, after, task)
        drop, stay = task.rest[torch.from_numpy(found)], task.rest[torch.from_numpy(~found)]
        up = torch.cat([task.forget, drop]) if self.false_retain == "ascend" else task.forget
        ascent = endless(up, self.batch_size, generator)
        for epoch in range(self.head, self.epochs):
            self._both(model, task, optimizer, generator, self._weight(epoch), stay, ascent)
        weights = [self._weight(epoch) for epoch in range(self.epochs)]
        return Outcome(model, drop.cpu().numpy(), self._log(task, before, after, weights))

    def _weight(self, epoch: int) -> float:
        return annealed(self.k, epoch, self.epochs, self.tail)

    def _up(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        if not self.still:
            return -cross_entropy(model(images), labels)
        with still_normalisation(model):
            return -cross_entropy(model(images), labels)

    def _ascend(
        self,
        model: nn.Module,
        task: Task,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        weight: float,
    ) -> None:
        model.train()
        for part in batches(task.forget, self.batch_size, generator):
            step(optimizer, weight * self._up(model, *task.batch(part, generator)))

    def _both(
        self,
        model: nn.Module,
        task: Task,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        weight: float,
        stay: Tensor,
        ascent: Iterator[Tensor],
    ) -> None:
        model.train()
        for part in batches(stay, self.batch_size, generator):
            images, labels = task.batch(part, generator)
            loss = cross_entropy(model(images), labels)
            if weight > 0:
                loss = loss + weight * self._up(model, *task.batch(next(ascent), generator))
            step(optimizer, loss)

    def _identified(self, before: "_Seen", after: "_Seen", task: Task) -> np.ndarray:
        groups = task.labels[task.rest].cpu().numpy()
        if task.beyond == 0:
            return np.zeros(len(groups), bool)
        change = after.loss - before.loss
        if self.identify == "sample":
            return by_sample(change, self.share)
        return by_class(groups, before.hit, after.hit, change, task.beyond)

    def _log(
        self, task: Task, before: "_Seen", after: "_Seen", weights: list[float]
    ) -> dict[str, Any]:
        """k(t), and per class of D_un what phase I did: accuracy lost, loss gained (nats)."""
        groups = task.labels[task.rest].cpu().numpy()
        fell = {}
        for name in np.unique(groups):
            own = groups == name
            lost = float(before.hit[own].mean() - after.hit[own].mean())
            gained = float((after.loss - before.loss)[own].mean())
            fell[str(name)] = [lost, gained if np.isfinite(gained) else None]
        return {"k": weights, "phase_one": fell}


@dataclass(frozen=True)
class _Seen:
    """D_un as a model sees it, without augmentation: right or wrong, and loss in nats."""

    hit: np.ndarray
    loss: np.ndarray


def _seen(model: nn.Module, task: Task) -> _Seen:
    logits, labels = logits_of(model, task.images[task.rest]), task.labels[task.rest]
    loss = cross_entropy(logits, labels, reduction="none")
    return _Seen((logits.argmax(1) == labels).cpu().numpy(), loss.double().cpu().numpy())
