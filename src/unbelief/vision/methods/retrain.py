"""Training anew without what was handed over."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from unbelief.vision.learning import Task, train
from unbelief.vision.method import Method, Outcome


@dataclass(frozen=True)
class Retrain(Method):
    """Exact unlearning of what was *handed over*: training from scratch on D_un.

    It starts from another seed than the reference model, which is trained on D without the target.
    Where the two data sets are the same, its gap is what two retrained models differ by: no method
    can be asked for less.

    Attributes:
        other_seed: Added to the task's seed.
    """

    other_seed: int = 1000

    name: ClassVar[str] = "retrain"
    label: ClassVar[str] = "Retrained on the rest"
    source: ClassVar[str] = "training from scratch"

    def apply(self, model: nn.Module, task: Task) -> Outcome:
        """Train a fresh model as the original was trained."""
        seed = task.seed + self.other_seed
        return Outcome(train(task.fresh(seed), task, task.rest, seed))
