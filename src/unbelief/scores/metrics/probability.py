"""Probability, loss and perplexity of given answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unbelief.measure.tables import AnswerKind, AnswerNeed, Example, Need, PromptKind
from unbelief.scores.answers import Tokens, mean_logps, sum_logps
from unbelief.scores.base import Better, Metric


@dataclass(frozen=True)
class _OfAnswers(Metric):
    answer: AnswerKind = "answer"
    prompt: PromptKind = "own"
    tokens: Tokens = "all"

    @property
    def needs(self) -> tuple[Need, ...]:
        return (self._need,)

    @property
    def _need(self) -> AnswerNeed:
        return AnswerNeed(self.answer, self.prompt)


@dataclass(frozen=True)
class Probability(_OfAnswers):
    r"""Length-normalised probability of the answer.

    .. math:: p = \exp\Big(\frac{1}{n} \sum_{i=1}^{n} \ln \pi(y_i \mid x, y_{<i})\Big)

    In [0, 1]: the geometric mean of the token probabilities. Several answers (paraphrases): the
    mean of their p. The end token counts by default, as in every published number; on short
    answers that matters.

    Attributes:
        answer: Which texts of the record.
        prompt: Which question.
        tokens: Which tokens count.

    Source: TOFU (Maini et al. 2024), P(a|q)^(1/|a|).
    """

    name: ClassVar[str] = "probability"
    summary: ClassVar[str] = "length-normalised probability of the answer"
    unit: ClassVar[str] = "probability"
    source: ClassVar[str] = "TOFU, arXiv 2401.06121"

    def value(self, example: Example) -> float:
        """Mean over the answers of exp(mean log-probability)."""
        return float(np.exp(mean_logps(example, self._need, self.tokens)).mean())


@dataclass(frozen=True)
class PlainProbability(_OfAnswers):
    r"""Probability of the whole answer, not normalised by its length.

    .. math:: P = \prod_{i=1}^{n} \pi(y_i \mid x, y_{<i})

    In [0, 1]; falls with every token, so answers of different length cannot be compared. A cut
    answer is unscored. Several answers: the mean of their P.

    Attributes:
        answer: Which texts of the record.
        prompt: Which question.
        tokens: Which tokens count.
    """

    name: ClassVar[str] = "probability_plain"
    summary: ClassVar[str] = "probability of the whole answer, not normalised by length"
    unit: ClassVar[str] = "probability"
    source: ClassVar[str] = "chain rule"

    def value(self, example: Example) -> float:
        """Mean over the answers of exp(summed log-probability)."""
        return float(np.exp(sum_logps(example, self._need, self.tokens)).mean())


@dataclass(frozen=True)
class Loss(_OfAnswers):
    r"""Mean negative log-likelihood per token.

    .. math:: L = -\frac{1}{n} \sum_{i=1}^{n} \ln \pi(y_i \mid x, y_{<i})

    In [0, ∞) nats per token. Several answers: the mean of their L.

    Attributes:
        answer: Which texts of the record.
        prompt: Which question.
        tokens: Which tokens count.
    """

    name: ClassVar[str] = "loss"
    summary: ClassVar[str] = "mean negative log-likelihood per token"
    unit: ClassVar[str] = "nats"
    source: ClassVar[str] = "cross-entropy"
    better: ClassVar[Better] = "higher"
    limits: ClassVar[tuple[float, float]] = (0.0, np.inf)

    def value(self, example: Example) -> float:
        """Minus the mean log-probability, averaged over the answers."""
        # Float rounding may leave a log-probability a hair above 0.
        return max(0.0, -float(mean_logps(example, self._need, self.tokens).mean()))


@dataclass(frozen=True)
class Perplexity(_OfAnswers):
    r"""Perplexity of the answer, :math:`\exp(L)` with L the mean negative log-likelihood.

    In [1, ∞). Several answers: the mean of their perplexities. The mean over items is ruled by the
    worst items; compare `loss` as well.

    Attributes:
        answer: Which texts of the record.
        prompt: Which question.
        tokens: Which tokens count.
    """

    name: ClassVar[str] = "perplexity"
    summary: ClassVar[str] = "exp of the mean negative log-likelihood per token"
    unit: ClassVar[str] = "ratio"
    source: ClassVar[str] = "cross-entropy"
    better: ClassVar[Better] = "higher"
    limits: ClassVar[tuple[float, float]] = (1.0, np.inf)

    def value(self, example: Example) -> float:
        """Mean over the answers of exp(−mean log-probability)."""
        with np.errstate(over="ignore"):
            return max(1.0, float(np.exp(-mean_logps(example, self._need, self.tokens)).mean()))
