"""Fluency of what a model says, judged by the original model. Not OpenUnlearning's fluency."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from unbelief.measure.tables import AnswerNeed, Example, Need
from unbelief.scores.answers import Tokens, mean_logps
from unbelief.scores.base import Better, Metric
from unbelief.types import Record


def as_said(record: Record, text: str) -> Record:
    """The record with the model's own text as its answer, for the original model to measure."""
    return replace(record, answer=text, paraphrases=(), perturbed=(), choices=())


@dataclass(frozen=True)
class _UnderOriginal(Metric):
    tokens: Tokens = "without_end"

    @property
    def needs(self) -> tuple[Need, ...]:
        return (AnswerNeed("answer"),)

    def _mean(self, example: Example) -> float:
        return float(mean_logps(example, AnswerNeed("answer"), self.tokens)[0])


@dataclass(frozen=True)
class OriginalPerplexity(_UnderOriginal):
    """Perplexity, under the original model, of what this model said.

    The example's answer is this model's text (`as_said`), its measurement the original model's. In
    [1, ∞), low for text the original could have said. Loops are predictable and look fluent:
    read it beside `collapse_rate`.

    Attributes:
        tokens: Which tokens count.
    """

    name: ClassVar[str] = "original_perplexity"
    summary: ClassVar[str] = "perplexity of the model's own text under the original model"
    unit: ClassVar[str] = "ratio"
    source: ClassVar[str] = "unbelief"
    better: ClassVar[Better] = "closer to the retrained model"
    limits: ClassVar[tuple[float, float]] = (1.0, np.inf)

    def value(self, example: Example) -> float:
        """exp(−mean log-probability)."""
        with np.errstate(over="ignore"):
            return max(1.0, float(np.exp(-self._mean(example))))


@dataclass(frozen=True)
class OriginalFluency(_UnderOriginal):
    """1 / `original_perplexity`: the original model's length-normalised probability of the text.

    In [0, 1], so that a harmonic mean can take it (`utility_original_fluency`). It is not the
    probability of a gibberish classifier, and no published utility can be compared with it.

    Attributes:
        tokens: Which tokens count.
    """

    name: ClassVar[str] = "original_fluency"
    summary: ClassVar[str] = "probability of the model's own text under the original model"
    unit: ClassVar[str] = "probability"
    source: ClassVar[str] = "unbelief"
    better: ClassVar[Better] = "closer to the retrained model"

    def value(self, example: Example) -> float:
        """exp(mean log-probability)."""
        return float(np.exp(self._mean(example)))
