"""What a lab run does: which methods, which learning rates, where it measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from unbelief.errors import RequestError
from unbelief.lab.pretrain import PretrainConfig
from unbelief.lab.result import Family, MethodInfo
from unbelief.lab.world import WorldConfig
from unbelief.objectives import Objective, build_objective
from unbelief.objectives.base import describe

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
    "transplant": "Transplant",
}
LONGEST_BELIEF = 24
"""Tokens; the longest grammatical answer of a world has 8."""


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


def _method(name: str) -> tuple[MethodInfo, Objective]:
    """Build a method with the NLL retain term, which all methods of a comparison share."""
    objective = build_objective(name, {"retain": "nll"})
    if hasattr(objective.forget, "max_new_tokens"):
        objective = build_objective(name, {"retain": "nll", "max_new_tokens": LONGEST_BELIEF})
    family: Family = "baseline"
    if name.startswith(("bs-s", "bs-t", "transplant")):
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
