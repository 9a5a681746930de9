"""What an unlearning method for classifiers is. One file each in `vision.methods`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from unbelief.vision.learning import Task


@dataclass(frozen=True)
class Outcome:
    """What a method made.

    Attributes:
        model: The unlearned model.
        identified: Indices of D_un the method took for meant too; None if it does not look.
        log: Numbers about the run.
    """

    model: nn.Module
    identified: np.ndarray | None = None
    log: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Method(ABC):
    """A way to make a classifier forget; its fields are its options.

    Class attributes:
        name: How the command line calls it.
        label: In tables.
        source: Paper, and whose settings the defaults are.
        finds: Whether it looks for data that are meant though not handed over; a method that does
            is not run a second time with all of the target handed over.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    source: ClassVar[str]
    finds: ClassVar[bool] = False

    @abstractmethod
    def apply(self, model: nn.Module, task: Task) -> Outcome:
        """Unlearn; the model that is given may be changed."""


@dataclass(frozen=True)
class SGDMethod(Method):
    """A method that takes SGD steps.

    Attributes:
        learning_rate: Constant.
        epochs: Passes; over what, the method says.
        batch_size: Images per step.
        momentum: Of SGD.
        weight_decay: Of SGD.
    """

    learning_rate: float = 0.01
    epochs: int = 10
    batch_size: int = 256
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """SGD over all parameters."""
        return torch.optim.SGD(
            model.parameters(), self.learning_rate, self.momentum, weight_decay=self.weight_decay
        )
