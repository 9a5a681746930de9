"""The lab as a testbed: exact masses, seconds per run, and other worlds for the test.

Naturalness is the natural mass of the questions about people to forget, utility the leak mass of
people to keep (what is known about them, in any words), forgetting 1 − leak mass of the people to
forget. Validation and test are different worlds: other people, other words, other models.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbelief.beliefs.alternatives import refusals
from unbelief.errors import RequestError
from unbelief.lab.masses import MassMeter, questions
from unbelief.lab.plan import LONGEST_BELIEF
from unbelief.lab.pretrain import PretrainConfig, Role, train_or_load
from unbelief.lab.surroundings import one_thread, without_bars
from unbelief.lab.world import World, WorldConfig, make_world
from unbelief.models.load import LoadedModel, in_memory
from unbelief.objectives.methods import build_objective
from unbelief.study.spaces import Option
from unbelief.study.testbed import Case, Measured, Report, Setting, distance
from unbelief.tokens.encode import Encoder
from unbelief.train.options import TrainOptions
from unbelief.types import Record
from unbelief.unlearner import Unlearner

if TYPE_CHECKING:
    from unbelief.models.runner import AnswerModel

VALIDATION_FROM = 1000
"""Seed of the first validation world; test worlds have the seeds below it."""
RATIOS = ("0.1", "0.05", "0.2")


@dataclass(frozen=True)
class Place:
    """A world with its two models and what is measured on it."""

    world: World
    original: LoadedModel
    retrained: LoadedModel
    forget: tuple[Record, ...]
    retain: tuple[Record, ...]
    about_forget: MassMeter
    about_kept: MassMeter

    def measure(self, step: int, model: Any) -> dict[str, float]:
        """The three quantities, the target's mass and the mass of its other phrasings."""
        forget, kept = self.about_forget.measure(model), self.about_kept.measure(model)
        assert forget.natural is not None
        leak, target = float(forget.leak.mean()), float(forget.target.mean())
        return {
            "forgetting": 1 - leak,
            "naturalness": float(forget.natural.mean()),
            "utility": float(kept.leak.mean()),
            "target": target,
            "other_phrasings": leak - target,
        }


@dataclass(frozen=True, kw_only=True)
class LabTestbed:
    """Worlds of the lab.

    Attributes:
        cache: Folder of trained models, made where absent.
        steps: Optimiser steps of a run.
        pairs_per_step: Forget pairs per step; as many retain records come along.
        kept_people: People to keep on whom utility is measured.
        learning_rates: Smallest and largest in a search.
        world: What worlds are like; seed and forget share come from the case.
        pretrain: What their models are like, likewise.
        refusals: Give the models tokens for the refusals that some methods teach, and count
            refusals as natural. That makes other models: the output embedding has more rows, and
            every probability is divided among more tokens.
    """

    cache: Path
    steps: int = 40
    pairs_per_step: int = 8
    kept_people: int = 16
    learning_rates: tuple[float, float] = (1e-4, 3e-3)
    world: WorldConfig = field(default_factory=WorldConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    refusals: bool = False

    name = "lab"
    ratios = RATIOS

    def describe(self) -> dict[str, Any]:
        """World, models and training; not where the models are kept."""
        kept = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "cache"}
        kept |= {"world": asdict(self.world), "pretrain": asdict(self.pretrain)}
        if not self.refusals:  # results made before there was a choice say nothing of it
            del kept["refusals"]
        return {"testbed": self.name, **kept, "learning_rates": list(self.learning_rates)}

    def refuses(self, method: str) -> str | None:
        """Refusals are made of words no world has, unless it was given them."""
        forget = build_objective(method).forget
        if not self.refusals and getattr(forget, "alternatives", None) == "refusals":
            return "refusals are made of words that the lab's models have no tokens for"
        return None

    def fixed(self, method: str) -> dict[str, Option]:
        """Longest sampled answer, and a layer that two-layer models have."""
        forget = build_objective(method).forget
        names = {f.name for f in fields(forget)}
        found: dict[str, Option] = {}
        if "max_new_tokens" in names:
            found["max_new_tokens"] = LONGEST_BELIEF
        if "layer" in names:
            found["layer"] = max(1, self.pretrain.layers - 1)
        return found

    def references(self, case: Case) -> dict[str, Measured]:
        """Original and retrained model of the case's world."""
        return _references(self, case)

    def attempt(
        self, setting: Setting, case: Case, at: Sequence[int], report: Report
    ) -> tuple[Measured, ...]:
        """See `Testbed`."""
        objective = build_objective(
            setting.method, {**self.fixed(setting.method), **setting.objective_options}
        )
        with one_thread(), without_bars():
            place = self._place(case)
            hook = _Hook(self, place, at, report)
            unlearner = Unlearner(
                model=in_memory(
                    copy.deepcopy(place.original.model),
                    place.original.tokenizer,
                    source="lab original",
                ),
                forget=place.forget,
                retain=None if objective.retain is None else place.retain,
                objective=objective,
                train=TrainOptions(
                    learning_rate=setting.learning_rate,
                    max_steps=self.steps,
                    per_device_train_batch_size=self.pairs_per_step,
                    gradient_accumulation_steps=1,
                    seed=case.seed,
                ),
                device="cpu",
                method=setting.method,
                hooks=[hook],
                progress=False,
            )
            with suppress(_Reached):
                unlearner.fit()
        return tuple(hook.points)

    def _measured(self, place: Place, step: int, model: Any) -> Measured:
        values = place.measure(step, model)
        gaps, unscored = distance(values, _retrained(self, place))
        return Measured(step=step, values={**values, **gaps}, unscored=unscored)

    def _place(self, case: Case) -> Place:
        return _place(self, case)


