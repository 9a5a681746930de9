"""What a metric is: one example to one score. What a statistic is: many scores to one number.

A metric never sees a model, and never more than one example. What needs many (AUC, a test between
two sets, a harmonic mean of other numbers) is an `Aggregate` of statistics.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from unbelief.measure.tables import (
    AnswerMeasurement,
    AnswerNeed,
    Example,
    Need,
    TextMeasurement,
    TextNeed,
)
from unbelief.types import Estimate, Score

_ROUNDING = 1e-6
Better = Literal["lower", "higher", "closer to the retrained model"]
"""What a forgotten record shows on forget data (on retain data, utility is always higher)."""


class Unscorable(Exception):
    """A score cannot be computed; the message completes the words "unscored, because ..."."""


@dataclass(frozen=True)
class Metric(ABC):
    """One example to one number. Options are fields; a convention is a set of options.

    A subclass is a frozen dataclass in a module of its own under `unbelief.scores.metrics`; it is
    found there by itself. Its docstring gives the formula, the range and the traps.

    Attributes:
        name: As in results and on the command line, `lower_snake_case`.
        summary: One line for `unbelief metrics`.
        unit: `probability`, `share`, `nats`, `count`, `ratio`, `norm`.
        version: Raised when the definition changes.
        source: Paper or code the definition is from.
        better: What a forgotten record shows.
        limits: Smallest and largest value there can be.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    unit: ClassVar[str]
    version: ClassVar[int] = 1
    source: ClassVar[str]
    better: ClassVar[Better] = "lower"
    limits: ClassVar[tuple[float, float]] = (0.0, 1.0)

    @property
    def binary(self) -> bool:
        """Whether every value is 0 or 1; the mean then gets an exact binomial interval."""
        return False

    @property
    @abstractmethod
    def needs(self) -> tuple[Need, ...]:
        """What has to be measured."""

    @abstractmethod
    def value(self, example: Example) -> float:
        """The number, or `Unscorable`. Not for callers: use `score`."""

    def score(self, example: Example) -> Score:
        """The number of one example, or why there is none. Never raises for what was measured."""
        name, group = example.record.id, example.record.group
        try:
            value = float(self.value(example))
        except Unscorable as reason:
            return Score(None, str(reason), name, group)
        if not math.isfinite(value):
            return Score(None, f"the result is {value}", name, group)
        low, high = self.limits
        if not low - _ROUNDING * max(1, abs(low)) <= value <= high + _ROUNDING * max(1, abs(high)):
            outside = f"the result, {value:g}, is outside [{low:g}, {high:g}], where it has to be"
            return Score(None, outside, name, group)
        return Score(value, None, name, group)


def answers_of(example: Example, need: AnswerNeed) -> tuple[AnswerMeasurement, ...]:
    """The measured answers of a need.

    Raises:
        Unscorable: There are none, or the model gave NaN.
    """
    found = example.answers.get(need, ())
    if not found:
        raise Unscorable(example.unmeasured.get(need, _missing(need)))
    if any(not np.isfinite(one.logp).all() for one in found):
        raise Unscorable("the model gave non-finite log-probabilities")
    return found


def texts_of(example: Example, need: TextNeed) -> tuple[TextMeasurement, ...]:
    """The answers the model gave.

    Raises:
        Unscorable: There are none.
    """
    found = example.texts.get(need, ())
    if not found:
        raise Unscorable(example.unmeasured.get(need, "no answer was sampled"))
    return found


def _missing(need: AnswerNeed) -> str:
    if need.prompt == "paraphrased":
        return "the record has no paraphrased prompt"
    what = {"answer": "answer", "paraphrase": "paraphrase", "perturbed": "perturbed answer"}
    return f"the record has no {what.get(need.answer, need.answer)}"


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """A number over an item set, with its bootstrap draws, from which every interval follows.

    Attributes:
        value: The number, or None when nothing could be scored.
        draws: (B,) the number in each resample of the clusters, or None where an interval makes no
            sense. The same item set gives the same resamples for every metric and every model, so
            differences of draws are paired.
        scores: The item scores it was made from, in the order of the items; empty for aggregates
            of several sets.
        n: Number of scored items.
        n_unscored: Number of items without a score.
        reasons: Why, with counts.
        unit: Of the value.
        version: Of the definition.
        interval: How the interval is made; empty when there is none.
        bounds: Exact interval (low, high) that replaces the percentiles of the draws.
    """

    value: float | None
    draws: np.ndarray | None = None
    scores: tuple[Score, ...] = ()
    n: int = 0
    n_unscored: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    unit: str
    version: int = 1
    interval: str = ""
    bounds: tuple[float, float] | None = None

    def estimate(self, convention: str) -> Estimate:
        """The same for results files: value, 95 % interval, counts."""
        low, high = self.bounds or _percentiles(self.draws)
        known = self.value is not None and low is not None
        return Estimate(
            value=self.value,
            low=low if known else None,
            high=high if known else None,
            n=self.n,
            n_unscored=self.n_unscored,
            unit=self.unit,
            convention=convention,
            version=self.version,
            interval=self.interval if known else "",
            reasons=dict(self.reasons),
        )


MOST_LOST = 0.05
"""An interval is given when at most this share of the resamples has no value."""


def _percentiles(draws: np.ndarray | None) -> tuple[float | None, float | None]:
    if draws is None or not len(draws) or np.isnan(draws).mean() > MOST_LOST:
        return None, None
    low, high = np.nanpercentile(draws, (2.5, 97.5))
    return float(low), float(high)


@dataclass(frozen=True)
class Aggregate(ABC):
    """Statistics to one statistic: a harmonic mean, an AUC, a test against the retrained model.

    Found by itself in `unbelief.scores.aggregates`, like metrics. It gets exactly as many inputs
    as the suite's line names.

    Attributes:
        name: As for a metric; likewise `summary`, `unit`, `version`, `source`, `better`.
        limits: Smallest and largest value there can be.
        needs_reference: Whether it compares with another model.
        reference_model: Which one: the retrained model, or the original before unlearning.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    unit: ClassVar[str]
    version: ClassVar[int] = 1
    source: ClassVar[str]
    better: ClassVar[Better] = "lower"
    limits: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs_reference: ClassVar[bool] = False
    reference_model: ClassVar[Literal["retrained", "original"]] = "retrained"

    @abstractmethod
    def combine(
        self, inputs: Sequence[Statistic], reference: Sequence[Statistic] | None
    ) -> Statistic:
        """The number.

        Args:
            inputs: Statistics of this model, in the order of the suite's line.
            reference: The same of the model named by `reference_model`, or None when there is
                none; an aggregate with `needs_reference` then gives a statistic without value and
                a reason.
        """
