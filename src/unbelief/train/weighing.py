"""The objective's weights in the course of a run."""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor

from unbelief import processes
from unbelief.objectives import Objective
from unbelief.objectives.base import Side
from unbelief.objectives.weights import PrimalDual, WeightRule
from unbelief.outputs import atomic_write

_FILE = "weights.json"


class Weights:
    """Carries out an objective's weight rule, step by step.

    Args:
        objective: Its weights are where the rule starts.
    """

    def __init__(self, objective: Objective):
        self._objective = objective
        self._forget_factor, self._seen = 1.0, 0.0
        self._retain_weight = self._next = objective.retain_weight

    @property
    def rule(self) -> WeightRule:
        """The rule that is carried out."""
        return self._objective.weights

    @property
    def now(self) -> dict[str, float]:
        """γ and α of this step; empty where they never change."""
        if self.rule.name == "constant":
            return {}
        gamma = self._objective.forget_weight * self._forget_factor
        return {"forget_weight": gamma, "retain_weight": self._retain_weight}

    def factor(self, side: Side) -> float:
        """What a side's loss, at the objective's own weight, is multiplied with."""
        if side == "forget":
            return self._forget_factor
        start = self._objective.retain_weight
        return self._retain_weight / start if start else 1.0

    def see(self, side: Side, loss: Tensor) -> None:
        """Note a micro-batch's share of the loss, at the objective's own weight."""
        if side == "retain" and isinstance(self.rule, PrimalDual):
            self._seen += float(loss.detach()) / self._objective.retain_weight

    def begin(self, done: float) -> None:
        """Start a step, after a share `done` of all steps."""
        self._forget_factor, self._seen = self.rule.forget_factor(done), 0.0
        self._retain_weight = self._next

    def end(self, epochs: float) -> None:
        """End a step; the retain loss is that of all processes together."""
        if isinstance(self.rule, PrimalDual):
            loss = sum(processes.gather(self._seen))
            self._next = self.rule.next_retain_weight(self._retain_weight, loss, epochs)

    def save(self, checkpoint: Path) -> None:
        """Write what a resumed run cannot compute again."""
        if isinstance(self.rule, PrimalDual):
            atomic_write(checkpoint / _FILE, json.dumps({"next_retain_weight": self._next}))

    def restore(self, checkpoint: Path) -> None:
        """Go on from what `save` wrote."""
        if isinstance(self.rule, PrimalDual):
            stored = json.loads((checkpoint / _FILE).read_text(encoding="utf-8"))
            self._next = float(stored["next_retain_weight"])
