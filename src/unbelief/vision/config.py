"""What a vision study does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from unbelief.errors import RequestError
from unbelief.vision.finding import Option, build_method, methods, unknown
from unbelief.vision.learning import Training
from unbelief.vision.method import Method
from unbelief.vision.models import KINDS, Kind
from unbelief.vision.scenario import RELATIONS, Relation
from unbelief.vision.schemes import DATA, RECIPES, choose_scheme

ORDER = ("retrain", "ft", "rl", "ga", "iu", "bs", "l1-sparse", "salun", "scrub", "tarf")
"""Of the published table; methods it does not have come after."""


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """A study: every method in every relation on every seed.

    Attributes:
        data: Name of the data set.
        folder: Where its files are.
        scheme: Superclasses; None takes the data set's first.
        relations: Of label domains.
        methods: Names; empty takes all.
        options: Options by method, over the recipe's.
        seeds: Of split, weights and order.
        model: Kind of classifier; None takes the recipe's.
        epochs: Of training from scratch; None takes the recipe's.
        label_smoothing: Of training from scratch (original, reference, `retrain`); None takes the
            recipe's.
        oracle: Also run every method that does not look for the target with all of it handed over.
        device: A torch device.

    Raises:
        RequestError: Something unknown, or something twice.
    """

    data: str = "digits"
    folder: Path | None = None
    scheme: str | None = None
    relations: tuple[Relation, ...] = RELATIONS
    methods: tuple[str, ...] = ()
    options: Mapping[str, Mapping[str, Option]] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    model: Kind | None = None
    epochs: int | None = None
    label_smoothing: float | None = None
    oracle: bool = True
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.data not in DATA:
            raise unknown(self.data, DATA, "data set")
        choose_scheme(self.data, self.scheme)
        for relation in self.relations:
            if relation not in RELATIONS:
                raise unknown(relation, RELATIONS, "relation")
        if self.model is not None and self.model not in KINDS:
            raise unknown(self.model, KINDS, "model")
        for name in ("relations", "seeds", "methods"):
            given = getattr(self, name)
            if len(set(given)) != len(given) or (not given and name != "methods"):
                raise RequestError(
                    f"{name} must be named, each once: {list(given)}",
                    where=name,
                    remedy="leave out what is there twice",
                )
        if min(self.seeds) < 0 or (self.epochs is not None and self.epochs < 1):
            raise RequestError(
                "seeds must not be negative, epochs must be positive",
                where="seeds" if min(self.seeds) < 0 else "epochs",
                remedy="choose whole numbers from 0, or from 1, upwards",
            )
        if self.label_smoothing is not None and not 0 <= self.label_smoothing < 1:
            raise RequestError(
                f"label smoothing is {self.label_smoothing}",
                where="label_smoothing",
                remedy="choose a number from 0, and below 1; 0.1 is usual",
            )
        self.built()
        if unused := sorted(set(self.options) - set(self.names)):
            raise RequestError(
                f"options for {unused[0]}, which is not run",
                where="--set",
                remedy=f"run it too, or set options of: {', '.join(self.names)}",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Methods that are run, in the table's order."""
        wanted = self.methods or tuple(methods())
        place = {name: i for i, name in enumerate(ORDER)}
        return tuple(sorted(wanted, key=lambda name: (place.get(name, len(ORDER)), name)))

    @property
    def kind(self) -> Kind:
        """The classifier."""
        return self.model or RECIPES[self.data].model

    @property
    def training(self) -> Training:
        """How models are trained from scratch; milestones move with the epochs."""
        plan = RECIPES[self.data].training
        if self.label_smoothing is not None:
            plan = replace(plan, label_smoothing=self.label_smoothing)
        if self.epochs is None:
            return plan
        moved = tuple(round(m * self.epochs / plan.epochs) for m in plan.milestones)
        return replace(plan, epochs=self.epochs, milestones=moved)

    def built(self) -> dict[str, Method]:
        """The methods with recipe and options.

        Raises:
            RequestError: An unknown method or option.
        """
        recipe = RECIPES[self.data].options
        return {
            name: build_method(name, {**recipe.get(name, {}), **self.options.get(name, {})})
            for name in self.names
        }

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain data; no path."""
        return {
            "data": self.data,
            "scheme": choose_scheme(self.data, self.scheme)[0],
            "relations": list(self.relations),
            "methods": {name: asdict(method) for name, method in self.built().items()},
            "seeds": list(self.seeds),
            "model": self.kind,
            "training": {**asdict(self.training), "milestones": list(self.training.milestones)},
            "oracle": self.oracle,
            "device": self.device,
        }
