"""Multiple choice: the true option's share of probability, and whether it is the first choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from unbelief.measure.tables import AnswerNeed, Example, Need
from unbelief.scores.answers import Tokens, mean_logps, sum_logps
from unbelief.scores.base import Metric, Unscorable
from unbelief.types import Record


@dataclass(frozen=True)
class ChoiceProbability(Metric):
    r"""Probability of the true answer among the true and the false ones.

    .. math:: \frac{p_c}{p_c + \sum_w p_w + \varepsilon}

    In [0, 1]; 1 / (1 + number of false answers) when all are equally probable. The false answers
    are the record's perturbed ones, or its other choices.

    Attributes:
        normalised: Use length-normalised p (both released codes); otherwise the plain probability
            of the whole text (the text of the TOFU paper), which favours short options.
        among: `perturbed` or `choices`.
        tokens: Which tokens count.
        epsilon: Added to the denominator; OpenUnlearning adds 1e-10.

    Source: TOFU (Maini et al. 2024), on real authors and world facts.
    """

    name: ClassVar[str] = "choice_probability"
    summary: ClassVar[str] = "share of probability of the true answer among true and false ones"
    unit: ClassVar[str] = "probability"
    source: ClassVar[str] = "TOFU, arXiv 2401.06121"

    normalised: bool = True
    among: Literal["perturbed", "choices"] = "perturbed"
    tokens: Tokens = "all"
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        if self.epsilon < 0:
            raise ValueError(f"epsilon must be 0 or more, not {self.epsilon}")

    @property
    def needs(self) -> tuple[Need, ...]:
        """The true and the false texts."""
        if self.among == "choices":
            return (AnswerNeed("choice"),)
        return (AnswerNeed("answer"), AnswerNeed("perturbed"))

    def value(self, example: Example) -> float:
        """The true answer's share."""
        logps = self._logps(example)
        top = logps.max()
        if self.epsilon:
            p = np.exp(logps)
            return float(p[0] / (p.sum() + self.epsilon))
        p = np.exp(logps - top)
        return float(p[0] / p.sum())

    def _logps(self, example: Example) -> np.ndarray:
        """(1 + W,) log-probabilities, the true answer first."""
        of = mean_logps if self.normalised else sum_logps
        if self.among == "choices":
            logps = of(example, AnswerNeed("choice"), self.tokens)
            correct = correct_choice(example.record, len(logps))
            return np.concatenate([logps[[correct]], np.delete(logps, correct)])
        right = of(example, AnswerNeed("answer"), self.tokens)[:1]
        return np.concatenate([right, of(example, AnswerNeed("perturbed"), self.tokens)])


@dataclass(frozen=True)
class ChoiceAccuracy(Metric):
    """Whether the true option is the most probable one.

    0 or 1; chance is 1 / number of options (`chance`). Ties go to the earlier option, as in the
    LM Evaluation Harness.

    Attributes:
        normalise: Compare whole log-probabilities (`none`, the Harness's `acc`), per token, or per
            character (its `acc_norm`). For options that are single letters all three agree.
        tokens: Which tokens count. The end token does not: the Harness adds none.

    Source: WMDP and MMLU through the LM Evaluation Harness.
    """

    name: ClassVar[str] = "choice_accuracy"
    summary: ClassVar[str] = "whether the true option is the most probable one"
    unit: ClassVar[str] = "share"
    source: ClassVar[str] = "LM Evaluation Harness"

    normalise: Literal["none", "tokens", "characters"] = "none"
    tokens: Tokens = "without_end"

    @property
    def binary(self) -> bool:
        """Always."""
        return True

    @property
    def needs(self) -> tuple[Need, ...]:
        """All options."""
        return (AnswerNeed("choice"),)

    def value(self, example: Example) -> float:
        """1 when the true option comes first."""
        of = mean_logps if self.normalise == "tokens" else sum_logps
        logps = of(example, AnswerNeed("choice"), self.tokens)
        correct = correct_choice(example.record, len(logps))
        if self.normalise == "characters":
            logps = logps / np.array([max(1, len(text)) for text in example.record.choices])
        return float(int(np.argmax(logps)) == correct)


def correct_choice(record: Record, measured: int) -> int:
    """Index of the true option.

    Raises:
        Unscorable: It is unknown, there are fewer than two options, or not all were measured.
    """
    if record.correct_choice is None:
        raise Unscorable("the record does not say which choice is correct")
    if len(record.choices) < 2:
        raise Unscorable("the record has fewer than two choices")
    if measured != len(record.choices):
        raise Unscorable("not every choice was measured")
    return record.correct_choice


def chance(record: Record) -> float:
    """Accuracy of guessing on this record: 1 / number of options.

    Raises:
        Unscorable: As for `correct_choice`.
    """
    correct_choice(record, len(record.choices))
    return 1 / len(record.choices)
