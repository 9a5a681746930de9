"""What a suite is: item sets, and lines that name a metric on a set or an aggregate of lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from unbelief.scores.base import Aggregate, Metric
from unbelief.types import Record


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the results.

    Attributes:
        name: Unique in the suite, for example `forget_probability`.
        how: A metric (its mean over the items of `on`), or an aggregate of other lines.
        on: Item set of a metric.
        inputs: Names of earlier lines an aggregate is made of.
    """

    name: str
    how: Metric | Aggregate
    on: str = ""
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What is measured and what becomes of it.

    Attributes:
        name: `tofu`, `muse`, `wmdp` or `own`.
        sets: Item sets by name. Their records' `group`s are the clusters of all intervals.
        lines: In an order in which inputs come first.
        described: What was chosen (split, folder, convention), for provenance.
    """

    name: str
    sets: Mapping[str, tuple[Record, ...]]
    lines: tuple[Line, ...]
    described: Mapping[str, str] = field(default_factory=dict)
