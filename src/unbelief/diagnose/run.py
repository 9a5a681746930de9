"""`unbelief diagnose squeeze`: the bands of one set of prompts over several models, resumable."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbelief.data import read_records
from unbelief.diagnose.candidates import CandidateSet
from unbelief.diagnose.checkpoints import Checkpoints, check_vocabulary
from unbelief.diagnose.document import squeeze_document
from unbelief.diagnose.meter import SqueezeMeter
from unbelief.diagnose.points import Point, point_file
from unbelief.diagnose.propose import choose_records, propose_candidates
from unbelief.diagnose.request import SqueezeRequest, is_adapter, labelled
from unbelief.diagnose.responses import Response, read_responses
from unbelief.diagnose.series import series_of
from unbelief.diagnose.tracker import CANDIDATES, DOCUMENT, PAGE
from unbelief.diagnose.workplace import working_folder
from unbelief.models.load import LoadedModel
from unbelief.models.runner import AnswerModel
from unbelief.models.source import local_folder
from unbelief.outputs import atomic_folder, atomic_write, check_destination
from unbelief.provenance import weights_sha256
from unbelief.report.squeeze import build_squeeze_report
from unbelief.tokens.encode import Encoder
from unbelief.train.callbacks import bar
from unbelief.train.preparation import context_length
from unbelief.types import Record


@dataclass(frozen=True)
class SqueezeResult:
    """What was made: the folder, and the content of its `squeeze.json`."""

    output: Path
    document: dict[str, Any]


def run_squeeze(
    request: SqueezeRequest,
    output: str | Path,
    *,
    overwrite: bool = False,
    restart: bool = False,
    progress: bool = True,
) -> SqueezeResult:
    """Compare models with the original one on the same targets and candidates.

    Args:
        request: What and how.
        output: Folder that is to appear, whole or not at all: `squeeze.json`, `squeeze.html`,
            `candidates.parquet` and a file per model.
        overwrite: Replace an existing folder.
        restart: Throw away what an interrupted run left instead of going on with it.
        progress: Show bars on stderr when that is a terminal.

    Raises:
        RequestError: The request is wrong; nothing was written.
        Interrupted: Ctrl-C; the same call goes on.
    """
    destination = check_destination(output, overwrite)
    models = labelled(request.models)
    records = list(read_records(request.forget, columns=request.columns))
    responses = [] if request.responses is None else read_responses(request.responses, records)
    chosen = choose_records(records, request.prompts, request.seed)
    with working_folder(destination, request.settings(), responses, restart) as folder:
        job = _Job(request, models, records, chosen, responses, folder, progress)
        document = job.run()
        with atomic_folder(destination, overwrite) as finished:
            for file in (CANDIDATES, *(f.name for f in folder.glob("point-*.parquet"))):
                shutil.copy2(folder / file, finished / file)
            atomic_write(finished / DOCUMENT, json.dumps(document, allow_nan=False) + "\n")
            atomic_write(finished / PAGE, build_squeeze_report(document))
        shutil.rmtree(folder)
    return SqueezeResult(destination, document)


@dataclass(frozen=True)
class _Job:
    """One run over the models."""

    request: SqueezeRequest
    models: list[tuple[str, str]]
    records: list[Record]
    chosen: list[Record]
    responses: list[Response]
    folder: Path
    progress: bool

    def run(self) -> dict[str, Any]:
        request = self.request
        checkpoints = Checkpoints(
            dtype=request.dtype, device=request.device, trust_remote_code=request.trust_remote_code
        )
        seconds = {"candidates": 0.0, "measuring": 0.0}
        started = time.monotonic()
        original, model, digest = checkpoints.open(request.original)
        encoder = Encoder(
            original.tokenizer,
            template=request.template,
            system_prompt=request.system_prompt,
            end_token=request.end_token,
            max_length=context_length(original.model),
        )
        whole = self._candidates(model, encoder, digest)
        candidates = whole if request.per_band is None else whole.thinned(request.per_band)
        meter = SqueezeMeter(encoder, self.records, candidates, self.responses, request.top_k)
        seconds["candidates"] = time.monotonic() - started
        points = [self._point(0, "original", digest, meter, lambda: model)]
        with bar(len(self.models), "models", self.progress) as shown:
            for step, (label, source) in enumerate(self.models, start=1):
                points.append(self._model(step, label, source, checkpoints, original, meter))
                shown.update(1)
        seconds["measuring"] = time.monotonic() - started - seconds["candidates"]
        groups = {r.id: r.group for r in self.records}
        return squeeze_document(
            series_of(points, candidates, groups),
            candidates,
            kind="models",
            settings={**request.settings(), "models": [label for label, _ in self.models]},
            weights=[p.weights_sha256 for p in points],
            seconds={name: round(value, 2) for name, value in seconds.items()},
        )

    def _candidates(self, model: AnswerModel, encoder: Encoder, digest: str) -> CandidateSet:
        """What an earlier start made, what was named, or new ones."""
        own, given = self.folder / CANDIDATES, self.request.candidates
        encoded = {r.id: encoder.encode(r) for r in self.records if r.prompt is not None}
        if own.exists() or given is not None:
            whole = CandidateSet.read(own if own.exists() else str(given))
            whole.check(model_sha256=digest, encoder=encoder, encoded=encoded)
        else:
            whole = propose_candidates(
                model.model,
                encoder,
                self.chosen,
                self.request.propose,
                model_sha256=digest,
                progress=self.progress,
            )
        if not own.exists():
            whole.write(own)
        return whole

    def _model(
        self,
        step: int,
        label: str,
        source: str,
        checkpoints: Checkpoints,
        original: LoadedModel,
        meter: SqueezeMeter,
    ) -> Point:
        folder = local_folder(source)
        digest = None if folder is None or is_adapter(folder) else weights_sha256(folder)

        def open_it() -> AnswerModel:
            nonlocal digest
            loaded, model, digest = checkpoints.open(source)
            check_vocabulary(original, source, loaded)
            return model

        if digest is None:  # a hub id or an adapter: its digest is known once it is there
            model = open_it()
            return self._point(step, label, digest, meter, lambda: model)
        return self._point(step, label, digest, meter, open_it)

    def _point(
        self, step: int, label: str, digest: str | None, meter: SqueezeMeter, model: Any
    ) -> Point:
        """What an earlier start measured of the same weights, or a new measurement."""
        file = point_file(self.folder, step)
        if file.exists():
            before = Point.read(file)
            same = before.label == label and before.weights_sha256 == digest
            if same and len(before.readings) == meter.rows:
                return before
        point = Point(
            step=step, label=label, readings=meter.measure(model()), weights_sha256=digest
        )
        point.write(self.folder)
        return point
