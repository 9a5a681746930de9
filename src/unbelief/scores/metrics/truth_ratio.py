"""Truth ratio: how probable false answers are beside the true one. Four numbers, four names."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from unbelief.measure.tables import AnswerNeed, Example, Need
from unbelief.scores.answers import Tokens, mean_logps
from unbelief.scores.base import Better, Metric

Correct = Literal["paraphrase", "answer", "paraphrase_or_answer"]
"""What stands for the truth: the paraphrase, which the model was not trained on; the answer itself;
or the answer where a record has no paraphrase (TOFU's real authors and world facts)."""


@dataclass(frozen=True)
class _Ratio(Metric):
    mean: Literal["geometric", "arithmetic"] = "geometric"
    correct: Correct = "paraphrase"
    tokens: Tokens = "all"
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        if self.epsilon < 0:
            raise ValueError(f"epsilon must be 0 or more, not {self.epsilon}")

    @property
    def needs(self) -> tuple[Need, ...]:
        kinds = {
            "paraphrase": (AnswerNeed("paraphrase"),),
            "answer": (AnswerNeed("answer"),),
            "paraphrase_or_answer": (AnswerNeed("paraphrase"), AnswerNeed("answer")),
        }
        return (AnswerNeed("perturbed"), *kinds[self.correct])

    def value(self, example: Example) -> float:
        wrong = self._log_mean(mean_logps(example, AnswerNeed("perturbed"), self.tokens))
        right = self._log_mean(mean_logps(example, self._truth(example), self.tokens))
        return self._of(wrong, right)

    @abstractmethod
    def _of(self, wrong: float, right: float) -> float:
        """The number from ln of the false and of the true answers' mean probability."""

    def _truth(self, example: Example) -> AnswerNeed:
        paraphrase = AnswerNeed("paraphrase")
        if self.correct == "answer":
            return AnswerNeed("answer")
        if self.correct == "paraphrase_or_answer" and not example.record.paraphrases:
            return AnswerNeed("answer")
        return paraphrase

    def _log_mean(self, logps: np.ndarray) -> float:
        if self.mean == "geometric":
            return float(logps.mean())
        top = float(logps.max())
        return top + math.log(float(np.exp(logps - top).mean()))

    def _ratio(self, wrong: float, right: float) -> float:
        """Wrong / (right + ε), in logarithms where ε = 0, so that nothing underflows."""
        if self.epsilon:
            return _exp(wrong) / (_exp(right) + self.epsilon)
        return _exp(wrong - right)


@dataclass(frozen=True)
class TruthRatio(_Ratio):
    r"""False over true: the raw ratio whose distributions the KS test of forget quality compares.

    .. math:: r = \frac{\operatorname{mean}_j\, p(\text{false}_j)}{p(\text{true}) + \varepsilon}

    with p length-normalised. In [0, ∞); a model that knows the fact has r near 0, one that does
    not is near 1. Its mean over items is ruled by outliers: for averages use the other three.

    Attributes:
        mean: Over the false answers: geometric (OpenUnlearning) or arithmetic (the TOFU paper).
        correct: What stands for the truth.
        tokens: Which tokens count.
        epsilon: Added to the denominator; OpenUnlearning adds 1e-10.

    Source: TOFU (Maini et al. 2024), R_truth.
    """

    name: ClassVar[str] = "truth_ratio"
    summary: ClassVar[str] = "probability of false answers over that of the true one, raw"
    unit: ClassVar[str] = "ratio"
    source: ClassVar[str] = "TOFU, arXiv 2401.06121"
    better: ClassVar[Better] = "closer to the retrained model"
    limits: ClassVar[tuple[float, float]] = (0.0, np.inf)

    def _of(self, wrong: float, right: float) -> float:
        return self._ratio(wrong, right)


@dataclass(frozen=True)
class TruthRatioCloserToOne(_Ratio):
    r"""How close the truth ratio is to 1 from either side: min(r, 1/r).

    In [0, 1]; 1 when false and true answers are equally probable, as for a model that never saw
    the fact. Falls again when the true answer is pushed below the false ones.

    Attributes:
        mean: As for `truth_ratio`; likewise `correct`, `tokens`.
        correct: See `mean`.
        tokens: See `mean`.
        epsilon: Added to both denominators; OpenUnlearning adds 1e-10.

    Source: OpenUnlearning's `closer_to_1_better`, its default on forget data.
    """

    name: ClassVar[str] = "truth_ratio_closer_to_1"
    summary: ClassVar[str] = "min(r, 1/r) of the truth ratio r"
    unit: ClassVar[str] = "ratio"
    source: ClassVar[str] = "OpenUnlearning, arXiv 2506.12618"
    better: ClassVar[Better] = "higher"

    def _of(self, wrong: float, right: float) -> float:
        r = self._ratio(wrong, right)
        if self.epsilon:
            return min(r, 1 / (r + self.epsilon))
        return _exp(-abs(wrong - right))


@dataclass(frozen=True)
class TruthRatioTrueBetter(_Ratio):
    r"""How much more probable the truth is: max(0, 1 − r) of the truth ratio r.

    In [0, 1]; the part of model utility on retain data, real authors and world facts.

    Attributes:
        mean: As for `truth_ratio`; likewise `correct`, `tokens`, `epsilon`.
        correct: See `mean`.
        tokens: See `mean`.
        epsilon: See `mean`.

    Source: TOFU's model utility; OpenUnlearning's `true_better`.
    """

    name: ClassVar[str] = "truth_ratio_true_better"
    summary: ClassVar[str] = "max(0, 1 − r) of the truth ratio r"
    unit: ClassVar[str] = "ratio"
    source: ClassVar[str] = "TOFU, arXiv 2401.06121"

    def _of(self, wrong: float, right: float) -> float:
        return max(0.0, 1 - self._ratio(wrong, right))


@dataclass(frozen=True)
class TruthRatioProbMean(_Ratio):
    r"""Share of the true answer: p(true) / (p(true) + mean p(false) + ε), which is 1 / (1 + r).

    In [0, 1]; near 1 while the fact is known, ½ when false and true are equally probable. The
    truth ratio of Memorization.

    Attributes:
        mean: As for `truth_ratio`; likewise `correct`, `tokens`.
        correct: See `mean`.
        tokens: See `mean`.
        epsilon: Added to the denominator; OpenUnlearning adds 1e-10.

    Source: OpenUnlearning, "extent of knowledge"; `prob_mean` in its code.
    """

    name: ClassVar[str] = "truth_ratio_prob_mean"
    summary: ClassVar[str] = "share of the true answer beside the false ones, 1 / (1 + r)"
    unit: ClassVar[str] = "ratio"
    source: ClassVar[str] = "OpenUnlearning, arXiv 2506.12618"

    def _of(self, wrong: float, right: float) -> float:
        if self.epsilon:
            return _exp(right) / (_exp(right) + _exp(wrong) + self.epsilon)
        return 1 / (1 + _exp(wrong - right))


def _exp(x: float) -> float:
    return math.exp(x) if x < 709 else math.inf
