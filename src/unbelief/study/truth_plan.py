"""Which models the study of metrics makes: methods x strengths x lengths x worlds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from unbelief.errors import RequestError
from unbelief.lab.pretrain import PretrainConfig
from unbelief.lab.world import WorldConfig
from unbelief.study.truth_lines import LONGEST

IMITATION = "imitation"
"""A positive control, no method: the original is taught what the retrained model says. It needs
that model, and it is there because hardly any method of the field really forgets in the lab."""
METHODS = (
    "ga", "graddiff", "npo", "simnpo", "tnpo", "wga", "wtnpo", "satimp", "bs-t", "bs-s",
    "undial", "ce-u", "pdu", "rmu", IMITATION,
)  # fmt: skip
"""Not here: methods that teach refusals or made-up answers (`po`, `idk-dpo`, `flat`, `altpo`), for
which the lab's models have no words, and those that in the lab give the same models as another
one here (`graddiff-control` as `bs-t`, `npow` and `bs-tw` as `npo`)."""
_OPTIONS: Mapping[str, Mapping[str, str | int]] = MappingProxyType(
    {
        "ga": {},
        "bs-s": {"retain": "nll", "max_new_tokens": LONGEST},
        "rmu": {"layer": 0},
    }
)
SMALL_WORLD = WorldConfig(attributes=2, values=8, forget_share=0.15)
SMALL_MODEL = PretrainConfig(hidden=64, steps=600, learning_rate=5e-3)
IMITATION_FACTOR = 4
"""Steps and rates of the imitation relative to those of the methods: it has more to learn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthConfig:
    """What decides every number of the study.

    Attributes:
        methods: Names as in `unbelief methods`, or `imitation`.
        learning_rates: Strengths, peak rates of a schedule that falls linearly.
        epochs: Passes over the forget records of a run.
        checkpoints: Where along a run a model is taken, as shares of its steps.
        seeds: One world, pair of models and order of data each.
        pairs_per_step: Forget pairs per optimiser step; as many retain records come along.
        retained_people: People to keep on whom the retained mass and the kept metrics are read.
        samples: Sampled answers per forget prompt.
        world: The world; its seed is replaced by each of `seeds`.
        pretrain: The models; likewise.
    """

    methods: tuple[str, ...] = METHODS
    learning_rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    epochs: float = 10.0
    checkpoints: tuple[float, ...] = (0.2, 0.5, 1.0)
    seeds: tuple[int, ...] = (0, 1)
    pairs_per_step: int = 8
    retained_people: int = 20
    samples: int = 8
    world: WorldConfig = field(default_factory=lambda: SMALL_WORLD)
    pretrain: PretrainConfig = field(default_factory=lambda: SMALL_MODEL)

    def __post_init__(self) -> None:
        for name in ("methods", "learning_rates", "checkpoints", "seeds"):
            given = getattr(self, name)
            if not given or len(set(given)) != len(given):
                raise RequestError(
                    f"{name} must be named, each once: {list(given)}",
                    where=name,
                    remedy="leave out what is there twice",
                )
        if not all(0 < share <= 1 for share in self.checkpoints):
            raise RequestError(
                f"checkpoints are shares of a run, not {list(self.checkpoints)}",
                where="checkpoints",
                remedy="choose numbers above 0 and at most 1",
            )
        if not all(0 < rate < float("inf") for rate in self.learning_rates) or self.epochs <= 0:
            raise RequestError("learning rates and epochs must be above 0", where="learning_rates")
        if min(self.seeds) < 0 or self.samples < 1 or self.retained_people < 1:
            raise RequestError(
                "seeds start at 0, samples and retained people at 1", where="seeds, samples"
            )

    @property
    def digest(self) -> str:
        """Names everything that decides the rows: rows of another configuration do not belong."""
        plain = {**asdict(self), "recipe": 1}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]

    def plain(self) -> dict[str, Any]:
        """The configuration as JSON has it."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training run, of which a model is taken at each checkpoint.

    Attributes:
        seed: Of the world.
        method: Its name.
        learning_rate: Its peak rate.
        steps: Optimiser steps at which a model is taken, ascending.
    """

    seed: int
    method: str
    learning_rate: float
    steps: tuple[int, ...]

    def key(self, step: int) -> str:
        """Name of the model at a step."""
        return f"world {self.seed}/{self.method}/lr {self.learning_rate:g}/step {step}"


def runs_of(config: TruthConfig) -> list[Run]:
    """Every run of the study, world by world."""
    total = max(1, round(config.epochs * -(-forget_records(config) // config.pairs_per_step)))
    out = []
    for seed in config.seeds:
        for method in config.methods:
            factor = IMITATION_FACTOR if method == IMITATION else 1
            steps = sorted({max(1, round(share * total)) * factor for share in config.checkpoints})
            out += [
                Run(seed=seed, method=method, learning_rate=rate * factor, steps=tuple(steps))
                for rate in config.learning_rates
            ]
    return out


def options_of(method: str) -> dict[str, str | int]:
    """Options of a method in the study: the NLL retain term for all that do not bring their own."""
    return dict(_OPTIONS.get(method, {"retain": "nll"}))


def forget_records(config: TruthConfig) -> int:
    """Records to forget in each world."""
    people = max(1, round(config.world.people * config.world.forget_share))
    return people * config.world.attributes


def count_models(config: TruthConfig) -> int:
    """Number of models of a study, the two reference models of each world included."""
    return sum(len(run.steps) for run in runs_of(config)) + 2 * len(config.seeds)
