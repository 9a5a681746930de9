"""Gradient effects along an unlearning run: a hook of the unlearner."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbelief import processes
from unbelief.diagnose.effect_document import EffectPoint, effect_document, plain_point
from unbelief.diagnose.effect_meter import EffectMeter
from unbelief.diagnose.effect_rows import Sides
from unbelief.diagnose.effect_run import chosen_positions, thinned, write_effects
from unbelief.diagnose.track_text import named_options
from unbelief.errors import RequestError
from unbelief.models.runner import AnswerModel
from unbelief.objectives import Objective
from unbelief.outputs import atomic_write

if TYPE_CHECKING:
    from unbelief.rundir import RunFolder
    from unbelief.train.preparation import Prepared

FOLDER = "g-effect"
_OPTIONS = "track.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectTrackOptions:
    """What is measured along a run.

    Attributes:
        every: Optimiser steps between measurements.
        forget: Forget records that are looked at, a seeded choice; 0 for all.
        retain: Retain records likewise.
        points: Of the forget records, those whose own effects are measured too.
        seed: Of the choice.
    """

    every: int = 10
    forget: int = 64
    retain: int = 64
    points: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("every", "forget", "retain", "points"):
            least = 1 if name == "every" else 0
            if getattr(self, name) < least:
                raise RequestError(
                    f"{name}={getattr(self, name)}", where="track", remedy=f"give {least} or more"
                )

    @classmethod
    def parse(cls, text: str) -> EffectTrackOptions:
        """Read `g-effect`, or such as `g-effect,every=20,points=8`.

        Raises:
            RequestError: Something else, an unknown or repeated key, or a bad value.
        """
        return cls(**named_options(text, "g-effect", cls, "points=8"))


class EffectTracker:
    """Measures effects before the first step and every `every` steps.

    Give it to `Unlearner(hooks=[...])` with the objective that trains, or with another one. The
    run ends with the same weights as without it. Files go to `OUTPUT.run/g-effect/`, one per
    measurement; a resumed run adds to them.

    Args:
        objective: Whose terms are looked at.
        options: What is measured.

    Attributes:
        points: Plain data of each measurement, by step.
    """

    def __init__(self, objective: Objective, options: EffectTrackOptions | None = None):
        self.objective, self.options = objective, options or EffectTrackOptions()
        self.every = self.options.every
        self.points: dict[int, dict[str, Any]] = {}
        self._folder: Path | None = None
        self._sides: Sides | None = None
        self._meter: EffectMeter | None = None
        self._seconds = 0.0

    def prepare(self, prepared: Prepared, folder: RunFolder, resuming: bool) -> None:
        """Get to know the run while its model is still the original.

        Raises:
            RequestError: Several processes, no retain records, or the run began without these
                measurements or with other options.
        """
        if processes.world()[1] > 1:
            raise RequestError(
                "gradient effects need whole gradients on one process",
                where="track",
                remedy="start one process, or look at saved models: `unbelief diagnose g-effect`",
            )
        options, place = self.options, folder.path / FOLDER
        self._folder, self.points, self._seconds = place, {}, 0.0
        forget = thinned(prepared.forget_records, options.forget, options.seed)
        retain = thinned(prepared.retain_records, options.retain, options.seed)
        self._sides = Sides.of(
            prepared.model, prepared.encoder, self.objective, forget, retain, seed=options.seed
        )
        chosen = chosen_positions(forget, options.points, options.seed)
        self._meter = EffectMeter(self._sides, chosen)
        if resuming:
            self._check_options(place / _OPTIONS)
            for file in sorted(place.glob("point-*.json")):
                point = json.loads(file.read_text(encoding="utf-8"))
                self.points[point["step"]] = point

    def __call__(self, step: int, model: AnswerModel) -> None:
        """Measure the model as it is after `step` steps."""
        if self._meter is None or self._sides is None or self._folder is None:
            raise RuntimeError("the tracker was not given to an Unlearner's hooks")
        started = time.monotonic()
        if step == 0:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            atomic_write(self._folder / _OPTIONS, json.dumps(asdict(self.options)))
        point = EffectPoint(step, str(step), self._meter.measure(model))
        self.points[step] = plain_point(point, self._sides)
        text = json.dumps(self.points[step])
        atomic_write(self._folder / f"point-{step:06d}.json", text)
        self._seconds += time.monotonic() - started

    def _check_options(self, file: Path) -> None:
        then = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        now = asdict(self.options)
        if then is None or any(then.get(n) != now[n] for n in now if n != "every"):
            raise RequestError(
                "the run was tracked with other options so far, or not at all",
                where="--track",
                remedy="repeat them, or start the run anew with --restart",
            )

    def document(self) -> dict[str, Any]:
        """What is reported about the run; see `unbelief.diagnose.effect_document`.

        Raises:
            RequestError: Nothing was measured.
        """
        if self._sides is None or not self.points:
            raise RequestError("nothing was measured", where="track", remedy="run the unlearner")
        return effect_document(
            [self.points[step] for step in sorted(self.points)],
            self._sides,
            kind="run",
            estimator="exact",
            settings=asdict(self.options),
            seconds=self._seconds,
        )

    def write(self) -> tuple[Path, dict[str, Any]]:
        """Write `g_effect.json` and `g_effect.html` beside the points, once the run is over.

        Returns:
            The folder and the document.

        Raises:
            RequestError: Nothing was measured.
        """
        document = self.document()
        assert self._folder is not None
        write_effects(self._folder, document)
        return self._folder, document
