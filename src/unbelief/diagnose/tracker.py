"""Following the squeezing effect along an unlearning run: a hook of the unlearner."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbelief import processes
from unbelief.diagnose.candidates import CandidateSet, ProposeOptions
from unbelief.diagnose.document import squeeze_document
from unbelief.diagnose.meter import SqueezeMeter
from unbelief.diagnose.points import Point, check_steps, read_points
from unbelief.diagnose.propose import choose_records, propose_candidates
from unbelief.diagnose.responses import Response, read_responses
from unbelief.diagnose.series import Series, series_of
from unbelief.diagnose.track_text import named_options
from unbelief.errors import RequestError
from unbelief.models.runner import AnswerModel
from unbelief.outputs import atomic_write
from unbelief.report.squeeze import build_squeeze_report
from unbelief.types import Record

if TYPE_CHECKING:
    from unbelief.rundir import RunFolder
    from unbelief.train.preparation import Prepared

FOLDER = "squeeze"
CANDIDATES = "candidates.parquet"
DOCUMENT = "squeeze.json"
PAGE = "squeeze.html"
_OPTIONS = "track.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackOptions:
    """What is followed along a run.

    Attributes:
        every: Optimiser steps between measurements.
        prompts: Forget prompts, a seeded choice of them.
        per_band: Candidates of each band and prompt that are followed.
        candidates: Beams per prompt of the search.
        top_k: k of the belief mass.
        seed: Of the choice of prompts.
        reuse: A `candidates.parquet` to use instead of searching.
        responses: A JSONL file of texts to follow.

    The defaults cost little: see docs/diagnose.md.
    """

    every: int = 10
    prompts: int = 8
    per_band: int = 1
    candidates: int = 5
    top_k: int = 20
    seed: int = 0
    reuse: str | None = None
    responses: str | None = None

    def __post_init__(self) -> None:
        for name in ("every", "prompts", "per_band", "top_k"):
            if getattr(self, name) < 1:
                raise RequestError(
                    f"{name}={getattr(self, name)}", where="track", remedy="give 1 or more"
                )
        ProposeOptions(candidates=self.candidates)  # refuses too few

    @classmethod
    def parse(cls, text: str) -> TrackOptions:
        """Read `squeeze`, or such as `squeeze,every=20,prompts=16`; the rest keeps its default.

        Raises:
            RequestError: Something else, an unknown or repeated key, or a bad value.
        """
        return cls(**named_options(text, "squeeze", cls, "prompts=16"))


class SqueezeTracker:
    """Measures targets, bands and responses before the first step and every `every` steps.

    Give it to `Unlearner(hooks=[...])`. Candidates come from the model as it is before the first
    step. It draws no random numbers of the run's, so the run ends with the same weights as without
    it. Files go to `OUTPUT.run/squeeze/`: candidates, one file per point; a resumed run adds to
    them.

    Args:
        options: What to follow.

    Attributes:
        points: Measured so far.
        seconds: Wall time spent, by kind of work.
        candidates: What is followed.
    """

    def __init__(self, options: TrackOptions | None = None):
        self.options = options or TrackOptions()
        self.every = self.options.every
        self.points: dict[int, Point] = {}
        self.seconds = {"candidates": 0.0, "measuring": 0.0}
        self._folder: Path | None = None
        self._prepared: Prepared | None = None
        self.candidates: CandidateSet | None = None
        self._whole: CandidateSet | None = None
        self._asked: list[Record] = []
        self._responses: list[Response] = []
        self._meter: SqueezeMeter | None = None

    def prepare(self, prepared: Prepared, folder: RunFolder, resuming: bool) -> None:
        """Get to know the run, before anything is trained.

        Raises:
            RequestError: The run began without tracking or with other options, or candidates to
                use again do not fit.
        """
        options, place = self.options, folder.path / FOLDER
        self._prepared, self._folder = prepared, place
        self.points, self._whole, self._meter = {}, None, None
        self._asked = choose_records(prepared.forget_records, options.prompts, options.seed)
        if options.responses is not None:
            self._responses = read_responses(options.responses, prepared.forget_records)
        if resuming:
            found = processes.on_main(lambda: read_points(place))
            check_steps(found)
            self._check_options(processes.on_main((place / _OPTIONS).read_text))
            self.points = {p.step: p for p in found}
            self._take(processes.on_main(lambda: CandidateSet.read(place / CANDIDATES)))
        elif options.reuse is not None:
            reuse = options.reuse
            whole = processes.on_main(lambda: CandidateSet.read(reuse))
            whole.check(
                model_sha256=prepared.loaded.weights_sha256,
                encoder=prepared.encoder,
                encoded={e.record_id: e for e in prepared.forget},
            )
            self._take(whole)

    def __call__(self, step: int, model: AnswerModel) -> None:
        """Measure the model as it is after `step` steps."""
        if self._prepared is None or self._folder is None:
            raise RuntimeError("the tracker was not given to an Unlearner's hooks")
        if step == 0:
            self._begin(model, self._prepared, self._folder)
        assert self._meter is not None
        started = time.monotonic()
        point = Point(step=step, label=str(step), readings=self._meter.measure(model))
        self.points[step] = point
        if processes.is_main():
            point.write(self._folder)
        self.seconds["measuring"] += time.monotonic() - started

    def _begin(self, model: AnswerModel, prepared: Prepared, folder: Path) -> None:
        """Make candidates, unless some were given, and keep them for a resumed run."""
        started = time.monotonic()

        def make() -> CandidateSet:
            return propose_candidates(
                model.model,
                prepared.encoder,
                self._asked,
                ProposeOptions(candidates=self.options.candidates),
                model_sha256=prepared.loaded.weights_sha256,
            )

        whole = self._whole or processes.on_main(make)
        if processes.is_main():
            whole.write(folder / CANDIDATES)
            atomic_write(folder / _OPTIONS, json.dumps(asdict(self.options)))
        self._take(whole)
        self.seconds["candidates"] += time.monotonic() - started

    def _check_options(self, before: str) -> None:
        """Points of one run must be of the same answers."""
        then, now = json.loads(before), asdict(self.options)
        differing = [n for n in now if n not in ("every", "reuse") and then.get(n) != now[n]]
        if differing:
            raise RequestError(
                f"the run was tracked with other options so far ({', '.join(differing)})",
                where="--track",
                remedy="repeat them, or start the run anew with --restart",
            )

    def _take(self, whole: CandidateSet) -> None:
        assert self._prepared is not None
        self._whole, self.candidates = whole, whole.thinned(self.options.per_band)
        self._meter = SqueezeMeter(
            self._prepared.encoder,
            self._prepared.forget_records,
            self.candidates,
            self._responses,
            self.options.top_k,
        )

    def series(self) -> Series:
        """The curves so far.

        Raises:
            RequestError: Nothing was measured.
        """
        points = [self.points[step] for step in sorted(self.points)]
        check_steps(points)
        assert self.candidates is not None and self._prepared is not None
        groups = {r.id: r.group for r in self._prepared.forget_records}
        return series_of(points, self.candidates, groups)

    def document(self) -> dict[str, Any]:
        """What is reported about the run; see `unbelief.diagnose.document`."""
        series = self.series()
        assert self.candidates is not None
        settings = {
            name: getattr(self.options, name)
            for name in ("every", "prompts", "per_band", "top_k", "seed")
        }
        return squeeze_document(
            series,
            self.candidates,
            kind="run",
            settings=settings,
            seconds={name: round(value, 2) for name, value in self.seconds.items()},
        )

    def write(self) -> tuple[Path, dict[str, Any]]:
        """Write `squeeze.json` and `squeeze.html` beside the points, once the run is over.

        Returns:
            The folder and the document.

        Raises:
            RequestError: Nothing was measured.
        """
        document = self.document()
        assert self._folder is not None
        atomic_write(self._folder / DOCUMENT, json.dumps(document, allow_nan=False) + "\n")
        atomic_write(self._folder / PAGE, build_squeeze_report(document))
        return self._folder, document
