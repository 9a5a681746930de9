"""Influence unlearning with the WoodFisher inverse."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from unbelief.vision.learning import Task
from unbelief.vision.method import Method, Outcome


@dataclass(frozen=True)
class Influence(Method):
    r"""IU: one Newton-like step that removes what D_f contributed.

    .. math:: v = \frac{1}{n_f + n_r} \sum_f \nabla \ell
              - \frac{n_f}{(n_f + n_r)\, n_r} \sum_r \nabla \ell,
              \qquad \theta \leftarrow \theta + \alpha H^{-1} v

    with H⁻¹v by the WoodFisher recursion over gradients g of single images of D_un: o₀ = g₀; then
    a = o·g, k ← k - (k·g / (N + a)) o, o ← o - (a / (N + a)) o.

    Attributes:
        alpha: α.
        samples: N.
        batch_size: Images per backward pass of the sums.
    """

    alpha: float = 0.2
    samples: int = 1000
    batch_size: int = 256

    name: ClassVar[str] = "iu"
    label: ClassVar[str] = "IU"
    source: ClassVar[str] = "Izzo et al. 2021; WoodFisher as in Unlearn-Sparse"

    def apply(self, model: nn.Module, task: Task) -> Outcome:
        """One step; evaluation mode throughout."""
        model.eval()
        n_f, n_r = len(task.forget), len(task.rest)
        v = self._sum(model, task, task.forget) / (n_f + n_r)
        v -= n_f / ((n_f + n_r) * n_r) * self._sum(model, task, task.rest)
        order = torch.randperm(n_r, generator=task.generator())[: self.samples]
        found = woodfisher(
            v, (gradient(model, task, i[None]) for i in task.rest[order]), self.samples
        )
        with torch.no_grad():
            moved = parameters_to_vector(model.parameters()) + self.alpha * found
            vector_to_parameters(moved, model.parameters())
        return Outcome(model, log={"step_norm": float(self.alpha * found.norm())})

    def _sum(self, model: nn.Module, task: Task, index: Tensor) -> Tensor:
        return torch.stack(
            [gradient(model, task, part) * len(part) for part in index.split(self.batch_size)]
        ).sum(0)


def gradient(model: nn.Module, task: Task, index: Tensor) -> Tensor:
    """(P,) gradient of the mean cross-entropy over some images."""
    images, labels = task.batch(index, None)
    loss = cross_entropy(model(images), labels)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


def woodfisher(v: Tensor, gradients: object, samples: int) -> Tensor:
    """(P,) approximation of H⁻¹v from single gradients; N is `samples`, see `Influence`."""
    k, o = v.clone(), None
    for g in gradients:  # type: ignore[attr-defined]
        if o is None:
            o = g.clone()
            continue
        a = o @ g
        k -= (k @ g) / (samples + a) * o
        o -= a / (samples + a) * o
    return k
