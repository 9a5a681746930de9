"""What the study of truth found, as plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from unbelief.study.truth_lines import Family
from unbelief.types import Estimate

Mass = Literal["target", "other", "leak", "natural", "retained", "distance"]
MASSES: tuple[Mass, ...] = ("target", "other", "leak", "natural", "retained", "distance")
MEANT: Mapping[Family, Mass] = {"leak": "leak", "fluency": "natural", "utility": "retained"}
REFERENCES = ("original", "retrained")


@dataclass(frozen=True, kw_only=True)
class Fooled:
    """How often a metric prefers models of one outcome to models that forgot, in the same world.

    Attributes:
        by_value: By its value as it stands: better is better. Ties count half.
        by_distance: By how near its value is to the retrained model's, as where one is at hand.
        models: Models with that outcome.
        forgotten: Models that forgot.
    """

    by_value: Estimate
    by_distance: Estimate
    models: int
    forgotten: int


@dataclass(frozen=True, kw_only=True)
class MetricTruth:
    """One metric against the truth.

    Attributes:
        name: Of the metric.
        title: In words.
        family: What it is meant to show.
        meant: The mass that is.
        spearman: Per mass, Spearman's correlation over all models.
        kendall: Kendall's tau-b with the mass it is meant to show.
        within: Spearman's with that mass within methods and worlds.
        changed: Spearman's with that mass over the models that unlearning changed, that is all but
            the untouched: those differ by little, and nobody has to tell them apart.
        beyond_target: For leak metrics: partial Spearman with the leak at equal target mass. Near
            0, the metric sees the phrasing that was to be forgotten and nothing else of the fact.
        error: For leak metrics that are shares or probabilities: mean |metric - leak mass|, which
            says whether the number itself can be read as a leak.
        fooled: Per failure.
        reasons: Why models have no value, with counts.
    """

    name: str
    title: str
    family: Family
    meant: Mass
    spearman: Mapping[str, Estimate]
    kendall: Estimate
    within: Estimate
    changed: Estimate
    beyond_target: Estimate | None
    error: Estimate | None
    fooled: Mapping[str, Fooled]
    reasons: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Everything the study found.

    Attributes:
        metrics: In the order of the lines.
        outcomes: Models per outcome, the reference models left out.
        by_method: The same per method.
        models: Unlearned models.
    """

    metrics: tuple[MetricTruth, ...]
    outcomes: Mapping[str, int]
    by_method: Mapping[str, Mapping[str, int]]
    models: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
