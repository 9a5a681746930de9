"""Exact memorization: how many tokens of an answer are the model's first choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unbelief.measure.tables import AnswerNeed, Example, Need, PromptKind
from unbelief.scores.answers import Tokens, own_answer, token_slice
from unbelief.scores.base import Better, Metric


@dataclass(frozen=True)
class ExactMemorization(Metric):
    r"""Share of the answer's tokens that are the most probable ones, given the true prefix.

    .. math:: EM = \frac{1}{n} \sum_i 1\{\arg\max \pi(\cdot \mid x, y_{<i}) = y_i\}

    In [0, 1]. A model that never saw the answer is far above 0 (about 0.6 on TOFU): names from the
    question and function words are easy to guess. Compare with the retrained model, not with 0.

    Attributes:
        prompt: Which question.
        tokens: Which tokens count.

    Source: Tirumala et al. 2022.
    """

    name: ClassVar[str] = "exact_memorization"
    summary: ClassVar[str] = "share of the answer's tokens that are the model's first choice"
    unit: ClassVar[str] = "share"
    source: ClassVar[str] = "Tirumala et al. 2022, arXiv 2205.10770"
    better: ClassVar[Better] = "closer to the retrained model"

    prompt: PromptKind = "own"
    tokens: Tokens = "without_end"

    @property
    def needs(self) -> tuple[Need, ...]:
        """The answer, teacher-forced."""
        return (AnswerNeed("answer", self.prompt),)

    def value(self, example: Example) -> float:
        """Mean of the hits."""
        answer = own_answer(example, AnswerNeed("answer", self.prompt))
        return float(np.asarray(answer.hit, bool)[token_slice(answer, self.tokens)].mean())
