"""The two sides' gradients, where an objective's gradient rule keeps them apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unbelief.objectives.gradients import GradientRule, Rectified
from unbelief.tokens import Row
from unbelief.train.checkpoints import trained_parameters
from unbelief.train.step import Tally

_FILE = "retain_gradient.safetensors"
_PIECE = 2**22  # elements in double precision at a time


class Gradients:
    """Carries out an objective's gradient rule, step by step.

    A step whose rule keeps the sides apart has two passes over its rows: the retain rows, then the
    forget rows. In between the retain gradient is taken away from the parameters, so whatever adds
    to `.grad` by itself (`models.direct`) adds to the side it belongs to.

    Args:
        rule: The rule.
    """

    def __init__(self, rule: GradientRule):
        self.rule = rule
        self._retain: dict[str, Tensor] = {}
        self._begun = False

    def passes(self, micro_batches: Sequence[Sequence[Row]]) -> list[list[list[Row]]]:
        """Micro-batches of every pass, in order; one pass where the gradients are summed."""
        if not self.rule.apart:
            return [[list(m) for m in micro_batches]]
        sides = [
            [[r for r in m if (r.kind == "retain") is retain] for m in micro_batches]
            for retain in (True, False)
        ]
        return [[m for m in side if m] for side in sides]

    @torch.no_grad()
    def after(self, number: int, model: nn.Module, tally: Tally) -> None:
        """End a pass: put the retain gradient aside, then make the step's gradient.

        Args:
            number: Of the pass, from 0.
            model: Whose `.grad` are the gradient of the pass.
            tally: Receives the cosine of both gradients, and whether the step was projected.
        """
        if self.rule.apart:
            (self._put_aside if number == 0 else self._combine)(model, tally)

    def _put_aside(self, model: nn.Module, tally: Tally) -> None:
        assert isinstance(self.rule, Rectified)
        newest = self.rule.gamma if self._begun else 1.0
        for name, parameter in trained_parameters(model).items():
            gradient, parameter.grad = parameter.grad, None
            if name in self._retain:
                self._retain[name].mul_(1 - newest)
                if gradient is not None:
                    self._retain[name].add_(gradient, alpha=newest)
            elif gradient is not None:
                self._retain[name] = gradient.mul_(newest)
        self._begun = True

    def _combine(self, model: nn.Module, tally: Tally) -> None:
        own = {n: p for n, p in trained_parameters(model).items() if n in self._retain}
        pairs = [(p.grad, self._retain[n]) for n, p in own.items() if p.grad is not None]
        dot, forget = inner_product(pairs), inner_product((g, g) for g, _ in pairs)
        retain = inner_product((r, r) for r in self._retain.values())
        _, share = self.rule.share(dot, retain)
        if forget > 0 and retain > 0:
            tally.add("gradient_cosine", torch.tensor([dot / (forget * retain) ** 0.5]))
        tally.add("projected", torch.tensor([float(share != 0)]))
        if share:
            for name, parameter in own.items():
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                parameter.grad.add_(self._retain[name], alpha=share)

    def save(self, checkpoint: Path) -> None:
        """Write what a resumed run cannot compute again."""
        if self.rule.apart:
            save_file({n: t.contiguous() for n, t in self._retain.items()}, checkpoint / _FILE)

    def restore(self, checkpoint: Path, model: nn.Module) -> None:
        """Go on from what `save` wrote."""
        if self.rule.apart:
            own, stored = trained_parameters(model), load_file(checkpoint / _FILE)
            self._retain = {n: t.to(own[n].device) for n, t in stored.items()}
            self._begun = True


def inner_product(pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Σ ⟨a, b⟩ over pairs of tensors, in double precision whatever they are stored in."""
    total = None
    for a, b in pairs:
        for left, right in zip(a.flatten().split(_PIECE), b.flatten().split(_PIECE), strict=True):
            found = torch.dot(left.double(), right.double())
            total = found if total is None else total + found.to(total.device)
    return 0.0 if total is None else float(total)
