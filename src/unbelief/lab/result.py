"""What a lab run measured, as plain data: everything the analysis and the report need.

Curves are stored per person, not as means, so that intervals, differences and selections can be
computed again without a model. Nothing here imports torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from unbelief.errors import RequestError

SCHEMA = 1
_DIGITS = 6
_PLAIN = ("config", "versions", "created", "seconds", "example", "schema")
Family = Literal["baseline", "belief", "control"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Masses of one model. F people to forget, K people to keep; each entry a mean over facts.

    Attributes:
        step: Optimiser steps taken.
        target: (F,) the phrasing to be forgotten.
        leak: (F,) the true fact in any phrasing, target included.
        natural: (F,) all grammatical answers.
        retained: (K,) the true fact in any phrasing, of people to keep.
    """

    step: int
    target: tuple[float, ...]
    leak: tuple[float, ...]
    natural: tuple[float, ...]
    retained: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedReference:
    """The two models every method of a seed is compared with.

    Attributes:
        seed: Of world, models and training alike.
        original: Before unlearning.
        retrained: Trained without the people to forget: the gold standard.
        weights_sha256: Digest of each model's weights, by role.
    """

    seed: int
    original: Point
    retrained: Point
    weights_sha256: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One unlearning run.

    Attributes:
        method: Name of the method.
        learning_rate: Peak learning rate.
        seed: Which world and models.
        points: In order of steps; the first is the original model.
        stopped: Why the run ended early (the points up to there are kept), or None.
        seconds: Wall time of the run, measuring included.
    """

    method: str
    learning_rate: float
    seed: int
    points: tuple[Point, ...]
    stopped: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodInfo:
    """A method as compared here.

    Attributes:
        name: As on the command line.
        label: Short name for tables and figures.
        family: `belief` for BS-T and BS-S, `control` for GradDiff at weight 1 − λ.
        objective: The full objective as plain data.
    """

    name: str
    label: str
    family: Family
    objective: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabResult:
    """Everything measured in a lab run.

    Attributes:
        methods: The methods, in the order they are shown.
        references: One per seed.
        curves: Method × learning rate × seed.
        config: Resolved settings: world, pretraining, unlearning, learning rates, seeds.
        versions: Versions of the packages that matter, and of this one.
        created: ISO time at which the run ended.
        seconds: Wall time by part of the run.
        example: One question of the first seed with all its answers, see `example.example`.
        schema: Version of this layout.
    """

    methods: tuple[MethodInfo, ...]
    references: tuple[SeedReference, ...]
    curves: tuple[Curve, ...]
    config: dict[str, Any]
    versions: dict[str, str]
    created: str
    seconds: dict[str, float]
    example: dict[str, Any]
    schema: int = SCHEMA

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds, in order."""
        return tuple(r.seed for r in self.references)

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """Learning rates that were tried, rising; the same for every method."""
        return tuple(sorted({c.learning_rate for c in self.curves}))

    def to_json(self) -> str:
        """Return JSON text; masses are rounded to six decimals."""
        return json.dumps(rounded(asdict(self)), indent=None, separators=(",", ":")) + "\n"

    @staticmethod
    def from_json(text: str) -> LabResult:
        """Read what `to_json` wrote.

        Raises:
            RequestError: It is not a lab result, or one of another schema version.
        """
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise RequestError(f"not a JSON file: {error}", remedy="name a result.json") from error
        return LabResult.from_dict(data)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> LabResult:
        """Build a result from plain data.

        Raises:
            RequestError: Fields are missing or unknown, or the schema version is another one.
        """
        schema = data.get("schema") if isinstance(data, Mapping) else None
        if schema != SCHEMA:
            raise RequestError(
                f"not a lab result of schema {SCHEMA} (schema: {schema})",
                remedy="use the version of unbelief that wrote it",
            )
        try:
            return LabResult(
                methods=tuple(MethodInfo(**m) for m in data["methods"]),
                references=tuple(_reference(r) for r in data["references"]),
                curves=tuple(_curve(c) for c in data["curves"]),
                **{k: data[k] for k in _PLAIN},
            )
        except (KeyError, TypeError) as error:
            raise RequestError(
                f"damaged lab result: {error}", remedy="run the lab again"
            ) from error


def _point(data: Mapping[str, Any]) -> Point:
    masses = {k: tuple(data[k]) for k in ("target", "leak", "natural", "retained")}
    return Point(step=data["step"], **masses)


def _reference(data: Mapping[str, Any]) -> SeedReference:
    return SeedReference(
        **{**data, "original": _point(data["original"]), "retrained": _point(data["retrained"])}
    )


def _curve(data: Mapping[str, Any]) -> Curve:
    return Curve(**{**data, "points": tuple(_point(p) for p in data["points"])})


def rounded(value: Any) -> Any:
    """Round all numbers in plain data to six decimals (small ones to six significant digits)."""
    if isinstance(value, float):
        # Learning rates are small; six significant digits of them stay.
        return round(value, _DIGITS) if abs(value) >= 0.01 or value == 0 else float(f"{value:.6g}")
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    return value
