"""Search settings for each method with the same budget, from one process or from many."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from unbelief.errors import GuardError, Interrupted, RequestError
from unbelief.study import trials
from unbelief.study.reference import check_aims_can_be_measured
from unbelief.study.rules import (
    NOT_SEARCHED,
    best_point,
    check_aims,
    costs,
    means,
    measured_at,
)
from unbelief.study.spaces import Option, Range, described, first_guess, space_of
from unbelief.study.storage import optuna, patiently
from unbelief.study.testbed import Case, Measured, Setting, Testbed

Pruner = Literal["median", "hyperband", "none"]
Tell = Callable[[str, int, int], None]
"""Called with a method, its finished trials and the budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneRequest:
    """A search.

    Attributes:
        methods: As in `unbelief methods`.
        trials: Budget of each.
        aims: What is aimed at, out of `QUANTITIES`; several are searched together.
        rule: How one trial is chosen, see `RULES`.
        pruner: Which trials are stopped early; with several aims none are.
        measurements: How often a run is measured. The best of these steps counts, so that when to
            stop is searched too.
        ratio: Forget ratio, in the testbed's words.
        seeds: Validation cases each trial runs on; what counts is their mean.
        seed: Of the search.
    """

    methods: tuple[str, ...]
    trials: int = 16
    aims: tuple[str, ...] = ("distance",)
    rule: str = "sum"
    pruner: Pruner = "median"
    measurements: int = 4
    ratio: str
    seeds: tuple[int, ...] = (0,)
    seed: int = 0

    def __post_init__(self) -> None:
        check_aims(self.aims, self.rule)
        if self.trials < 1 or self.measurements < 1 or not self.seeds or not self.methods:
            raise RequestError(
                "a search needs methods, seeds, trials and measurements",
                where="--trials",
                remedy="give at least one of each",
            )
        if self.pruner not in ("median", "hyperband", "none"):
            raise RequestError(
                f"there is no pruner {self.pruner!r}",
                where="--pruner",
                remedy="median, hyperband or none",
            )


class Unsuitable(Exception):
    """A method cannot run on the testbed; the message says why."""


def check(request: TuneRequest, bed: Testbed) -> dict[str, str]:
    """Find out what cannot be searched, before anything is.

    Returns:
        Reasons by method.

    Raises:
        RequestError: Unknown methods or ratio, or the aim needs a model that is not there.
    """
    from unbelief.objectives.methods import build_objective

    for method in request.methods:
        build_objective(method)
    if request.ratio not in bed.ratios:
        raise RequestError(
            f"there is no forget ratio {request.ratio!r} here",
            where="--ratio",
            remedy=f"one of {', '.join(bed.ratios)}",
        )
    found = {m: NOT_SEARCHED[m] for m in request.methods if m in NOT_SEARCHED}
    for method in request.methods:
        if method not in found and (reason := bed.refuses(method)):
            found[method] = reason
    if set(found) < set(request.methods):
        check_aims_can_be_measured(bed.references(_cases(request)[0]), request.aims)
    return found


def search(request: TuneRequest, bed: Testbed, storage: Any, method: str, tell: Tell) -> None:
    """Run trials of one method until its budget is spent or being spent by others.

    Raises:
        Unsuitable: The method cannot run here.
        RequestError: The storage holds another search of this name.
        Interrupted: Ctrl-C; the running trial is given back, all others are kept.
    """
    space = space_of(method, bed.learning_rates)
    study = open_study(request, bed, storage, method, space)
    while (trial := _next(study, request, method)) is not None:
        try:
            _run(study, trial, request, bed, method, space)
        except (KeyboardInterrupt, Interrupted) as error:
            trials.give_back(study, trial, "interrupted")
            raise Interrupted(
                f"stopped in a trial of {method}; finished trials are kept",
                remedy="the same command goes on",
            ) from error
        except RequestError as error:
            trials.give_back(study, trial, error.message)
            raise Unsuitable(error.message) from error
        tell(method, len(trials.finished(study)), request.trials)


def open_study(
    request: TuneRequest, bed: Testbed, storage: Any, method: str, space: Sequence[Range]
) -> Any:
    """The method's study in the storage, made with the defaults as its first trial where absent."""
    package = optuna()
    name = study_name(bed, request.ratio, method)
    key = identity(request, bed, method, space)
    try:
        study = patiently(
            lambda: package.create_study(
                study_name=name, storage=storage, directions=["minimize"] * len(request.aims)
            )
        )
        patiently(lambda: study.set_user_attr("identity", key))
        patiently(lambda: study.enqueue_trial(dict(first_guess(method, tuple(space)))))
    except package.exceptions.DuplicatedStudyError:
        study = patiently(lambda: package.load_study(study_name=name, storage=storage))
    _check_same(study, key, name)
    study.pruner = _pruner(request)
    return study


