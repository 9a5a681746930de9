"""`unbelief diagnose g-effect`: gradient effects at one or several saved models."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbelief.data import read_records
from unbelief.diagnose.checkpoints import Checkpoints, check_vocabulary
from unbelief.diagnose.effect_document import EffectPoint, effect_document, plain_point
from unbelief.diagnose.effect_meter import EffectMeter
from unbelief.diagnose.effect_request import EffectRequest
from unbelief.diagnose.effect_rows import Sides
from unbelief.diagnose.request import labelled
from unbelief.errors import RequestError
from unbelief.models.load import LoadedModel
from unbelief.models.runner import AnswerModel
from unbelief.outputs import atomic_folder, atomic_write, check_destination
from unbelief.report.g_effect import build_effect_report
from unbelief.tokens.encode import Encoder
from unbelief.train.callbacks import bar
from unbelief.train.preparation import context_length
from unbelief.types import Record

DOCUMENT = "g_effect.json"
PAGE = "g_effect.html"


@dataclass(frozen=True)
class EffectResult:
    """What was made: the folder, and the content of its `g_effect.json`."""

    output: Path
    document: dict[str, Any]


def run_g_effect(
    request: EffectRequest, output: str | Path, *, overwrite: bool = False, progress: bool = True
) -> EffectResult:
    """Measure what a step on an objective does to the forget and the retain risk.

    Args:
        request: Models, data and objective.
        output: Folder that is to appear, whole or not at all: `g_effect.json`, `g_effect.html`.
        overwrite: Replace an existing folder.
        progress: Show a bar on stderr when that is a terminal.

    Raises:
        RequestError: The request is wrong; nothing was written.
    """
    destination = check_destination(output, overwrite)
    models = labelled(request.models)
    if request.original is not None:
        models = [("original", request.original), *models]
    forget = list(read_records(request.forget, columns=request.columns))
    retain = list(read_records(request.retain, columns=request.columns))
    forget = thinned(forget, request.max_forget, request.seed)
    retain = thinned(retain, request.max_retain, request.seed)
    document = _measured(request, models, forget, retain, progress)
    with atomic_folder(destination, overwrite) as folder:
        write_effects(folder, document)
    return EffectResult(destination, document)


def write_effects(folder: Path, document: dict[str, Any]) -> None:
    """Put `g_effect.json` and its page into a folder."""
    atomic_write(folder / DOCUMENT, json.dumps(document, allow_nan=False) + "\n")
    atomic_write(folder / PAGE, build_effect_report(document))


def chosen_positions(records: Sequence[Record], n: int, seed: int) -> list[int]:
    """A seeded choice of records, by position, whatever order they come in; all if there are fewer.

    The positions are in the records' order.
    """

    def draw(position: int) -> bytes:
        name = f"{seed}\0{records[position].id}".encode()
        return hashlib.blake2b(name, digest_size=16).digest()

    return sorted(sorted(range(len(records)), key=draw)[:n])


def thinned(records: Sequence[Record], most: int, seed: int) -> list[Record]:
    """A seeded choice of records; all of them at 0."""
    return [records[i] for i in chosen_positions(records, most or len(records), seed)]


def _measured(
    request: EffectRequest,
    models: list[tuple[str, str]],
    forget: list[Record],
    retain: list[Record],
    progress: bool,
) -> dict[str, Any]:
    started = time.monotonic()
    checkpoints = Checkpoints(device=request.device, trust_remote_code=request.trust_remote_code)
    first, model, digest = _open(checkpoints, models[0][1])
    encoder = Encoder(
        first.tokenizer,
        template=request.template,
        system_prompt=request.system_prompt,
        end_token=request.end_token,
        max_length=context_length(first.model),
    )
    sides = Sides.of(
        model,
        encoder,
        request.objective,
        forget,
        retain,
        seed=request.seed,
        rows_per_forward=request.rows_per_forward,
    )
    chosen = chosen_positions(forget, request.points, request.seed)
    meter = EffectMeter(sides, chosen, request.estimator, request.batch)
    points = []
    with bar(len(models), "models", progress) as shown:
        for step, (label, source) in enumerate(models):
            if step:
                loaded, model, digest = _open(checkpoints, source)
                check_vocabulary(first, source, loaded)
            point = EffectPoint(step, label, meter.measure(model), digest)
            points.append(plain_point(point, sides))
            shown.update(1)
    return effect_document(
        points,
        sides,
        kind="models",
        estimator=request.estimator,
        settings=request.settings(),
        seconds=time.monotonic() - started,
    )


def _open(checkpoints: Checkpoints, source: str) -> tuple[LoadedModel, AnswerModel, str]:
    loaded, model, digest = checkpoints.open(source)
    if loaded.is_adapter:
        raise RequestError(
            f"{source} is an adapter, and effects are of a model's own weights",
            where="model",
            remedy="merge it into its base model first",
        )
    model.inner.requires_grad_(True)
    return loaded, model, digest
