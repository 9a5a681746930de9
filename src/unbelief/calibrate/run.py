"""The calibration itself: search on the search items, report on the others, save the mixture."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbelief.calibrate.card import mixture_card
from unbelief.calibrate.pair import Pair, check_output, open_pair, provenance_of, stoppable
from unbelief.calibrate.request import CalibrateRequest
from unbelief.calibrate.scoring import (
    described,
    number,
    numbers,
    ratio,
    reported,
    steering,
    teacher_forced,
    value_of,
)
from unbelief.calibrate.search import Search, find_alpha
from unbelief.calibrate.split import Halves, read_halves
from unbelief.data import read_records
from unbelief.data.sets import check_sets
from unbelief.errors import GuardError, RequestError
from unbelief.models.save import SavedModel, save_model
from unbelief.outputs import check_destination
from unbelief.scores.base import Metric, Statistic
from unbelief.scores.conventions import label
from unbelief.train.callbacks import bar
from unbelief.types import Record

SCHEMA = "unbelief/calibration"
VERSION = 1
DOCUMENT = "calibration.json"
TRAINED_ON = (
    "retain items that the unlearning was trained on look better kept than others; whether the "
    "search items were among them is not known here"
)


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What a calibration made.

    Attributes:
        document: The content of `calibration.json`.
        search: α* and the curve.
        saved: The mixed model's folder.
    """

    document: dict[str, Any]
    search: Search
    saved: SavedModel


def calibrate(
    request: CalibrateRequest,
    output: str | Path,
    *,
    overwrite: bool = False,
    progress: bool = False,
) -> Calibrated:
    r"""Find the largest α that keeps enough, and write the model θ(α*).

    .. math:: \theta(\alpha) = (1 - \alpha)\,\theta_o + \alpha\,\theta_u, \quad
              \alpha^* = \max\{\alpha : M_{retain}(\theta(\alpha)) \ge \tau\, M_{retain}(\theta_o)\}

    The forget records and the retain test records are asked only afterwards, of the original, the
    unlearned model and θ(α*).

    Args:
        request: What to calibrate.
        output: Model folder that is to appear, with `calibration.json`.
        overwrite: Replace one that is there.
        progress: Show a bar on stderr when that is a terminal.

    Raises:
        RequestError: Something is wrong with the request; nothing is written.
        GuardError: Only the original itself keeps enough; nothing is written.
        Interrupted: Ctrl-C; nothing is written.

    Source: Wang et al. 2025 (UWC), see `unbelief.calibrate.search`.
    """
    target = check_destination(output, overwrite)
    check_output(request, target)
    score = steering(request.score, request.convention, "--score")
    forget = tuple(read_records(request.forget, columns=request.columns or None))[: request.limit]
    retain = read_retain(request)
    check_sets(forget, (*retain.search, *retain.test))
    started = time.monotonic()
    with stoppable():
        pair = open_pair(request)
        with bar(round(1 / request.grid) + 1, "mixtures", progress) as shown:
            search, curve = _search(pair, request, score, retain, shown)
        if search.alpha == 0:
            least = min(t.alpha for t in search.curve if t.alpha > 0)
            raise GuardError(
                f"no mixture keeps {request.keep:g} of the original's {request.score}: even "
                f"alpha={least:g} falls below it, and alpha=0 is the original itself",
                remedy="lower --keep, narrow --width, or unlearn again and more gently",
            )
        document = {
            "schema": SCHEMA,
            "schema_version": VERSION,
            **_found(request, score, search, curve, retain),
            **_report(pair, request, search, forget, retain),
            "mixing": mixing(pair),
            "notes": notes(request, pair, score, search),
            "seconds": round(time.monotonic() - started, 1),
            "provenance": provenance_of(pair, request, forget, (*retain.search, *retain.test)),
        }
        with pair.blend.at(search.alpha):
            saved = _save(pair, target, document, overwrite)
    return Calibrated(document=document, search=search, saved=saved)


def read_retain(request: CalibrateRequest) -> Halves:
    """Retain records, those for the search and those for the report apart."""
    return read_halves(
        request.retain,
        request.retain_test,
        name="retain",
        share=request.search_share,
        seed=request.seed,
        columns=request.columns,
        limit=request.limit,
    )


