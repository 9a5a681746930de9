"""The three quantities of a model on records, without a judge; see `records_bed`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unbelief.measure import Plan, measure_examples
from unbelief.models.runner import AnswerModel
from unbelief.scores.metrics.repetition import CollapseRate
from unbelief.scores.metrics.rouge import RougeLRecall
from unbelief.tokens import Encoder
from unbelief.types import Record

if TYPE_CHECKING:
    from unbelief.scores.base import Metric


def measure_model(
    model: AnswerModel, encoder: Encoder, items: Mapping[str, Sequence[Record]]
) -> dict[str, float]:
    """The three quantities of a model; one that could not be scored is missing."""
    recall, collapse = RougeLRecall(), CollapseRate()
    needs = {"forget": (*recall.needs, *collapse.needs), "retain": recall.needs}
    examples = measure_examples(model, encoder, Plan(items, needs))
    found = {
        "forgetting": _mean(recall, examples["forget"]),
        "naturalness": _mean(collapse, examples["forget"]),
        "utility": _mean(recall, examples["retain"]),
    }
    values = {name: value for name, value in found.items() if value is not None}
    for name in ("forgetting", "naturalness"):
        if name in values:
            values[name] = 1 - values[name]
    return values


def _mean(metric: Metric, examples: Sequence[Any]) -> float | None:
    scored = [s.value for s in map(metric.score, examples) if s.value is not None]
    return sum(scored) / len(scored) if scored else None
