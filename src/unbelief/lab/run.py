"""Run the lab: train, unlearn with several methods, measure along the way."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unbelief.errors import GuardError
from unbelief.lab.example import example
from unbelief.lab.intervals import cluster_means
from unbelief.lab.masses import Masses, MassMeter, questions
from unbelief.lab.plan import LabConfig, prepared_methods, record_steps
from unbelief.lab.pretrain import PretrainConfig, Role, train_or_load
from unbelief.lab.result import Curve, LabResult, MethodInfo, Point, SeedReference
from unbelief.lab.surroundings import one_thread, without_bars
from unbelief.lab.world import World, WorldConfig, make_world
from unbelief.models.load import LoadedModel, in_memory
from unbelief.objectives import Objective
from unbelief.provenance import environment, utc_now
from unbelief.tokens.encode import Encoder
from unbelief.train.options import TrainOptions
from unbelief.unlearner import Unlearner

if TYPE_CHECKING:
    from unbelief.beliefs import BeliefBank
    from unbelief.models.runner import AnswerModel

Progress = Callable[[str, float], None]
"""Called with what is being done and how much of it was just finished, in rough seconds."""


def run_lab(config: LabConfig, cache: Path, *, progress: Progress | None = None) -> LabResult:
    """Train, unlearn and measure everything a configuration asks for, on one thread.

    The tensors are so small that a second thread mostly waits for the first (measured on two busy
    cores: nine times the processor time), and one thread gives the same numbers everywhere.

    Args:
        config: What to do.
        cache: Folder of trained models, made where absent; a model that is there is not trained
            again.
        progress: Told along the way.

    Raises:
        RequestError: An unknown method; found out before anything is trained.
    """
    methods = prepared_methods(config.methods)
    tell = progress or (lambda _what, _amount: None)
    clock = _Clock()
    references: list[SeedReference] = []
    curves: list[Curve] = []
    shown: dict[str, Any] = {}
    with one_thread():
        for seed in config.seeds:
            bench = _Bench(config, seed, cache, clock, tell)
            references.append(bench.reference())
            shown = shown or bench.example()
            for info, objective in methods:
                curves += bench.unlearn(info, objective)
    env = environment()
    return LabResult(
        methods=tuple(info for info, _ in methods),
        references=tuple(references),
        curves=tuple(curves),
        config=asdict(config),
        versions={"unbelief": env.unbelief, "python": env.python, **env.packages},
        created=utc_now(),
        seconds=clock.seconds,
        example=shown,
    )


class _Clock:
    """Wall time by kind of work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def add(self, what: str, seconds: float) -> None:
        self.seconds[what] = round(self.seconds.get(what, 0.0) + seconds, 2)


class _Meters:
    """The questions of one world: about the people to forget, and about some to keep."""

    def __init__(self, world: World, encoder: Encoder, retained_people: int):
        forget, kept = world.part("forget"), world.part("retain")[:retained_people]
        self._forget = MassMeter(questions(world, encoder, forget), natural=True)
        self._retain = MassMeter(questions(world, encoder, kept, answers="true"), natural=False)

    def point(self, step: int, model: Any) -> Point:
        forget, retain = self._forget.measure(model), self._retain.measure(model)
        assert forget.natural is not None
        return Point(
            step=step,
            target=_per_person(forget.target, forget),
            leak=_per_person(forget.leak, forget),
            natural=_per_person(forget.natural, forget),
            retained=_per_person(retain.leak, retain),
        )


def _per_person(values: np.ndarray, masses: Masses) -> tuple[float, ...]:
    return tuple(float(v) for v in cluster_means(values, masses.groups))


class _Recorder:
    """A hook of the unlearner that measures at the recorded steps."""

    every = 1

    def __init__(self, meters: _Meters, steps: frozenset[int], tell: Callable[[], None]):
        self._meters, self._steps, self._tell = meters, steps, tell
        self.points: list[Point] = []

    def __call__(self, step: int, model: AnswerModel) -> None:
        if step in self._steps:
            self.points.append(self._meters.point(step, model.inner))
            self._tell()