def _search(
    pair: Pair, request: CalibrateRequest, score: Metric, retain: Halves, shown: Any
) -> tuple[Search, Mapping[float, Statistic]]:
    curve: dict[float, Statistic] = {}

    def retained(alpha: float) -> float:
        pair.blend.set(alpha)
        found = pair.statistics({"retain_search": retain.search}, {request.score: score})
        curve[alpha] = found["retain_search"][request.score]
        shown.update(1)
        return value_of(curve[alpha], f"{request.score} on the search items")

    try:
        search = find_alpha(retained, keep=request.keep, grid=request.grid, width=request.width)
    except ValueError as error:
        raise RequestError(
            f"{request.score} on the search items: {error}",
            where="--score",
            remedy="is --original the model that knows the retain records? or choose another score",
        ) from None
    finally:
        pair.blend.restore()
    return search, curve


def _found(
    request: CalibrateRequest,
    score: Metric,
    search: Search,
    curve: Mapping[float, Statistic],
    retain: Halves,
) -> dict[str, Any]:
    named = label(score, request.convention)
    return {
        "alpha": search.alpha,
        "of": "theta(alpha) = (1 - alpha) original + alpha unlearned",
        "score": request.score,
        "keep": request.keep,
        "bar": search.bar,
        "kept": number(ratio(curve[search.alpha], curve[0.0]), named),
        "binding": search.binding,
        "monotone": search.monotone,
        "first_infeasible": search.first_infeasible,
        "largest_rise": search.largest_rise,
        "curve": [
            {
                "alpha": tried.alpha,
                "stage": tried.stage,
                "feasible": tried.feasible,
                "score": number(curve[tried.alpha], named),
                "ratio": number(ratio(curve[tried.alpha], curve[0.0]), named),
            }
            for tried in search.curve
        ],
        "split": {
            "retain_search": len(retain.search),
            "retain_test": len(retain.test),
            "how": retain.how,
        },
    }


def _report(
    pair: Pair,
    request: CalibrateRequest,
    search: Search,
    forget: tuple[Record, ...],
    retain: Halves,
) -> dict[str, Any]:
    """The three models on items that were not searched on."""
    metrics = reported(request.score, request.convention)
    sets = {"forget": forget, "retain_test": retain.test}
    found: dict[str, dict[str, dict[str, Statistic]]] = {}
    for name, alpha in (("original", 0.0), ("unlearned", 1.0), ("calibrated", search.alpha)):
        with pair.blend.at(alpha):
            found[name] = pair.statistics(sets, metrics)
    base = found["original"]["retain_test"][request.score]
    kept = {n: ratio(its["retain_test"][request.score], base) for n, its in found.items()}
    return {
        "models": {
            name: {
                on: numbers(statistics, metrics, request.convention)
                for on, statistics in its.items()
            }
            for name, its in found.items()
        },
        "kept_on_test": {
            name: number(one, label(metrics[request.score], request.convention))
            for name, one in kept.items()
        },
        "columns": described(metrics, request.convention),
    }


def mixing(pair: Pair) -> dict[str, Any]:
    """What was mixed, and how."""
    return {
        "how": pair.blend.how,
        "dtype": pair.original.dtype,
        "parameters_that_differ": sum(pair.blend.changed.values()),
        "parts_that_differ": dict(pair.blend.changed),
    }


def notes(request: CalibrateRequest, pair: Pair, score: Metric, search: Search) -> list[str]:
    """What a reader has to know."""
    found = [TRAINED_ON]
    if not search.binding:
        found.append("not binding: the unlearned model itself keeps enough, so alpha is 1")
    if not search.monotone:
        found.append(
            f"not monotone: alpha={search.first_infeasible:g} keeps too little and a larger one "
            "enough; the largest feasible alpha was taken, not the end of the first feasible part"
        )
    if pair.original.dtype in ("bfloat16", "float16"):
        found.append(
            f"weights are {pair.original.dtype}: small steps of alpha vanish by rounding; "
            "--dtype float32 keeps them"
        )
    if not teacher_forced(score):
        found.append(f"{score.name} reads the model's own answers, which were generated anew")
    return found


def _save(pair: Pair, target: Path, document: Mapping[str, Any], overwrite: bool) -> SavedModel:
    text = json.dumps(document, indent=1, allow_nan=False)
    facts = {
        "made by": "mixing of an original and an unlearned model (UWC calibration)",
        "alpha (0: original, 1: unlearned)": f"{document['alpha']:g}",
        "chosen to keep": f"{document['keep']:g} of the original's {document['score']}",
    }
    card = mixture_card("Calibrated model", facts, document, DOCUMENT)
    return save_model(
        pair.original.model,
        pair.original.tokenizer,
        target,
        extra_files={DOCUMENT: text, "README.md": card},
        overwrite=overwrite,
    )
