"""What happens around steps: hooks that look at the model, a bar, and a way to stop."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from torch.distributed.fsdp import FSDPModule
from tqdm import tqdm
from transformers import TrainerCallback

from unbelief import processes
from unbelief.models.runner import AnswerModel
from unbelief.rundir import RunFolder
from unbelief.train.preparation import Prepared


class StepHook(Protocol):
    """Called before the first step (with 0) and after every `every`-th optimiser step."""

    every: int

    def __call__(self, step: int, model: AnswerModel) -> None:
        """Look at the model as it is after `step` steps."""
        ...


class PreparedHook(StepHook, Protocol):
    """A hook that wants to know the run before it is called the first time."""

    def prepare(self, prepared: Prepared, folder: RunFolder, resuming: bool) -> None:
        """Get to know model, data and working folder.

        Args:
            prepared: Everything that was read and checked.
            folder: Where files that belong to the run may be kept.
            resuming: Whether the run goes on from a checkpoint; step 0 is then not shown again.
        """
        ...


def introduce(
    hooks: Sequence[StepHook], prepared: Prepared, folder: RunFolder, *, resuming: bool
) -> None:
    """Introduce the run to those hooks that want to know it (`PreparedHook`)."""
    for hook in hooks:
        prepare = getattr(hook, "prepare", None)
        if prepare is not None:
            prepare(prepared, folder, resuming)


class Hooks(TrainerCallback):
    """Calls step hooks."""

    def __init__(self, hooks: Sequence[StepHook], model: AnswerModel):
        self._hooks, self._model = hooks, model

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Call the hooks that are due; on a sharded model all processes must do the same."""
        due = [hook for hook in self._hooks if state.global_step % hook.every == 0]
        for hook in due:
            hook(state.global_step, self._model)
        root = self._model.model
        if due and isinstance(root, FSDPModule):
            root.reshard()  # after a forward without backward it would stay whole


class ProgressBar(TrainerCallback):
    """A bar on stderr, when that is a terminal."""

    def __init__(self, total: int):
        self._total, self._bar = total, None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar."""
        self._bar = bar(self._total, "unlearn", True, state.global_step).__enter__()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Advance the bar."""
        self._bar.update(1)  # type: ignore[attr-defined]

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show the loss and the mean log-probabilities."""
        shown = {k: logs[k] for k in ("loss", "target_logp", "retain_logp") if k in logs}
        self._bar.set_postfix(shown)  # type: ignore[attr-defined]

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar."""
        self._bar.close()  # type: ignore[attr-defined]


class InterruptGuard(TrainerCallback):
    """Ctrl-C saves a checkpoint and stops after the current step; a second one stops at once."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Answer Ctrl-C while the block runs."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, self._ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _ask(self, number: int, frame: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("\nstopping after this step; once more stops at once", file=sys.stderr)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop if any process was asked to: all of them must stop after the same step."""
        self.asked = any(processes.gather(self.asked))
        if self.asked:
            control.should_save = control.should_training_stop = True


@contextmanager
def bar(total: int, what: str, progress: bool, initial: int = 0) -> Iterator[Any]:
    """A tqdm bar on stderr, shown by one process and only on a terminal."""
    shown = progress and processes.is_main() and sys.stderr.isatty()
    with tqdm(total=total, desc=what, initial=initial, disable=not shown, file=sys.stderr) as bar:
        yield bar
