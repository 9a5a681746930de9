"""Examples to item scores, item scores to statistics; line by line, no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from unbelief.evaluate.original import Words, score_words
from unbelief.measure.tables import Example
from unbelief.scores.base import Aggregate, Metric, Statistic
from unbelief.scores.statistics import difference, missing, of_scores
from unbelief.suites.base import Line, Suite
from unbelief.types import Score

ItemScores = Mapping[str, tuple[Score, ...]]
"""Scores of every metric line, in the order of its item set."""


@dataclass(frozen=True, kw_only=True)
class OtherModel:
    """What is known of another model on the same suite.

    Attributes:
        scores: Its item scores, by line.
        unusable: Lines whose scores are there and cannot be compared, with the reason.
        absent: Why a line that is in neither has no scores.
    """

    scores: ItemScores
    unusable: Mapping[str, str] = field(default_factory=dict)
    absent: str = "the other model's results have no such line"


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Everything computed about one model.

    Attributes:
        statistics: By line.
        items: Item scores, by metric line.
        references: The retrained model's statistics, by line; empty without one.
        distances: This model's number minus the retrained one's, by line; empty without one.
    """

    statistics: Mapping[str, Statistic]
    items: ItemScores
    references: Mapping[str, Statistic] = field(default_factory=dict)
    distances: Mapping[str, Statistic] = field(default_factory=dict)


def item_scores(
    lines: Sequence[Line], examples: Mapping[str, Sequence[Example]], words: Words | None = None
) -> ItemScores:
    """Score every item of every metric line.

    Args:
        lines: Of a suite.
        examples: Per item set.
        words: The model's own words as the original model sees them.
    """
    found = {}
    for line in lines:
        its = examples.get(line.on, ())
        if line.said is not None:
            found[line.name] = score_words(line, its, words or {})
        elif isinstance(line.how, Metric):
            found[line.name] = tuple(line.how.score(example) for example in its)
    return found


def compare_examples(
    examples: Mapping[str, Sequence[Example]], others: Mapping[str, Sequence[Example]]
) -> dict[str, tuple[Example, ...]]:
    """Examples with the same example of another model beside them, for attacks that need both."""
    joined: dict[str, tuple[Example, ...]] = {}
    for name, own in examples.items():
        by_id = {example.record.id: example for example in others.get(name, ())}
        joined[name] = tuple(replace(e, reference=by_id.get(e.record.id)) for e in own)
    return joined


def score_suite(
    suite: Suite,
    items: ItemScores,
    *,
    retrained: OtherModel | None = None,
    original: OtherModel | None = None,
    seed: int = 0,
) -> Scored:
    """Statistics of all lines, beside the retrained model's where there is one.

    Args:
        suite: Lines and sets.
        items: Item scores of this model.
        retrained: The model that never saw the forget data.
        original: The model before unlearning, for aggregates that are relative to it.
        seed: Of the resampling.
    """
    originals = {} if original is None else _of_another(suite, original, None, seed)
    references = {} if retrained is None else _of_another(suite, retrained, originals, seed)
    own: dict[str, Statistic] = {}
    for line in suite.lines:
        if isinstance(line.how, Metric):
            own[line.name] = _of_items(suite, line, items.get(line.name, ()), seed)
            continue
        others = originals if line.how.reference_model == "original" else references
        own[line.name] = _combine(line, line.how, own, others or None)
    distances = {}
    for line in suite.lines if retrained is not None else ():
        if not _compares_already(line):
            distances[line.name] = _distance(own[line.name], references[line.name])
    return Scored(statistics=own, items=items, references=references, distances=distances)


def _of_another(
    suite: Suite,
    model: OtherModel,
    originals: Mapping[str, Statistic] | None,
    seed: int,
) -> dict[str, Statistic]:
    """Statistics of another model, which is compared with itself where something is compared."""
    found: dict[str, Statistic] = {}
    for line in suite.lines:
        if isinstance(line.how, Aggregate):
            to_original = line.how.reference_model == "original" and originals is not None
            others = originals if to_original else found
            found[line.name] = _combine(line, line.how, found, others or None)
        elif line.name in model.scores:
            found[line.name] = _of_items(suite, line, model.scores[line.name], seed)
        else:
            why = model.unusable.get(line.name, model.absent)
            found[line.name] = missing(why, unit=line.how.unit, version=line.how.version)
    return found


def _of_items(suite: Suite, line: Line, scores: Sequence[Score], seed: int) -> Statistic:
    assert isinstance(line.how, Metric)
    if not scores:
        why = suite.absent.get(line.on, f"there are no items in {line.on}")
        return missing(why, unit=line.how.unit, version=line.how.version)
    return of_scores(line.how, scores, stream=line.on, seed=seed)


def _combine(
    line: Line,
    how: Aggregate,
    own: Mapping[str, Statistic],
    others: Mapping[str, Statistic] | None,
) -> Statistic:
    inputs = [own[name] for name in line.inputs]
    for name, one in zip(line.inputs, inputs, strict=True):
        if one.value is None:  # the reason stands at that line
            return missing(f"{name} has no value", unit=how.unit, version=how.version)
    reference = None if others is None else [others[name] for name in line.inputs]
    if how.needs_reference and reference is not None:
        for name, one in zip(line.inputs, reference, strict=True):
            if one.value is None:
                why = f"{name} of the {how.reference_model} model has no value"
                return missing(why, unit=how.unit, version=how.version)
    return how.combine(inputs, reference)


def _compares_already(line: Line) -> bool:
    """Whether the line is itself a comparison with the retrained model."""
    how = line.how
    return isinstance(how, Aggregate) and how.needs_reference and how.reference_model == "retrained"


def _distance(own: Statistic, other: Statistic) -> Statistic:
    if own.value is not None and other.value is None:
        why = "; ".join(other.reasons) or "it was not computed"
        return missing(f"the retrained model: {why}", unit=own.unit, version=own.version)
    return difference(own, other)
