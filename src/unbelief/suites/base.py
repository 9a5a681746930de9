"""What a suite is: item sets, and lines that name a metric on a set or an aggregate of lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from unbelief.measure.tables import TextNeed
from unbelief.scores.base import Aggregate, Metric
from unbelief.types import Record

KEPT = frozenset({"retain", "retain_knowledge", "real_authors", "world_facts", "mmlu"})
"""Item sets a model should still know after unlearning."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the results.

    Attributes:
        name: Unique in the suite, for example `forget_probability`.
        how: A metric (its mean over the items of `on`), or an aggregate of other lines.
        on: Item set of a metric.
        inputs: Names of earlier lines an aggregate is made of.
        on_request: Computed only when asked for by name, because it costs more than the rest.
        chance: What blind guessing gives, where that is known.
        said: For a metric about the model's own words as the original model sees them: which
            words. The original is then asked for their probability (`as_said`).
    """

    name: str
    how: Metric | Aggregate
    on: str = ""
    inputs: tuple[str, ...] = ()
    on_request: bool = False
    chance: float | None = None
    said: TextNeed | None = None


@dataclass(frozen=True, kw_only=True)
class ItemSets:
    """The records a suite asks about.

    Attributes:
        sets: By name. Their records' `group`s are the clusters of all intervals.
        absent: Why a set that lines ask for is empty.
        described: What was chosen (split, how clusters were found), for provenance.
        answer_tokens: Sets whose answers are cut to so many of the model's tokens beforehand.
        row_tokens: Sets whose prompts, with their answers behind them, are cut likewise.
    """

    sets: Mapping[str, tuple[Record, ...]]
    absent: Mapping[str, str] = field(default_factory=dict)
    described: Mapping[str, str] = field(default_factory=dict)
    answer_tokens: Mapping[str, int] = field(default_factory=dict)
    row_tokens: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What is measured and what becomes of it.

    Attributes:
        name: `tofu`, `muse`, `wmdp` or `own`.
        sets: Item sets by name. Their records' `group`s are the clusters of all intervals.
        lines: In an order in which inputs come first.
        described: What was chosen (split, folder, convention), for provenance.
        absent: Why a set that lines ask for is empty.
    """

    name: str
    sets: Mapping[str, tuple[Record, ...]]
    lines: tuple[Line, ...]
    described: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a suite's records are. A suite reads the fields its kind names in `options`.

    Attributes:
        data: Folder or hub id of a benchmark.
        split: Which part of it.
        forget: Records to forget, for data of one's own: file, folder or hub id.
        retain: Records to keep, likewise.
        holdout: Records no model was trained on, likewise.
        columns: Field to data column, where names differ.
        limit: Ask only this many items of every set, the first ones.
    """

    data: str | None = None
    split: str | None = None
    forget: str | None = None
    retain: str | None = None
    holdout: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What may be chosen about the lines of any suite.

    Attributes:
        convention: Whose definitions, see `unbelief.scores.conventions`.
        samples: Answers per forget prompt for the leak rate.
        temperature: Of those answers.
    """

    convention: str = "unbelief"
    samples: int = 4
    temperature: float = 1.0


@dataclass(frozen=True, kw_only=True)
class SuiteKind:
    """A suite as `unbelief suites` lists it. Each module of this package has one, named `KIND`.

    Attributes:
        name: As in `--suite`.
        summary: One line.
        options: The fields of `Source` it reads.
        required: Those of them that must be given.
        template: `plain` where prompts are texts to continue whatever the tokenizer offers, else
            `auto`.
        read: Records in.
        lines: The lines; the same whatever sets are there, because a line that cannot be
            computed says why.
        under: Items as a convention asks them, where conventions differ in that.
    """

    name: str
    summary: str
    options: tuple[str, ...]
    required: tuple[str, ...]
    template: str
    read: Callable[[Source], ItemSets]
    lines: Callable[[Choices], tuple[Line, ...]]
    under: Callable[[ItemSets, str], ItemSets] = lambda items, convention: items
