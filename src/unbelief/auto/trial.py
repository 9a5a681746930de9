"""One trial: a short run of a method from the original weights, measured along the way."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from unbelief.auto.aims import Aim
from unbelief.auto.judging import Point, point_of, should_end
from unbelief.auto.yardstick import Reading
from unbelief.models.runner import AnswerModel

FULL_LENGTH = "it ran to its full length"
Ask = Callable[[AnswerModel], Reading]
Told = Callable[[Point], None]


class Watch(TrainerCallback):
    """Measures a run at given steps and ends it where going on is of no use.

    It is a step hook as well, to get to know the run; it measures as a callback of the trainer,
    since only a callback can end a run without losing it.

    Args:
        ask: What to ask the model.
        aim: What to hold it against.
        at: Steps at which to ask, rising; the run ends after the last.
        deadline: Monotonic time after which the run ends, whatever it has reached.
        bank: Where to keep the belief bank the run samples, or None.
        tell: Told every measured step.
    """

    every = 10**9

    def __init__(
        self,
        ask: Ask,
        aim: Aim,
        at: Sequence[int],
        deadline: float,
        bank: Path | None,
        tell: Told,
    ):
        self._ask, self._aim, self._at, self._deadline = ask, aim, tuple(at), deadline
        self._bank, self._tell = bank, tell
        self.points: list[Point] = []
        self.ended = FULL_LENGTH
        self.training_started = time.monotonic()
        self.steps, self.measuring = 0, 0.0

    def prepare(self, prepared: Any, folder: Any, resuming: bool) -> None:
        """See `PreparedHook`."""
        self._model, self._folder = prepared.model, folder

    def __call__(self, step: int, model: AnswerModel) -> None:
        """Before the first step: keep the bank, which is sampled by then."""
        if step == 0:
            source = self._folder.beliefs(0)
            if self._bank is not None and source.exists() and not self._bank.exists():
                partial = self._bank.with_suffix(".partial")
                shutil.copyfile(source, partial)
                partial.chmod(0o600)
                partial.rename(self._bank)
            self.training_started = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure, and end the run where that is due."""
        self.steps = step = state.global_step
        if step in self._at:
            self._measure(step)
        late = time.monotonic() > self._deadline
        why = (
            should_end(self.points, 1 - self._aim.keep)
            if step in self._at and self.points
            else None
        )
        if why is None and late and step < self._at[-1]:
            why = "the budget was spent"
        if why is not None:
            self.ended = why
        if why is not None or step >= self._at[-1]:
            control.should_training_stop = True

    @property
    def step_seconds(self) -> float | None:
        """Seconds per optimiser step, without measuring; None before the first."""
        if not self.steps:
            return None
        return (time.monotonic() - self.training_started - self.measuring) / self.steps

    def _measure(self, step: int) -> None:
        started = time.monotonic()
        point = point_of(step, self._ask(self._model), self._aim)
        if point is not None:
            self.points.append(point)
            self._tell(point)
        self.measuring += time.monotonic() - started


class StopAt(TrainerCallback):
    """Ends a run after a step, whatever its learning rates were made for.

    No checkpoint is left of that step: a run that goes on from one would take one step more.

    Args:
        step: The last one.
    """

    def __init__(self, step: int):
        self._step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop once the step is done."""
        if state.global_step >= self._step:
            control.should_training_stop, control.should_save = True, False
