"""Extraction strength: how little of an answer must be given for the rest to follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from unbelief.measure.tables import AnswerNeed, Example, Need, PromptKind
from unbelief.scores.answers import Tokens, own_answer, token_slice
from unbelief.scores.base import Metric


@dataclass(frozen=True)
class ExtractionStrength(Metric):
    r"""Share of an answer that greedy decoding completes from the answer's own beginning.

    .. math:: ES = 1 - \frac{1}{n} \min\{k : \hat y_i = y_i \;\forall i > k\}

    with ŷ the most probable token given the true prefix; by induction that is what greedy decoding
    from the first k tokens says. In [0, 1]: every token right gives 1 (k = 0), the last one wrong
    gives 0 (k = n). On the paraphrased prompt, with the original answer, it is the field's
    "ES-perturb".

    Attributes:
        prompt: `own` (exact) or `paraphrased` (perturbed).
        floor: What is given when no suffix can be extracted: 0, or 1/n as in OpenUnlearning's
            code, whose loop ends one step early.
        tokens: Which tokens count. The end token is not part of the answer by default.

    Source: Carlini et al. 2021; token-level form of Wang et al. 2025 (UWC).
    """

    name: ClassVar[str] = "extraction_strength"
    summary: ClassVar[str] = "share of the answer that follows from its own beginning"
    unit: ClassVar[str] = "share"
    source: ClassVar[str] = "Carlini et al. 2021, arXiv 2012.07805"

    prompt: PromptKind = "own"
    floor: Literal["zero", "one_over_n"] = "zero"
    tokens: Tokens = "without_end"

    @property
    def needs(self) -> tuple[Need, ...]:
        """The answer, teacher-forced."""
        return (AnswerNeed("answer", self.prompt),)

    def value(self, example: Example) -> float:
        """Length of the longest correct suffix over the length of the answer."""
        answer = own_answer(example, AnswerNeed("answer", self.prompt))
        hit = np.asarray(answer.hit, bool)[token_slice(answer, self.tokens)]
        suffix = len(hit) if hit.all() else int(np.argmin(hit[::-1]))
        if self.floor == "one_over_n":
            suffix = max(suffix, 1)
        return suffix / len(hit)
