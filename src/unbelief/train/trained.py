"""What training ends with."""

from __future__ import annotations

from dataclasses import dataclass

from unbelief.models.runner import AnswerModel


@dataclass(frozen=True)
class Trained:
    """What training ended with.

    Attributes:
        model: The trained model; of a sharded run a whole copy on the CPU of the main process.
        log: Log entries of steps.
        step: Optimiser steps done.
        interrupted: Whether it was stopped before the last step.
        resumed_from: Step of the checkpoint it went on from.
    """

    model: AnswerModel
    log: list[dict[str, float]]
    step: int
    interrupted: bool
    resumed_from: int | None