class _Bench:
    """One seed: its world, its two models, its runs."""

    def __init__(self, config: LabConfig, seed: int, cache: Path, clock: _Clock, tell: Progress):
        self.config, self.seed, self.clock, self.tell = config, seed, clock, tell
        self.world_config = WorldConfig(**{**asdict(config.world), "seed": seed})
        self.world = make_world(self.world_config)
        self.original = self._model("original", cache)
        self.retrained = self._model("retrained", cache)
        encoder = Encoder(self.original.tokenizer)
        self.meters = _Meters(self.world, encoder, config.retained_people)
        self.forget = self.world.records("forget")
        self.retain = self.world.drawn_records("retain", seed)

    def _model(self, role: Role, cache: Path) -> LoadedModel:
        started = time.monotonic()
        model = train_or_load(
            self.world_config,
            role,
            PretrainConfig(**{**asdict(self.config.pretrain), "seed": self.seed}),
            cache,
            progress=lambda _done, total: self.tell(f"training the {role} model", 30 / total),
        )
        self.clock.add("training the models", time.monotonic() - started)
        return model

    def reference(self) -> SeedReference:
        return SeedReference(
            seed=self.seed,
            original=self.meters.point(0, self.original.model),
            retrained=self.meters.point(0, self.retrained.model),
            weights_sha256={
                "original": self.original.weights_sha256,
                "retrained": self.retrained.weights_sha256,
            },
        )

    def example(self) -> dict[str, Any]:
        models = {"original": self.original.model, "retrained": self.retrained.model}
        encoder = Encoder(self.original.tokenizer)
        return example(self.world, encoder, models, typical_of="retrained")

    def unlearn(self, info: MethodInfo, objective: Objective) -> list[Curve]:
        """Run a method at every learning rate; the beliefs are sampled once for all of them."""
        bank: BeliefBank | None = None
        curves = []
        for rate in self.config.learning_rates:
            curve, bank = self._run(info, objective, rate, bank)
            curves.append(curve)
        return curves

    def _run(
        self, info: MethodInfo, objective: Objective, rate: float, bank: BeliefBank | None
    ) -> tuple[Curve, BeliefBank | None]:
        started = time.monotonic()
        steps_per_epoch = -(-len(self.forget) // self.config.pairs_per_step)
        wanted = record_steps(max(1, round(self.config.epochs * steps_per_epoch)))
        what = f"unlearning with {info.label}"
        recorder = _Recorder(self.meters, wanted, lambda: self.tell(what, 5 / len(wanted)))
        stopped = None
        try:
            with without_bars():
                outcome = self._unlearner(info, objective, rate, bank, recorder).fit()
            bank = outcome.beliefs or bank
        except GuardError as error:
            stopped = error.message
        seconds = time.monotonic() - started
        self.clock.add("unlearning and measuring", seconds)
        return (
            Curve(
                method=info.name,
                learning_rate=rate,
                seed=self.seed,
                points=tuple(recorder.points),
                stopped=stopped,
                seconds=round(seconds, 2),
            ),
            bank,
        )

    def _unlearner(
        self,
        info: MethodInfo,
        objective: Objective,
        rate: float,
        bank: BeliefBank | None,
        recorder: _Recorder,
    ) -> Unlearner:
        fresh = in_memory(
            copy.deepcopy(self.original.model), self.original.tokenizer, source="lab original"
        )
        return Unlearner(
            model=fresh,
            forget=self.forget,
            retain=self.retain,
            objective=objective,
            train=TrainOptions(
                learning_rate=rate,
                num_train_epochs=self.config.epochs,
                per_device_train_batch_size=self.config.pairs_per_step,
                gradient_accumulation_steps=1,
                seed=self.seed,
            ),
            beliefs=bank,
            device="cpu",
            method=info.name,
            hooks=[recorder],
            progress=False,
        )
