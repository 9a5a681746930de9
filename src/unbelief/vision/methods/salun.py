"""Random labels within a saliency mask."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from unbelief.vision.learning import Task
from unbelief.vision.method import Outcome
from unbelief.vision.methods.random_labels import RandomLabels


@dataclass(frozen=True)
class SalUn(RandomLabels):
    r"""Random labels, but only the parameters with the largest gradients on D_f may move.

    .. math:: m = 1[\,|\textstyle\sum \nabla(-\ell(D_f))| \text{ in the top } p
              \text{ of all parameters}\,]

    Gradients are masked, and what lies outside is put back after every step with its momentum
    cleared: weight decay and momentum would move it otherwise (older published numbers let them).

    Attributes:
        share: p.
    """

    learning_rate: float = 0.013
    share: float = 0.5

    name: ClassVar[str] = "salun"
    label: ClassVar[str] = "SalUn"
    source: ClassVar[str] = "Fan et al. 2024; settings of Unlearn-Saliency"

    def apply(self, model: nn.Module, task: Task) -> Outcome:
        """The mask, then the passes of random labels."""
        parameters = [p for p in model.parameters() if p.requires_grad]
        masks = saliency(model, task, self.share, self.batch_size)
        before = [p.detach().clone() for p in parameters]
        optimizer = self.optimizer(model)

        def take(loss: Tensor) -> None:
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            for p, mask in zip(parameters, masks, strict=True):
                if p.grad is not None:
                    p.grad *= mask
            optimizer.step()
            with torch.no_grad():
                for p, mask, old in zip(parameters, masks, before, strict=True):
                    p.copy_(torch.where(mask, p, old))
                    momentum = optimizer.state[p].get("momentum_buffer")
                    if momentum is not None:
                        momentum *= mask

        self.relabel(model, task, take)
        kept = sum(int(mask.sum()) for mask in masks)
        return Outcome(model, log={"parameters_in_mask": kept})


def saliency(model: nn.Module, task: Task, share: float, size: int) -> list[Tensor]:
    """Masks of the parameters, True for the top share of |gradient| over all of them together.

    Raises:
        ValueError: The share does not lie in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], not {share}")
    model.eval()
    model.zero_grad(set_to_none=True)
    for part in task.forget.split(size):
        images, labels = task.batch(part, None)
        (-cross_entropy(model(images), labels)).backward()
    parameters = [p for p in model.parameters() if p.requires_grad]
    sizes = [torch.zeros_like(p) if p.grad is None else p.grad.abs() for p in parameters]
    model.zero_grad(set_to_none=True)
    flat = torch.cat([s.flatten() for s in sizes])
    inside = torch.zeros(len(flat), dtype=torch.bool, device=flat.device)
    inside[flat.topk(max(1, round(share * len(flat)))).indices] = True
    parts = inside.split([s.numel() for s in sizes])
    return [part.view_as(s) for part, s in zip(parts, sizes, strict=True)]
