"""One budget, any number of processes: who may run the next trial.

Trials get rising numbers from the storage. A process that was given a number runs it only if fewer
than `budget` trials of lower number exist that did not fail; otherwise it gives the trial back as
failed. However many processes ask at once, never more than `budget` trials are run to an end: of
budget + 1 that were, the one of the highest number would have counted all others.

A trial whose process is gone (killed, switched off) failed and is run again by whoever asks next.
"""

from __future__ import annotations

import os
import time
from typing import Any

from unbelief.study.storage import is_running, optuna, patiently, this_machine

STALE_SECONDS = 3600.0
"""A trial of another machine that has not been heard of for so long failed."""


def counted(study: Any) -> list[Any]:
    """Trials that count towards the budget, in order: all that did not fail."""
    failed = optuna().trial.TrialState.FAIL
    return [t for t in study.get_trials(deepcopy=False) if t.state != failed]


def finished(study: Any) -> list[Any]:
    """Trials that were run to an end (or pruned), in order."""
    state = optuna().trial.TrialState
    return [t for t in counted(study) if t.state in (state.COMPLETE, state.PRUNED)]


def claim(study: Any, budget: int) -> Any | None:
    """Return a trial this process is to run, or None when the budget is spent or being spent."""
    patiently(lambda: release_stale(study))
    waiting = optuna().trial.TrialState.WAITING
    taken = [t for t in patiently(lambda: counted(study)) if t.state != waiting]
    if len(taken) >= budget:
        return None
    trial = patiently(study.ask)
    before = [t for t in patiently(lambda: counted(study)) if t.number < trial.number]
    if len(before) >= budget:
        give_back(study, trial, "the budget was spent meanwhile")
        return None
    patiently(lambda: trial.set_user_attr("machine", this_machine()))
    patiently(lambda: trial.set_user_attr("process", os.getpid()))
    beat(trial)
    return trial


def beat(trial: Any) -> None:
    """Say that the trial is being worked on."""
    patiently(lambda: trial.set_user_attr("heard", time.time()))


def give_back(study: Any, trial: Any, why: str) -> None:
    """End a trial as failed: it does not count, and another takes its place."""
    package = optuna()
    patiently(lambda: trial.set_user_attr("failed", why))
    patiently(lambda: study.tell(trial, state=package.trial.TrialState.FAIL))


def release_stale(study: Any, now: float | None = None) -> int:
    """Fail the trials whose process is gone; returns how many."""
    package, moment = optuna(), time.time() if now is None else now
    state = package.trial.TrialState
    released = 0
    for trial in study.get_trials(deepcopy=False, states=(state.RUNNING,)):
        known = trial.user_attrs
        here = known.get("machine") == this_machine()
        if here and is_running(int(known.get("process", 0))):
            continue
        started = trial.datetime_start.timestamp() if trial.datetime_start else moment
        if not here and moment - float(known.get("heard", started)) < STALE_SECONDS:
            continue
        try:
            study.tell(trial.number, state=state.FAIL)
            released += 1
        except ValueError:
            continue  # another process was quicker
    return released
