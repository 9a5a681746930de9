"""The patch itself: choose on validation records, report and attack on the others, save."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unbelief.audit.attacks import parse_attacks
from unbelief.calibrate.card import mixture_card
from unbelief.calibrate.pair import Pair, check_output, open_pair, provenance_of, stoppable
from unbelief.calibrate.run import TRAINED_ON, mixing
from unbelief.calibrate.scoring import described, numbers, reported, steering
from unbelief.calibrate.split import Halves, read_halves
from unbelief.data.sets import check_sets
from unbelief.models.save import SavedModel, save_model
from unbelief.outputs import check_destination
from unbelief.patch.attacking import Assaulted, assault, attacks_document
from unbelief.patch.choosing import Choice, Chooser, choice_document
from unbelief.patch.criterion import QUALITY, criterion
from unbelief.patch.drift import drift, states_of
from unbelief.patch.request import PatchRequest
from unbelief.patch.units import units
from unbelief.patch.yardstick import Yardstick, read_yardstick
from unbelief.scores.base import Metric
from unbelief.scores.conventions import label
from unbelief.train.callbacks import bar
from unbelief.types import Record

SCHEMA = "unbelief/patch"
VERSION = 1
DOCUMENT = "patch.json"


@dataclass(frozen=True, kw_only=True)
class Patched:
    """What a patch made.

    Attributes:
        document: The content of `patch.json`.
        choice: The chosen parts and what they were chosen by.
        saved: The patched model's folder.
    """

    document: dict[str, Any]
    choice: Choice
    saved: SavedModel


def patch(
    request: PatchRequest,
    output: str | Path,
    *,
    overwrite: bool = False,
    progress: bool = False,
) -> Patched:
    """Put those parts of the unlearned model into the original that forget and cost little.

    1. Every part by itself: the original with this part from the unlearned model, its utility on
       retain records and its leak on forget records.
    2. Parts are ordered by the sum of their ranks (`unbelief.patch.ranking`).
    3. The first k of them are exchanged, for k = 1, 2, ...; the k with the best harmonic mean of
       the utility kept and the leak removed is taken.
    4. The result is reported and attacked on records that had no part in 1 to 3.

    Args:
        request: What to patch.
        output: Model folder that is to appear, with `patch.json`.
        overwrite: Replace one that is there.
        progress: Show a bar on stderr when that is a terminal.

    Raises:
        RequestError: Something is wrong with the request; nothing is written.
        GuardError: No choice forgets and keeps anything; nothing is written.
        Interrupted: Ctrl-C; nothing is written.

    Source: CRU (component-wise replacement unlearning), ICML 2025 workshop. No code was published;
    what is ours is said in `unbelief.patch.ranking`.
    """
    target = check_destination(output, overwrite)
    check_output(request, target)
    parse_attacks(request.attacks)
    utility = steering(request.utility, request.convention, "--utility")
    forgetting = criterion(request.forgetting, request.convention)
    forget, retain = _records(request)
    metrics = reported(request.utility, request.convention)
    if request.forgetting != QUALITY:
        metrics = {request.forgetting: forgetting.metric, **metrics}
    tests = {"retain_test": retain.test, "forget_test": forget.test}
    started = time.monotonic()
    with stoppable():
        yardstick = read_yardstick(request, forgetting, forget.search, tests, metrics)
        if yardstick is not None and request.forgetting == QUALITY:
            forgetting = replace(forgetting, retrained=yardstick.forgetting)
        pair = open_pair(request)
        candidates = units(pair.blend, request)
        # Original, unlearned, every part alone, and the sweep beyond its first point.
        with bar(1 + 2 * len(candidates), "patches", progress) as shown:
            chooser = Chooser(
                pair=pair,
                utility_name=request.utility,
                utility=utility,
                forgetting=forgetting,
                forget=forget.search,
                retain=retain.search,
                shown=shown,
            )
            choice = chooser.choose(candidates, request.top_k)
        document = {
            "schema": SCHEMA,
            "schema_version": VERSION,
            "granularity": request.granularity,
            "candidates": list(candidates),
            "utility": request.utility,
            "forgetting": request.forgetting,
            "choice": choice_document(
                choice, forgetting, request.top_k, label(utility, request.convention)
            ),
            "split": _split(forget, retain),
            "models": _report(pair, choice, tests, metrics, yardstick, request.convention),
            "columns": described(metrics, request.convention),
            "drift": _drift(pair, choice, tests, request),
            "attacks": _attacks(pair, choice, tests, request, yardstick),
            "mixing": mixing(pair),
            "notes": _notes(request, pair, choice, candidates),
            "seconds": round(time.monotonic() - started, 1),
            "provenance": _provenance(pair, request, forget, retain, yardstick),
        }
        with pair.blend.at(dict.fromkeys(choice.parts, 1.0)):
            saved = _save(pair, target, document, overwrite)
    return Patched(document=document, choice=choice, saved=saved)


def _records(request: PatchRequest) -> tuple[Halves, Halves]:
    """Forget and retain records, each split; nothing is on two sides or in both sets."""
    common: dict[str, Any] = {
        "share": request.search_share,
        "seed": request.seed,
        "columns": request.columns,
        "limit": request.limit,
    }
    forget = read_halves(request.forget, request.forget_test, name="forget", **common)
    retain = read_halves(request.retain, request.retain_test, name="retain", **common)
    check_sets((*forget.search, *forget.test), (*retain.search, *retain.test))
    return forget, retain


def _split(forget: Halves, retain: Halves) -> dict[str, Any]:
    return {
        name: {"validation": len(its.search), "test": len(its.test), "how": its.how}
        for name, its in (("forget", forget), ("retain", retain))
    }


def _report(
    pair: Pair,
    choice: Choice,
    tests: Mapping[str, tuple[Record, ...]],
    metrics: Mapping[str, Metric],
    yardstick: Yardstick | None,
    convention: str,
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, alpha in _states(choice).items():
        with pair.blend.at(alpha):
            asked = pair.statistics(tests, metrics)
        found[name] = {on: numbers(its, metrics, convention) for on, its in asked.items()}
    if yardstick is not None:
        found["retrained"] = dict(yardstick.report)
    return found


def _states(choice: Choice) -> dict[str, float | dict[str, float]]:
    return {"original": 0.0, "unlearned": 1.0, "patched": dict.fromkeys(choice.parts, 1.0)}


def _drift(
    pair: Pair, choice: Choice, tests: Mapping[str, tuple[Record, ...]], request: PatchRequest
) -> dict[str, Any]:
    """CKA of the original's hidden states with the other two models', by model and set."""
    if not request.drift_records:
        return {}
    found: dict[str, Any] = {"unlearned": {}, "patched": {}}
    for on, records in tests.items():
        some = records[: request.drift_records]
        base = states_of(pair, some)
        for name in found:
            with pair.blend.at(_states(choice)[name]):
                found[name][on] = drift(base, states_of(pair, some))
    return found


def _attacks(
    pair: Pair,
    choice: Choice,
    tests: Mapping[str, tuple[Record, ...]],
    request: PatchRequest,
    yardstick: Yardstick | None,
) -> dict[str, Any] | None:
    if not request.attacks:
        return None
    models: dict[str, Assaulted] = {}
    for name in ("patched", "unlearned"):
        with pair.blend.at(_states(choice)[name]):
            models[name] = assault(
                pair.model,
                pair.encoder,
                tests["forget_test"],
                tests["retain_test"],
                request.attacks,
                name=name,
                seed=request.seed,
            )
    if yardstick is not None and yardstick.assaulted is not None:
        models["retrained"] = yardstick.assaulted
    return attacks_document(request.attacks, models)


def _notes(
    request: PatchRequest, pair: Pair, choice: Choice, candidates: tuple[str, ...]
) -> list[str]:
    found = [TRAINED_ON]
    # TOFU's model utility is a harmonic mean over three sets; this is one metric on one.
    found.append(f"utility is {request.utility} on the retain records, forgetting by "
                 f"{request.forgetting}")  # fmt: skip
    if len(choice.parts) == len(candidates):
        found.append("all candidates were exchanged: nothing of them is the original's")
    outside = [part for part in pair.blend.changed if not part.startswith("layers.")]
    left = [part for part in outside if part not in choice.parts]
    if left:
        found.append(f"{', '.join(left)} differ and stay the original's")
    if not request.attacks:
        found.append("no attack was tried: what layers that were put back reveal is not known")
    return found


def _provenance(
    pair: Pair, request: PatchRequest, forget: Halves, retain: Halves, yardstick: Yardstick | None
) -> dict[str, Any]:
    every = [(*halves.search, *halves.test) for halves in (forget, retain)]
    found = provenance_of(pair, request, *every)
    if yardstick is not None:
        found["config"]["inputs"]["retrained"] = dict(yardstick.inputs)
    return found


def _save(pair: Pair, target: Path, document: Mapping[str, Any], overwrite: bool) -> SavedModel:
    parts = ", ".join(document["choice"]["parts"])
    facts = {
        "made by": "parts of an unlearned model in its original (component-wise replacement)",
        "from the unlearned model": parts,
        "from the original": "everything else",
    }
    card = mixture_card("Patched model", facts, document, DOCUMENT)
    return save_model(
        pair.original.model,
        pair.original.tokenizer,
        target,
        extra_files={DOCUMENT: json.dumps(document, indent=1, allow_nan=False), "README.md": card},
        overwrite=overwrite,
    )
