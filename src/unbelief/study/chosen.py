"""What a search chose, as a document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unbelief.errors import RequestError
from unbelief.provenance import environment, utc_now
from unbelief.study import trials
from unbelief.study.rules import CONTROL, CONTROL_OF, RULES, control_options, costs, weigh
from unbelief.study.spaces import described, space_of
from unbelief.study.storage import optuna, patiently
from unbelief.study.testbed import Testbed
from unbelief.study.tune import TuneRequest, study_name

SCHEMA = "unbelief/study-chosen"
VERSION = 1


def document(
    request: TuneRequest, bed: Testbed, storage: Any, unsuitable: Mapping[str, str]
) -> dict[str, Any]:
    """Everything about a search: request, what was chosen, what it cost, and what was left out.

    `unfinished` names methods whose trials other processes are still running.
    """
    found, unfinished = {}, []
    for method in (m for m in request.methods if m not in unsuitable):
        entry = _method(request, bed, storage, method)
        found[method] = entry
        if entry["trials"]["finished"] < request.trials:
            unfinished.append(method)
    if CONTROL in request.methods and (twin := found.get(CONTROL_OF, {}).get("chosen")):
        found[CONTROL] = {
            "chosen": {**twin, "options": control_options(twin["options"]), "values": {}},
            "derived_from": CONTROL_OF,
            "trials": {"finished": 0, "complete": 0, "pruned": 0, "failed": 0},
            "seconds": 0.0,
        }
    return {
        "schema": SCHEMA,
        "schema_version": VERSION,
        "created": utc_now(),
        "environment": asdict(environment()),
        "testbed": bed.describe(),
        "request": asdict(request),
        "rule": RULES[request.rule],
        "steps": bed.steps,
        "methods": found,
        "unsuitable": {m: r for m, r in unsuitable.items() if m not in found},
        "unfinished": unfinished,
    }


def _method(request: TuneRequest, bed: Testbed, storage: Any, method: str) -> dict[str, Any]:
    package = optuna()
    state = package.trial.TrialState
    name = study_name(bed, request.ratio, method)
    study = patiently(lambda: package.load_study(study_name=name, storage=storage))
    every = patiently(lambda: study.get_trials(deepcopy=False))
    # Where an earlier call had a larger budget, its first trials are those that count.
    ended = trials.finished(study)[: request.trials]
    complete = [t for t in ended if t.state == state.COMPLETE]
    chosen = None
    if complete:
        best = min(complete, key=lambda t: (weigh(t.values, request.rule), t.number))
        chosen = _trial(best, request)
    return {
        "chosen": chosen,
        "fixed": bed.fixed(method),
        "space": described(space_of(method, bed.learning_rates)),
        "trials": {
            "finished": len(ended),
            "complete": len(complete),
            "pruned": len(ended) - len(complete),
            "failed": sum(t.state == state.FAIL for t in every),
        },
        "seconds": round(sum(t.user_attrs.get("seconds", 0.0) for t in ended), 1),
        "ends": sorted({t.user_attrs.get("ended") for t in ended} - {"", None}),
        "front": [_trial(t, request) for t in study.best_trials]
        if len(request.aims) > 1 and complete
        else [],
    }


def _trial(trial: Any, request: TuneRequest) -> dict[str, Any]:
    best = trial.user_attrs["best"]
    return {
        "trial": trial.number,
        "options": dict(trial.params),
        "step": best["step"],
        "values": best["values"],
        "costs": dict(zip(request.aims, costs(best["values"], request.aims), strict=True)),
    }


def read_chosen(path: str | Path) -> dict[str, Any]:
    """Read what a search wrote.

    Raises:
        RequestError: It is not there, or something else.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        file = file / "chosen.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(
            f"{file} cannot be read: {error}",
            where="--chosen",
            remedy="name the chosen.json that `unbelief study tune` wrote",
        ) from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise RequestError(
            f"{file} is no result of a search", where="--chosen", remedy="name a chosen.json"
        )
    return content


def settings_of(content: Mapping[str, Any], methods: Sequence[str] = ()) -> dict[str, Any]:
    """Chosen options and step by method.

    Raises:
        RequestError: A method was asked for that nothing was chosen for.
    """
    known = {m: e["chosen"] for m, e in content["methods"].items() if e["chosen"]}
    for method in methods:
        if method not in known:
            why = content["unsuitable"].get(method, "it was not searched, or no trial was finished")
            raise RequestError(
                f"nothing was chosen for {method}: {why}",
                where="--methods",
                remedy=f"one of {', '.join(known)}",
            )
    return {m: known[m] for m in (methods or known)}


def check_testbed(content: Mapping[str, Any], bed: Testbed) -> None:
    """Refuse to run what was chosen elsewhere: settings of one testbed say nothing of another.

    Raises:
        RequestError: The search was made on another testbed.
    """
    there, here = (d.get("testbed") for d in (content["testbed"], bed.describe()))
    if there != here:
        raise RequestError(
            f"the settings were searched on the testbed {there!r}, and this is {here!r}",
            where="--testbed",
            remedy=f"give --testbed {there} with its data, or another --chosen",
        )


def check_runs(content: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> None:
    """Refuse to show a search beside runs of other settings.

    Raises:
        RequestError: A run under a method's own name had other options or another step.
    """
    for run in runs:
        chosen = (content["methods"].get(run["label"]) or {}).get("chosen")
        if chosen and (run["options"], run["step"]) != (chosen["options"], chosen["step"]):
            raise RequestError(
                f"the runs of {run['label']} had other settings than those that were chosen",
                where="--chosen",
                remedy="name the chosen.json they were run with, or run them again",
            )