def study_name(bed: Testbed, ratio: str, method: str) -> str:
    """How a storage calls the search of a method."""
    return f"{bed.name}/{ratio}/{method}"


def identity(request: TuneRequest, bed: Testbed, method: str, space: Sequence[Range]) -> str:
    """Digest of all that decides a trial's result; the size of the budget is not part of it."""
    content = {
        "testbed": bed.describe(),
        "fixed": bed.fixed(method),
        "space": described(tuple(space)),
        "aims": request.aims,
        "rule": request.rule,
        "pruner": request.pruner,
        "measurements": request.measurements,
        "seeds": request.seeds,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _check_same(study: Any, key: str, name: str) -> None:
    """Another process may be just about to write the identity: give it a moment."""
    for _ in range(40):
        known = patiently(lambda: study.user_attrs.get("identity"))
        if known is not None:
            break
        time.sleep(0.05)
    if known != key:
        raise RequestError(
            f"the storage holds another search called {name}: other data, ranges or aims",
            where="--storage",
            remedy="name another storage, or repeat the command as it was",
        )


def _pruner(request: TuneRequest) -> Any:
    package = optuna()
    if request.pruner == "none" or len(request.aims) > 1:
        return package.pruners.NopPruner()
    if request.pruner == "hyperband":
        return package.pruners.HyperbandPruner(min_resource=1, max_resource=request.measurements)
    return package.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1)


def _next(study: Any, request: TuneRequest, method: str) -> Any | None:
    """Claim a trial.

    Alone, the same search draws the same settings, however often it is resumed; beside other
    processes each draws its own.
    """
    package = optuna()
    known = patiently(lambda: study.get_trials(deepcopy=False))
    running, here = package.trial.TrialState.RUNNING, os.getpid()
    others = [t for t in known if t.state == running and t.user_attrs.get("process") != here]
    text = f"{request.seed}/{method}/{len(known)}" + (f"/{here}" if others else "")
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
    study.sampler = package.samplers.TPESampler(
        seed=seed, n_startup_trials=max(3, request.trials // 3)
    )
    return trials.claim(study, request.trials)


def suggested(trial: Any, space: Sequence[Range]) -> dict[str, Option]:
    """Values of a trial for every range."""
    out: dict[str, Option] = {}
    for r in space:
        if r.choices:
            out[r.name] = trial.suggest_categorical(r.name, list(r.choices))
        elif r.whole:
            out[r.name] = trial.suggest_int(r.name, int(r.low), int(r.high), log=r.log)
        else:
            out[r.name] = trial.suggest_float(r.name, r.low, r.high, log=r.log)
    return out


def _cases(request: TuneRequest) -> list[Case]:
    return [Case(split="validation", seed=s, ratio=request.ratio) for s in request.seeds]


def _run(
    study: Any,
    trial: Any,
    request: TuneRequest,
    bed: Testbed,
    method: str,
    space: Sequence[Range],
) -> None:
    """Run a claimed trial and tell the study what came out."""
    package, started = optuna(), time.monotonic()
    state = package.trial.TrialState
    setting = Setting(method=method, options=patiently(lambda: suggested(trial, space)))
    at = measured_at(bed.steps, request.measurements)
    runs: list[tuple[Measured, ...]] = []
    ended, why = state.COMPLETE, ""
    try:
        for case in _cases(request):
            # Nothing is pruned in later cases: the first one decides.
            report = (lambda _point: None) if runs else _reporter(study, trial, request, at)
            runs.append(bed.attempt(setting, case, at, report))
    except package.TrialPruned:
        ended, why = state.PRUNED, "pruned"
    except GuardError as error:
        ended, why = state.PRUNED, error.message
    points = means(runs) if ended == state.COMPLETE else []
    best = best_point(points, request.aims, request.rule) if points else None
    if ended == state.COMPLETE and best is None:
        ended, why = state.PRUNED, "what is aimed at could not be measured"
    about = {"seconds": time.monotonic() - started, "best": best, "ended": why}
    for key, value in about.items():
        patiently(lambda key=key, value=value: trial.set_user_attr(key, value))  # type: ignore[misc]
    values = None if best is None else list(costs(best["values"], request.aims))
    try:
        patiently(lambda: study.tell(trial, values, state=ended))
    except ValueError:
        return  # believed dead meanwhile and given to another process


def _reporter(
    study: Any, trial: Any, request: TuneRequest, at: Sequence[int]
) -> Callable[[Measured], None]:
    """Passes on intermediate costs and stops a trial that is worse than most."""
    package = optuna()

    def report(point: Measured) -> None:
        trials.beat(trial)
        if len(request.aims) > 1 or any(a not in point.values for a in request.aims):
            return
        (cost,) = costs(point.values, request.aims)
        order = list(at).index(point.step) + 1
        patiently(lambda: trial.report(cost, order))
        if order < len(at) and patiently(trial.should_prune):
            raise package.TrialPruned

    return report