class _Reached(Exception):
    """The last step at which something was to be measured is done."""


class _Hook:
    """Measures at the given steps and ends the run after the last of them."""

    every = 1

    def __init__(self, bed: LabTestbed, place: Place, at: Sequence[int], report: Report):
        self._bed, self._place, self._at, self._report = bed, place, sorted(at), report
        self.points: list[Measured] = []

    def __call__(self, step: int, model: AnswerModel) -> None:
        if step in self._at:
            point = self._bed._measured(self._place, step, model.inner)
            self.points.append(point)
            self._report(point)
        if step >= self._at[-1]:
            raise _Reached


@lru_cache(maxsize=4)
def _place(bed: LabTestbed, case: Case) -> Place:
    """The world of a case; models come from the cache or are trained."""
    if not 0 <= case.seed < VALIDATION_FROM:
        raise RequestError(
            f"seed {case.seed} is not from 0 to {VALIDATION_FROM - 1}",
            where="seed",
            remedy="seeds from there up are those of validation worlds",
        )
    seed = case.seed + (VALIDATION_FROM if case.split == "validation" else 0)
    config = replace(bed.world, seed=seed, forget_share=float(case.ratio))
    pretrain = replace(bed.pretrain, seed=seed)
    world, others = make_world(config), refusals() if bed.refusals else ()

    def model(role: Role) -> LoadedModel:
        return train_or_load(config, role, pretrain, bed.cache, others=others)

    original = model("original")
    encoder = Encoder(original.tokenizer)
    kept = world.part("retain")[: bed.kept_people]
    return Place(
        world=world,
        original=original,
        retrained=model("retrained"),
        forget=tuple(world.records("forget")),
        retain=tuple(world.drawn_records("retain", seed)),
        about_forget=MassMeter(
            questions(world, encoder, world.part("forget"), others=others), natural=True
        ),
        about_kept=MassMeter(questions(world, encoder, kept, answers="true"), natural=False),
    )


@lru_cache(maxsize=32)
def _references(bed: LabTestbed, case: Case) -> dict[str, Measured]:
    """Measured once: every run of a case is compared with the same two models."""
    with one_thread():
        place = _place(bed, case)
        models = {"original": place.original.model, "retrained": place.retrained.model}
        return {role: bed._measured(place, 0, model) for role, model in models.items()}


_RETRAINED: dict[str, dict[str, float]] = {}


def _retrained(bed: LabTestbed, place: Place) -> dict[str, float]:
    """What the retrained model of a place gives, measured once."""
    key = f"{place.world.config.digest}/{place.retrained.weights_sha256}/{bed.kept_people}"
    if key not in _RETRAINED:
        _RETRAINED[key] = place.measure(0, place.retrained.model)
    return _RETRAINED[key]
