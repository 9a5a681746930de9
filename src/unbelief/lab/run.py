"""Run the lab: train, unlearn with several methods, measure along the way."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unbelief.errors import GuardError, RequestError
from unbelief.lab.example import example
from unbelief.lab.intervals import cluster_means
from unbelief.lab.masses import Masses, MassMeter, questions
from unbelief.lab.pretrain import PretrainConfig, Role, train_or_load
from unbelief.lab.result import Curve, Family, LabResult, MethodInfo, Point, SeedReference
from unbelief.lab.world import World, WorldConfig, make_world
from unbelief.models.load import LoadedModel, in_memory
from unbelief.objectives import BSS, Objective, build_objective
from unbelief.objectives.base import describe
from unbelief.provenance import environment, utc_now
from unbelief.tokens.encode import Encoder
from unbelief.train.options import TrainOptions
from unbelief.unlearner import Unlearner

if TYPE_CHECKING:
    from unbelief.beliefs import BeliefBank
    from unbelief.models.runner import AnswerModel

METHODS = ("graddiff", "npo", "wga", "bs-t", "bs-s", "graddiff-control")
LABELS = {
    "graddiff": "GA",
    "npo": "NPO",
    "wga": "WGA",
    "bs-t": "BS-T",
    "bs-s": "BS-S",
    "graddiff-control": "0.8·GA",
    "simnpo": "SimNPO",
    "tnpo": "TNPO",
    "wtnpo": "WTNPO",
    "bs-s-on-policy": "BS-S (on-policy)",
}
LONGEST_BELIEF = 24
"""Tokens; the longest grammatical answer of a world has 8."""
Progress = Callable[[str, float], None]
"""Called with what is being done and how much of it was just finished, in rough seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabConfig:
    """A lab run. Every method gets the same learning rates, steps, records and measurements.

    Attributes:
        methods: Names as in `unbelief methods`; each is combined with the NLL retain term.
        learning_rates: Peak learning rates to try.
        epochs: Passes over the forget records.
        pairs_per_step: Forget pairs per optimiser step; as many retain records come along.
        retained_people: Number of people to keep on whom the retained mass is measured.
        seeds: One world, pair of models and order of data for each.
        world: The world; its seed is replaced by each of `seeds`.
        pretrain: The models; likewise.
    """

    methods: tuple[str, ...] = METHODS
    learning_rates: tuple[float, ...] = (4e-4, 8e-4, 1.6e-3)
    epochs: float = 10.0
    pairs_per_step: int = 8
    retained_people: int = 24
    seeds: tuple[int, ...] = (0,)
    world: WorldConfig = field(default_factory=WorldConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)

    def __post_init__(self) -> None:
        for name in ("methods", "learning_rates", "seeds"):
            given = getattr(self, name)
            if not given or len(set(given)) != len(given):
                raise RequestError(
                    f"{name} must be named, each once: {list(given)}",
                    where=name,
                    remedy="leave out what is there twice",
                )
        if min(self.seeds) < 0:
            raise RequestError(
                "a seed is negative", where="seeds", remedy="choose seeds from 0 upwards"
            )


def run_lab(config: LabConfig, cache: Path, *, progress: Progress | None = None) -> LabResult:
    """Train, unlearn and measure everything a configuration asks for.

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


def prepared_methods(names: Sequence[str]) -> list[tuple[MethodInfo, Objective]]:
    """Objectives of methods, each with the NLL retain term that all of a comparison share.

    Raises:
        RequestError: There is no such method.
    """
    return [_method(name) for name in names]


def record_steps(total: int) -> frozenset[int]:
    """Steps at which the masses are measured: all of the first quarter, then fewer and fewer.

    The target falls early; what comes after is slow.
    """
    early = range(max(total // 4, min(total, 8)) + 1)
    middle = range(0, total // 2 + 1, 2)
    late = range(0, total + 1, 5)
    return frozenset({*early, *middle, *late, total})


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
        return example(self.world, Encoder(self.original.tokenizer), models)

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
            with _without_bars():
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


@contextmanager
def _without_bars() -> Iterator[None]:
    """Transformers shows a bar for every file it writes; a lab run has many small ones."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _method(name: str) -> tuple[MethodInfo, Objective]:
    """Build a method with the NLL retain term, which all methods of a comparison share."""
    objective = build_objective(name, {"retain": "nll"})
    if isinstance(objective.forget, BSS):
        objective = build_objective(name, {"retain": "nll", "max_new_tokens": LONGEST_BELIEF})
    family: Family = "baseline"
    if name.startswith(("bs-s", "bs-t")):
        family = "belief"
    elif name == "graddiff-control":
        family = "control"
    info = MethodInfo(
        name=name,
        label=LABELS.get(name, name),
        family=family,
        objective={
            "forget": describe(objective.forget),
            "retain": describe(objective.retain),
            "forget_weight": objective.forget_weight,
            "retain_weight": objective.retain_weight,
            "reduction": objective.reduction,
        },
    )
    return info, objective


def work_in_seconds(config: LabConfig) -> float:
    """Return the amount `progress` will be told in all, in rough seconds."""
    runs = len(config.methods) * len(config.learning_rates)
    return len(config.seeds) * (60.0 + 5.0 * runs)
